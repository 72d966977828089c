//! The body of a request, whole and, where it has to be, JSON that every reader can read.

use tiny_http::Request;

use super::answer::Answer;
use super::json::{self, Refused};

/// The whole body.
///
/// # Errors
/// The answer where the connection ended within it (`tiny_http` reports that as the body's end).
pub(super) fn read(request: &mut Request) -> Result<Vec<u8>, Answer> {
    let cut_short = || Answer::error(400, "cut_short", "The request ended before it was whole.");
    let length = request.body_length().ok_or_else(cut_short)?;
    let mut body = Vec::with_capacity(length);
    request.as_reader().read_to_end(&mut body).map_err(|_| cut_short())?;
    if body.len() == length { Ok(body) } else { Err(cut_short()) }
}

/// Whether a body is one JSON value, nested at most `depth` deep.
///
/// # Errors
/// The answer to one that is not.
pub(super) fn check(body: &[u8], depth: usize) -> Result<(), Answer> {
    json::check(body, depth).map_err(|refused| match refused {
        Refused::NotJson(why) => Answer::error(400, "bad_json", &why),
        Refused::OverLimits(why) => Answer::error(400, "json_limits", &why),
    })
}
