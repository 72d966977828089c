//! The one thing that is read from a token: when it expires.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

/// How long `token` is valid from now on, if it is a JWT (RFC 7519) that says so. Its signature is the
/// broker's concern.
pub(super) fn time_left(token: &[u8]) -> Option<Duration> {
    let mut parts = token.split(|byte| *byte == b'.');
    let claims = parts.nth(1)?;
    // Header, claims and signature: three parts.
    parts.next()?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    let expires = UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(exp).ok()?)?;
    Some(expires.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Vec<u8> {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)).into_bytes()
    }

    #[test]
    fn the_life_of_a_jwt_is_what_it_says() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let left = time_left(&token(&format!(r#"{{"sub":"x","exp":{}}}"#, now + 100))).unwrap();
        assert!(left > Duration::from_secs(90) && left <= Duration::from_secs(100), "{left:?}");
        let past = time_left(&token(&format!(r#"{{"exp":{}.5}}"#, now - 100)));
        assert_eq!(past, Some(Duration::ZERO));
    }

    #[test]
    fn anything_else_says_nothing() {
        let not_jwt: [&[u8]; 5] = [b"", b"opaque", b"a.b", b"a.!!.c", b"\xff.\xff.\xff"];
        for token in not_jwt {
            assert_eq!(time_left(token), None);
        }
        for claims in ["{}", "[]", r#"{"exp":"soon"}"#, r#"{"exp":-1}"#, r#"{"exp":1e300}"#] {
            assert_eq!(time_left(&token(claims)), None, "{claims}");
        }
    }
}
