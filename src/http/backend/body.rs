//! The body of a request to `tiny_http`.

use tiny_http::Request;

use crate::http::response::Response;

/// The whole body.
///
/// # Errors
/// 400: the connection ended within the body (`tiny_http` reports that as the body's end).
pub(super) fn read(request: &mut Request) -> Result<Vec<u8>, Response> {
    let cut_short = || Response::error(400, "cut_short", "The request ended before it was whole.");
    let length = request.body_length().ok_or_else(cut_short)?;
    let mut body = Vec::with_capacity(length);
    request.as_reader().read_to_end(&mut body).map_err(|_| cut_short())?;
    if body.len() == length { Ok(body) } else { Err(cut_short()) }
}
