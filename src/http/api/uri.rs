//! Path and query of a request target, split and percent-decoded.

/// Path and query of a target, without the question mark.
pub(crate) fn split(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
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
    fn a_segment_of_a_path_is_decoded() {
        for (path, decoded) in [("a%20b+c", Some("a b+c")), ("%C3%B1", Some("ñ")), ("%", None), ("%FF", None)]
        {
            assert_eq!(segment(path).as_deref(), decoded, "{path:?}");
        }
    }
}
