//! Texts that are part of this program: they change only with it, so a client need not fetch one twice.

use tiny_http::Request;

use super::answer::Answer;

/// Has a client keep a text, but ask anew each time whether it is still the same (RFC 9111 §5.2.2.4).
const CACHE: &str = "Cache-Control: no-cache\r\n";

/// The text of a media type, or 304 to who has it already (RFC 9110 §13.1.2); `lines` are further header lines.
pub(super) fn answer(request: &Request, media_type: &str, text: &str, lines: &str) -> Answer {
    let tag = format!("\"{:08x}\"", crc32fast::hash(text.as_bytes()));
    let known = request.headers().iter().find(|header| header.field.equiv("If-None-Match"));
    let is_known = known.is_some_and(|header| {
        let mut tags = header.value.as_str().split(',').map(str::trim);
        tags.any(|known| known.trim_start_matches("W/") == tag || known == "*")
    });
    let headers = format!("{lines}{CACHE}ETag: {tag}\r\n");
    if is_known {
        return Answer { status: 304, headers: headers.into(), body: Vec::new() };
    }
    let headers = format!("Content-Type: {media_type}\r\n{headers}");
    Answer { status: 200, headers: headers.into(), body: text.into() }
}
