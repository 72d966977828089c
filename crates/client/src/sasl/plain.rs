//! PLAIN (RFC 4616): user name and password in one message.

use super::failure::Failure;
use super::secret::Secret;

/// The one message of PLAIN. The identity to act for, its first part, stays empty.
///
/// # Errors
/// [`Failure::Credentials`] for a user name or a password that the message cannot hold.
pub(super) fn message(username: &str, password: &Secret) -> Result<Vec<u8>, Failure> {
    let parts = [username.as_bytes(), password.expose()];
    if parts.iter().any(|part| part.is_empty() || part.contains(&0)) {
        return Err(Failure::Credentials(
            "a user name or a password of PLAIN is neither empty nor holds a NUL".into(),
        ));
    }
    let [username, password] = parts;
    Ok([b"\0", username, b"\0", password].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_has_an_empty_identity_then_user_and_password() {
        assert_eq!(message("tim", &Secret::new("tanstaaftanstaaf")).unwrap(), b"\0tim\0tanstaaftanstaaf");
        assert_eq!(message("ä", &Secret::new("ß ")).unwrap(), "\0ä\0ß ".as_bytes());
    }

    #[test]
    fn an_empty_part_or_a_nul_is_refused() {
        for (username, password) in [("", "x"), ("x", ""), ("a\0b", "x"), ("x", "a\0b")] {
            let error = message(username, &Secret::new(password)).unwrap_err();
            assert!(matches!(error, Failure::Credentials(_)), "{error:?}");
        }
    }
}
