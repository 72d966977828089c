//! OAUTHBEARER (RFC 7628) with Kafka's extensions (KIP-342).

use serde::Deserialize;

use super::failure::{Failure, quoted};
use super::secret::Secret;

/// The client's answer to an error of the server, which then ends the authentication.
pub(super) const ACKNOWLEDGED: &[u8] = b"\x01";

/// Names and values that go with the token, as Confluent Cloud's `logicalCluster`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions(Vec<(String, String)>);

impl Extensions {
    /// Checks `pairs` as Kafka does.
    ///
    /// # Errors
    /// A sentence about the first one that Kafka would refuse.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Extensions, String> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        for (name, value) in &pairs {
            if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphabetic()) {
                return Err(format!("the name of an extension has letters only, unlike {:?}", quoted(name)));
            }
            if name == "auth" {
                return Err("no extension is called auth: the token is".to_owned());
            }
            let is_allowed = |c: u8| matches!(c, b' '..=b'~' | b'\t' | b'\r' | b'\n');
            if value.is_empty() || !value.bytes().all(is_allowed) {
                return Err(format!("the value of the extension {name} is empty or not printable ASCII"));
            }
        }
        Ok(Extensions(pairs))
    }
}

/// The client's first message.
///
/// # Errors
/// [`Failure::Credentials`] for a token that the message cannot hold.
pub(super) fn message(token: &Secret, Extensions(extensions): &Extensions) -> Result<Vec<u8>, Failure> {
    // Characters of RFC 6750: another one would end the token or begin a field of its own.
    let is_allowed = |c: &u8| c.is_ascii_alphanumeric() || b"-._~+/=".contains(c);
    if token.expose().is_empty() || !token.expose().iter().all(is_allowed) {
        return Err(Failure::Credentials("the token is empty or has characters that no token has".into()));
    }
    let mut message = [b"n,,\x01auth=Bearer ", token.expose(), b"\x01"].concat();
    for (name, value) in extensions {
        message.extend_from_slice(format!("{name}={value}\x01").as_bytes());
    }
    message.push(1);
    Ok(message)
}

/// The server's error, of RFC 7628.
#[derive(Deserialize)]
struct ServerError {
    status: String,
    scope: Option<String>,
}

/// What the server's answer says: nothing in it is a success.
pub(super) fn server_error(answer: &[u8]) -> Option<String> {
    if answer.is_empty() || answer == ACKNOWLEDGED {
        return None;
    }
    let text = match serde_json::from_slice(answer) {
        Ok(ServerError { status, scope: Some(scope) }) if !scope.is_empty() => {
            format!("{status} (scope {scope})")
        }
        Ok(ServerError { status, .. }) => status,
        Err(_) => String::from_utf8_lossy(answer).into_owned(),
    };
    Some(quoted(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extensions(pairs: &[(&str, &str)]) -> Result<Extensions, String> {
        Extensions::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_message_has_the_token_then_the_extensions() {
        let token = Secret::new("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        assert_eq!(
            message(&token, &Extensions::default()).unwrap(),
            b"n,,\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
        );
        let extensions = extensions(&[("logicalCluster", "lkc-1"), ("identityPoolId", "pool-2")]).unwrap();
        assert_eq!(
            message(&Secret::new("a.b.c"), &extensions).unwrap(),
            b"n,,\x01auth=Bearer a.b.c\x01logicalCluster=lkc-1\x01identityPoolId=pool-2\x01\x01"
        );
    }

    #[test]
    fn a_token_or_an_extension_that_would_forge_a_field_is_refused() {
        for token in ["", "a\x01b", "a b", "a\nb", "ä"] {
            let error = message(&Secret::new(token), &Extensions::default()).unwrap_err();
            assert!(matches!(error, Failure::Credentials(_)), "{error:?}");
        }
        for pair in [("", "x"), ("auth", "x"), ("a1", "x"), ("a=b", "x"), ("a", ""), ("a", "x\x01y")] {
            extensions(&[pair]).unwrap_err();
        }
    }

    #[test]
    fn the_servers_error_is_read_from_its_json() {
        assert_eq!(server_error(b""), None);
        let json = br#"{"status":"invalid_token","scope":"kafka","openid-configuration":"x"}"#;
        assert_eq!(server_error(json).unwrap(), "invalid_token (scope kafka)");
        assert_eq!(server_error(br#"{"status":"invalid_token"}"#).unwrap(), "invalid_token");
        assert_eq!(server_error(b"\xffnot\njson").unwrap(), "\u{fffd}not json");
    }
}
