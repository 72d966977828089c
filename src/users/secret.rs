//! The secrets of users, and the salted hashes that are kept of them.
//!
//! A token is made by us and has 24 random bytes that nobody can try out, so one SHA-256 is enough. A
//! password is made by people; its hash, Argon2id, makes each try cost time and memory.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::{Error, Result};

/// The shortest password, in characters.
pub const MIN_PASSWORD_CHARACTERS: usize = 8;
/// The longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 256;

/// The characters of a token's public part, by which it is found; it is the salt of the hash, too.
const ID_CHARACTERS: usize = 16;
/// The random bytes of a token, 8 of them in its public part.
const TOKEN_BYTES: usize = 32;

/// The beginning of the text of a token's hash.
const TOKEN_SCHEME: &str = "sha256";

/// The cost of a new hash of a password: 19 MiB, and two passes over them (OWASP's first recommendation).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// The largest costs that are accepted of a file.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 8;

const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

/// A token of a user, which is shown once; `Debug` does not show it.
pub struct Token(String);

impl Token {
    /// A new token, and the hash to keep of it.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<(Token, TokenHash)> {
        let text = net::random::hex::<TOKEN_BYTES>().map_err(|error| Error::new(error.to_string()))?;
        let id = text.get(..ID_CHARACTERS).unwrap_or_default().to_owned();
        let hash = TokenHash { id, hash: sha256(text.as_bytes()) };
        Ok((Token(text), hash))
    }

    /// The token itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The public part of a token, if it can be one.
pub(super) fn token_id(token: &[u8]) -> Option<&str> {
    let id = token.get(..ID_CHARACTERS).filter(|_| token.len() == 2 * TOKEN_BYTES)?;
    str::from_utf8(id).ok()
}

/// The hash of a token; `Debug` does not show it. As text: `sha256$`, the public part, `$`, the hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash {
    id: String,
    hash: [u8; HASH_BYTES],
}

impl TokenHash {
    /// The public part of the token.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it is the hash of this token.
    pub fn is_of(&self, token: &[u8]) -> bool {
        sha256(token).ct_eq(&self.hash).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl TryFrom<String> for TokenHash {
    type Error = String;

    /// The error does not show the text, which may be a token that was written there by hand.
    fn try_from(text: String) -> Result<TokenHash, String> {
        let parsed = || {
            let [scheme, id, hash] = parts(&text)?;
            let legal = scheme == TOKEN_SCHEME && id.len() == ID_CHARACTERS && id.is_ascii();
            let hash = decoded(hash)?;
            legal.then(|| TokenHash { id: id.to_owned(), hash })
        };
        parsed().ok_or_else(|| "a token is no hash that `users add` has made".to_owned())
    }
}

impl From<TokenHash> for String {
    fn from(TokenHash { id, hash }: TokenHash) -> String {
        format!("{TOKEN_SCHEME}${id}${}", STANDARD_NO_PAD.encode(hash))
    }
}

/// The hash of a password with its salt and its cost, in the PHC string format; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; SALT_BYTES],
    hash: [u8; HASH_BYTES],
}

impl PasswordHash {
    /// The hash of a password, with a salt of its own.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(password: &str) -> Result<PasswordHash> {
        let salt = net::random::bytes().map_err(|error| Error::new(error.to_string()))?;
        let mut made = PasswordHash { salt, ..PasswordHash::impossible() };
        made.hash = made
            .hashed(password.as_bytes())
            .map_err(|error| Error::new(format!("the password cannot be hashed: {error}")))?;
        Ok(made)
    }

    /// The hash that no password has. Comparing with it takes as long as with a real one, so that the time
    /// does not tell which users there are.
    pub fn impossible() -> PasswordHash {
        let (salt, hash) = ([0; SALT_BYTES], [0; HASH_BYTES]);
        PasswordHash { memory_kib: MEMORY_KIB, passes: PASSES, lanes: 1, salt, hash }
    }

    /// Whether it is the hash of this password. It takes tens of milliseconds.
    pub fn is_of(&self, password: &[u8]) -> bool {
        self.hashed(password).is_ok_and(|hash| hash.ct_eq(&self.hash).into())
    }

