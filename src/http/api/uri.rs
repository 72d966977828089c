//! Path and query of a request target, split and percent-decoded.

use crate::http::response::ErrorResponse;

const TWICE: ErrorResponse = ErrorResponse::new(400, "bad_key", "The query has `key` more than once.");
const BAD_ESCAPE: ErrorResponse =
    ErrorResponse::new(400, "bad_key", "The query's `key` is not percent-encoded UTF-8 (RFC 3986 §2.1).");

/// Path and query of a target, without the question mark.
pub(crate) fn split(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// The decoded value of a parameter; `None` if it is absent or empty. `+` is a space, as in forms.
///
/// # Errors
/// It is given twice, or is not percent-encoded UTF-8.
pub(crate) fn parameter(query: &str, name: &str) -> Result<Option<Vec<u8>>, ErrorResponse> {
    let mut values = query.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    });
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(TWICE);
    }
    let decoded = decode(value, b' ').ok_or(BAD_ESCAPE)?;
    Ok(Some(decoded).filter(|value| !value.is_empty()))
}

/// A decoded value of a query, whose `+` is a space; `None` if it is not percent-encoded UTF-8.
pub(crate) fn form_value(value: &str) -> Option<String> {
    decode(value, b' ').and_then(|decoded| String::from_utf8(decoded).ok())
}

/// A decoded segment of a path; `None` if it is not percent-encoded UTF-8.
pub(crate) fn segment(path: &str) -> Option<String> {
    decode(path, b'+').and_then(|decoded| String::from_utf8(decoded).ok())
}

/// Percent-decodes; `None` if an escape is malformed or the result is not UTF-8.
fn decode(value: &str, plus: u8) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' => plus,
            byte => byte,
        });
    }
    std::str::from_utf8(&decoded).is_ok().then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_decoded() {
        for (query, key) in [
            ("key=a", Some("a")),
            ("x=1&key=a%20b+c%26%2B&y", Some("a b c&+")),
            ("key=%C3%B1", Some("ñ")),
            ("key=a=b", Some("a=b")),
            ("key=", None),
            ("key", None),
            ("", None),
            ("keys=a&akey=b", None),
        ] {
            assert_eq!(parameter(query, "key"), Ok(key.map(|key| key.as_bytes().to_vec())), "{query:?}");
        }
    }

    #[test]
    fn a_segment_of_a_path_is_decoded() {
        for (path, decoded) in [("a%20b+c", Some("a b+c")), ("%C3%B1", Some("ñ")), ("%", None), ("%FF", None)]
        {
            assert_eq!(segment(path).as_deref(), decoded, "{path:?}");
        }
    }

    #[test]
    fn a_bad_key_is_refused() {
        for query in ["key=%", "key=%2", "key=%GG", "key=%+1", "key=%FF", "key=%C3", "key=a&key=a", "key&key"]
        {
            assert_eq!(parameter(query, "key").unwrap_err().status, 400, "{query:?}");
        }
    }
}
