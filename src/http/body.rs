//! The body of a request, whole and, where it has to be, JSON that every reader can read.

use tiny_http::Request;

use super::answer::Answer;
use super::json::{self, MAX_DEPTH, Refused};

/// The body, which is one JSON value.
///
/// # Errors
/// The answer to one that ended too early, or is no such JSON.
pub(super) fn read(request: &mut Request) -> Result<Vec<u8>, Answer> {
    read_nested(request, MAX_DEPTH)
}

/// As [`read`], nested at most so deep.
pub(super) fn read_nested(request: &mut Request, depth: usize) -> Result<Vec<u8>, Answer> {
    let cut_short = || Answer::error(400, "cut_short", "The request ended before it was whole.");
    let body = whole(request).ok_or_else(cut_short)?;
    match json::check(&body, depth) {
        Ok(()) => Ok(body),
        Err(Refused::NotJson(why)) => Err(Answer::error(400, "bad_json", &why)),
        Err(Refused::OverLimits(why)) => Err(Answer::error(400, "json_limits", &why)),
    }
}

/// The whole body, or `None` if the connection ended within it (`tiny_http` reports that as the body's end).
fn whole(request: &mut Request) -> Option<Vec<u8>> {
    let length = request.body_length()?;
    let mut body = Vec::with_capacity(length);
    request.as_reader().read_to_end(&mut body).ok()?;
    (body.len() == length).then_some(body)
}
