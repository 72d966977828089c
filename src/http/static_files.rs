//! Responses with the texts that are built into this program, with an `ETag` for conditional requests.

use super::response::Response;

/// Lets a client keep a text, but revalidate it before each use (RFC 9111 §5.2.2.4).
const CACHE: &str = "Cache-Control: no-cache\r\n";

/// The response with a text of a media type, or 304 if `if_none_match` names its version (RFC 9110 §13.1.2);
/// `lines` are further header lines.
pub(crate) fn respond(if_none_match: Option<&str>, media_type: &str, text: &str, lines: &str) -> Response {
    let tag = format!("\"{:08x}\"", crc32fast::hash(text.as_bytes()));
    let is_known = if_none_match.is_some_and(|known| {
        let mut tags = known.split(',').map(str::trim);
        tags.any(|known| known.trim_start_matches("W/") == tag || known == "*")
    });
    let headers = format!("{lines}{CACHE}ETag: {tag}\r\n");
    if is_known {
        return Response { status: 304, headers: headers.into(), body: Vec::new(), held: None };
    }
    let headers = format!("Content-Type: {media_type}\r\n{headers}");
    Response { status: 200, headers: headers.into(), body: text.into(), held: None }
}
