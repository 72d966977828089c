//! The value of an `Authorization` header.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::users::MAX_PASSWORD_BYTES;

/// The longest that a request waits for the check of its password.
pub(in super::super) const MAX_CHECK: Duration = Duration::from_secs(10);

/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A name and a password that nobody has checked yet; `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct Credentials {
    /// The name.
    pub(super) name: String,
    /// The password.
    pub(super) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The token after `Bearer` (RFC 6750 §2.1, RFC 9110 §11.4: the word in any case).
pub(in super::super) fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    after(b"Bearer ", authorization)
}

/// Name and password after `Basic` (RFC 7617: UTF-8, and the first colon ends the name).
pub(super) fn basic(authorization: &[u8]) -> Option<Credentials> {
    let decoded = BASE64.decode(after(b"Basic ", authorization)?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    let bounded = name.len() <= MAX_NAME_BYTES && password.len() <= MAX_PASSWORD_BYTES;
    bounded.then(|| Credentials { name: name.to_owned(), password: password.to_owned() })
}

fn after<'a>(scheme: &[u8], authorization: &'a [u8]) -> Option<&'a [u8]> {
    let (start, rest) = authorization.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_password_are_utf8_and_the_first_colon_parts_them() {
        for (header, name, password) in [
            ("Basic YW5hOmdlaGVpbQ==", "ana", "geheim"),
            ("basic  YW5hOmdlaGVpbQ", "ana", "geheim"),
            ("BASIC YW5hOmE6Yg==", "ana", "a:b"),
            ("Basic Sm9zw6k6Y29udHJhc2XDsWE=", "José", "contraseña"),
            ("Basic Og==", "", ""),
        ] {
            let read = basic(header.as_bytes()).unwrap_or_else(|| panic!("{header}"));
            assert_eq!((read.name.as_str(), read.password.as_str()), (name, password));
            assert_eq!(format!("{read:?}"), "***");
        }
        let long = format!("Basic {}", BASE64.encode(format!("ana:{}", "x".repeat(257))));
        for bad in
            ["Basic", "Basic ", "Basic YW5h", "Basic !!!", "Bearer YW5hOmdlaGVpbQ==", "Basic YTr/", &long]
        {
            assert!(basic(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
