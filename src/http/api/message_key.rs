//! The key of a message within its body: `producer_api.key` is a JSON Pointer (RFC 6901) to it.

use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::http::response::Response;

/// The key that `pointer` names in a body, which is JSON: the text of a string, or a number, `true` or
/// `false` as it stands there.
///
/// # Errors
/// 400: there is none.
pub(crate) fn key_in(body: &[u8], pointer: &str) -> Result<Vec<u8>, Response> {
    let found = serde_json::from_slice::<&RawValue>(body).ok().and_then(|body| find(body, pointer));
    let key = found.and_then(|found| match found.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(found.get()).ok().map(String::into_bytes),
        Some(b'{' | b'[' | b'n') | None => None,
        Some(_) => Some(found.get().as_bytes().to_vec()),
    });
    key.filter(|key| !key.is_empty()).ok_or_else(|| {
        let sentence = format!(
            "The message has no key: its body has no text or number at {pointer} (`producer_api.key`)."
        );
        Response::error(400, "no_key", &sentence)
    })
}

/// The value at `pointer`.
fn find<'a>(body: &'a RawValue, pointer: &str) -> Option<&'a RawValue> {
    let mut found = body;
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        found = match found.get().as_bytes().first()? {
            b'{' => serde_json::from_str::<HashMap<String, &RawValue>>(found.get()).ok()?.remove(&name)?,
            b'[' => {
                let index: usize = name.parse().ok()?;
                serde_json::from_str::<Vec<&RawValue>>(found.get()).ok()?.get(index).copied()?
            }
            _ => return None,
        };
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_text_that_stands_at_the_pointer() {
        let body = br#" {"orderId":"c\u00f1", "n": 1.00, "b":true, "a":[{"x/y":"z","~":7}], "o":{}, "e":"", "nil":null} "#;
        for (pointer, key) in [
            ("/orderId", Some("cñ")),
            ("/n", Some("1.00")),
            ("/b", Some("true")),
            ("/a/0/x~1y", Some("z")),
            ("/a/0/~0", Some("7")),
            ("/a/1", None),
            ("/a/x", None),
            ("/o", None),
            ("/e", None),
            ("/nil", None),
            ("/other", None),
            ("/n/1", None),
        ] {
            let found = key_in(body, pointer);
            assert_eq!(found.as_ref().ok().map(|key| str::from_utf8(key).unwrap()), key, "{pointer}");
            assert!(found.is_ok() || found.is_err_and(|refused| refused.status == 400));
        }
        assert!(key_in(b"7", "/a").is_err());
    }
}