    fn hashed(&self, password: &[u8]) -> argon2::Result<[u8; HASH_BYTES]> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(HASH_BYTES))?;
        let mut memory = vec![Block::new(); params.block_count()];
        let mut hash = [0; HASH_BYTES];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
            password,
            &self.salt,
            &mut hash,
            &mut memory,
        )?;
        Ok(hash)
    }

    fn parse(text: &str) -> Option<PasswordHash> {
        let ["", "argon2id", "v=19", costs, salt, hash] = parts(text)? else { return None };
        let mut costs = costs.split(',');
        let mut cost = |name: &str| -> Option<u32> { costs.next()?.strip_prefix(name)?.parse().ok() };
        let (memory_kib, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
        let bounded = memory_kib <= MAX_MEMORY_KIB && passes <= MAX_PASSES && lanes <= MAX_LANES;
        Params::new(memory_kib, passes, lanes, Some(HASH_BYTES)).ok().filter(|_| bounded)?;
        let (salt, hash) = (decoded(salt)?, decoded(hash)?);
        costs.next().is_none().then_some(PasswordHash { memory_kib, passes, lanes, salt, hash })
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = String;

    /// The error does not show the text, which may be a password that was written there by hand.
    fn try_from(text: String) -> Result<PasswordHash, String> {
        PasswordHash::parse(&text)
            .ok_or_else(|| "a password is no hash that `users add` has made (argon2id)".to_owned())
    }
}

impl From<PasswordHash> for String {
    fn from(PasswordHash { memory_kib, passes, lanes, salt, hash }: PasswordHash) -> String {
        let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
        format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}")
    }
}

/// Checks a new password.
///
/// # Errors
/// A sentence that tells which passwords are legal, without the password.
pub fn check_password(password: &str) -> Result<(), &'static str> {
    let long_enough = password.chars().count() >= MIN_PASSWORD_CHARACTERS;
    if long_enough && password.len() <= MAX_PASSWORD_BYTES && !password.chars().any(char::is_control) {
        return Ok(());
    }
    Err("a password has 8 characters at least and 256 bytes at most, and no control characters")
}

fn sha256(bytes: &[u8]) -> [u8; HASH_BYTES] {
    Sha256::digest(bytes).into()
}

/// The parts of a text between `$`; `None` if there are more or fewer than `N`.
fn parts<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.split('$').collect::<Vec<_>>().try_into().ok()
}

/// The bytes of a text in base64; `None` if it is not of `N` bytes.
fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_which_has_its_own_salt() {
        let (one, other) =
            (PasswordHash::new("clave secreta").unwrap(), PasswordHash::new("clave secreta").unwrap());
        assert!(one.is_of("clave secreta".as_bytes()) && !one.is_of(b"clave secretb") && !one.is_of(b""));
        assert!(one != other && !PasswordHash::impossible().is_of(b"clave secreta"));
        let text = String::from(one.clone());
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        assert!(PasswordHash::try_from(text) == Ok(one));
    }

    #[test]
    fn a_hash_of_another_cost_is_compared_at_its_cost() {
        let mut hash = PasswordHash { memory_kib: 4096, ..PasswordHash::impossible() };
        hash.salt = *b"saltsaltsaltsalt";
        hash.hash = hash.hashed(b"password").unwrap();
        let read = PasswordHash::try_from(String::from(hash)).unwrap();
        assert_eq!(read.memory_kib, 4096);
        assert!(read.is_of(b"password") && !read.is_of(b"Password"));
    }

    #[test]
    fn a_text_that_is_no_hash_is_refused_without_showing_it() {
        let good = String::from(PasswordHash::impossible());
        assert!(PasswordHash::try_from(good.clone()).is_ok());
        for (from, to) in [
            ("argon2id", "argon2i"),
            ("v=19", "v=16"),
            ("m=19456", "m=999999999"),
            ("m=19456", "m=-1"),
            ("t=2", "t=0"),
            ("t=2", "t=17"),
            ("p=1", "p=9"),
            ("p=1", "p=1,x=1"),
            ("AA", "A!"),
            ("$m", "$$m"),
        ] {
            let bad = good.replacen(from, to, 1);
            let error = PasswordHash::try_from(bad.clone()).unwrap_err();
            assert!(!error.contains(&bad), "{error}");
        }
        for bad in ["", "geheim-geheim", "sha256$", "sha256$0123456789abcdef$", "sha1$0123456789abcdef$AAAA"]
        {
            assert!(PasswordHash::try_from(bad.to_owned()).is_err());
            assert!(TokenHash::try_from(bad.to_owned()).is_err_and(|error| !error.contains("geheim")));
        }
    }

    #[test]
    fn a_tokens_hash_survives_as_text_and_shows_nothing() {
        let (token, hash) = Token::generate().unwrap();
        let text = String::from(hash.clone());
        assert!(!text.contains(token.expose()) && text.contains(hash.id()));
        assert!(TokenHash::try_from(text) == Ok(hash.clone()));
        assert!(hash.is_of(token.expose().as_bytes()));
        let shown = format!("{token:?} {hash:?} {:?}", PasswordHash::impossible());
        assert_eq!(shown, "*** *** ***");
    }

    #[test]
    fn a_new_password_has_a_length_and_no_control_characters() {
        for legal in ["12345678", "contraseña ñ", &"x".repeat(256)] {
            assert_eq!(check_password(legal), Ok(()));
        }
        for illegal in ["", "1234567", "ñññññññ", "1234567\n", &"x".repeat(257)] {
            assert!(check_password(illegal).is_err());
        }
    }
}
