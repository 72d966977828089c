//! SCRAM (RFC 5802, RFC 7677): both sides prove that they know the password, and neither sends it.
//!
//! As Kafka does, a password is taken as its UTF-8 bytes: with the preparation of RFC 4013 a password outside
//! of ASCII would not be the one that the broker has stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::{Digest, KeyInit, block_api::EagerHash};
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha512};

use super::failure::Failure;
use super::secret::Secret;
use net::sync::{Mutex, lock};

/// Fewer iterations protect a password too little (RFC 7677); Kafka refuses to store fewer, too.
pub(super) const LEAST_ITERATIONS: u64 = 4096;
/// More iterations would let a liar burn this computer's time: these take about a second. Kafka stores 16384
/// at most.
pub(super) const MOST_ITERATIONS: u64 = 1_000_000;

/// No channel binding and no other identity to act for: Kafka takes nothing else.
const GS2_HEADER: &str = "n,,";
/// The header in base64, as the last message repeats it.
const BOUND_HEADER: &str = "c=biws";

/// The hash that SCRAM is used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl Hash {
    fn salted_password(self, password: &Secret, salt: &[u8], iterations: u32) -> Vec<u8> {
        match self {
            Hash::Sha256 => {
                pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.expose(), salt, iterations).to_vec()
            }
            Hash::Sha512 => {
                pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password.expose(), salt, iterations).to_vec()
            }
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha256 => Sha256::digest(bytes).to_vec(),
            Hash::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn mac(self, key: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Hash::Sha256 => Some(mac::<Sha256>(key, text)?.finalize().into_bytes().to_vec()),
            Hash::Sha512 => Some(mac::<Sha512>(key, text)?.finalize().into_bytes().to_vec()),
        }
    }

    /// Compares in a time that tells nothing of the expected value.
    fn is_mac(self, key: &[u8], text: &[u8], expected: &[u8]) -> bool {
        let verified = match self {
            Hash::Sha256 => mac::<Sha256>(key, text).map(|mac| mac.verify_slice(expected)),
            Hash::Sha512 => mac::<Sha512>(key, text).map(|mac| mac.verify_slice(expected)),
        };
        matches!(verified, Some(Ok(())))
    }
}

/// A code over `text`; HMAC takes a key of any length.
fn mac<H: EagerHash>(key: &[u8], text: &[u8]) -> Option<Hmac<H>>
where
    Hmac<H>: Mac + KeyInit,
{
    let mut mac = <Hmac<H> as KeyInit>::new_from_slice(key).ok()?;
    Mac::update(&mut mac, text);
    Some(mac)
}

/// The salted password of the last authentication. The salt seldom changes, so that later connections cost
/// no iterations.
#[derive(Debug, Default)]
pub(super) struct SaltedPassword(Mutex<Option<Salted>>);

#[derive(Debug)]
struct Salted {
    password: Secret,
    salt: Vec<u8>,
    iterations: u32,
    key: Secret,
}

impl SaltedPassword {
    fn of(&self, hash: Hash, password: &Secret, salt: &[u8], iterations: u32) -> Secret {
        let is_it =
            |held: &&Salted| held.password == *password && held.salt == salt && held.iterations == iterations;
        if let Some(held) = lock(&self.0).as_ref().filter(is_it) {
            return held.key.clone();
        }
        let key = Secret::new(hash.salted_password(password, salt, iterations));
        let salted = Salted { password: password.clone(), salt: salt.to_vec(), iterations, key: key.clone() };
        *lock(&self.0) = Some(salted);
        key
    }
}

/// The client's first message, and then the wait for the server's first.
#[derive(Debug)]
pub(super) struct ClientFirst {
    hash: Hash,
    bare: String,
    nonce: String,
}

/// The client's last message, and then the wait for the server's proof.
pub(super) struct ClientFinal {
    hash: Hash,
    message: Vec<u8>,
    server_key: Vec<u8>,
    auth_message: String,
}

impl ClientFirst {
    /// Begins as `username`, with a `nonce` of printable characters without commas.
    ///
    /// # Errors
    /// [`Failure::Credentials`] for an empty name.
    pub fn new(hash: Hash, username: &str, nonce: String) -> Result<ClientFirst, Failure> {
        if username.is_empty() || username.contains('\0') {
            return Err(Failure::Credentials("a user name is neither empty nor holds a NUL".into()));
        }
        let name = username.replace('=', "=3D").replace(',', "=2C");
        Ok(ClientFirst { hash, bare: format!("n={name},r={nonce}"), nonce })
    }

    /// The bytes to send.
    pub fn message(&self) -> Vec<u8> {
        format!("{GS2_HEADER}{}", self.bare).into_bytes()
    }

    /// The client's proof, in answer to the server's first message.
    ///
    /// # Errors
    /// [`Failure::IterationCount`], [`Failure::Malformed`], or [`Failure::Refused`] with the server's own
    /// word.
    pub fn answer(
        self,
        server_first: &[u8],
        password: &Secret,
        salted: &SaltedPassword,
    ) -> Result<ClientFinal, Failure> {
        let ServerFirst { text, nonce, salt, iterations } = ServerFirst::read(server_first)?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(Failure::Malformed("its nonce does not continue the client's"));
        }
        let hash = self.hash;
        let key = salted.of(hash, password, &salt, iterations);
        let unsigned = format!("{BOUND_HEADER},r={nonce}");
        let auth_message = format!("{},{text},{unsigned}", self.bare);
        let made = || {
            let client_key = hash.mac(key.expose(), b"Client Key")?;
            let signature = hash.mac(&hash.digest(&client_key), auth_message.as_bytes())?;
            let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, sign)| key ^ sign).collect();
            Some((proof, hash.mac(key.expose(), b"Server Key")?))
        };
        let (proof, server_key) = made().ok_or(Failure::Malformed("no proof can be made"))?;
        let message = format!("{unsigned},p={}", STANDARD.encode(proof)).into_bytes();
        Ok(ClientFinal { hash, message, server_key, auth_message })
    }
}

impl ClientFinal {
    /// The bytes to send.
    pub fn message(&self) -> Vec<u8> {
        self.message.clone()
    }

    /// Checks the server's last message: its proof that it knows the password.
    ///
    /// # Errors
    /// [`Failure::WrongProof`], [`Failure::Malformed`], or [`Failure::Refused`] with the server's own word.
    pub fn verify(&self, server_final: &[u8]) -> Result<(), Failure> {
        let text = as_text(server_final)?;
        let attribute = text.split(',').next().unwrap_or_default();
        refusal(attribute)?;
        let proof = attribute.strip_prefix("v=").ok_or(Failure::Malformed("it has no proof"))?;
        let proof = STANDARD.decode(proof).map_err(|_| Failure::Malformed("its proof is not base64"))?;
        match self.hash.is_mac(&self.server_key, self.auth_message.as_bytes(), &proof) {
            true => Ok(()),
            false => Err(Failure::WrongProof),
        }
    }
}

/// The server's first message.
struct ServerFirst<'a> {
    text: &'a str,
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl ServerFirst<'_> {
    fn read(message: &[u8]) -> Result<ServerFirst<'_>, Failure> {
        let text = as_text(message)?;
        refusal(text)?;
        // Attributes that follow are extensions, which may be passed over.
        let mut attributes = text.split(',');
        let mut attribute = |name: &str, missing| {
            attributes.next().and_then(|next| next.strip_prefix(name)).ok_or(Failure::Malformed(missing))
        };
        let nonce = attribute("r=", "it does not begin with a nonce")?;
        let salt = attribute("s=", "it has no salt")?;
        let iterations = attribute("i=", "it has no iteration count")?;
        let salt = STANDARD.decode(salt).map_err(|_| Failure::Malformed("its salt is not base64"))?;
        if salt.is_empty() {
            return Err(Failure::Malformed("its salt is empty"));
        }
        if iterations.is_empty() || !iterations.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(Failure::Malformed("its iteration count is no number"));
        }
        // A number too large for this type is far beyond the limit, too.
        let count = iterations.parse().unwrap_or(u64::MAX);
        match u32::try_from(count) {
            Ok(iterations) if (LEAST_ITERATIONS..=MOST_ITERATIONS).contains(&count) => {
                Ok(ServerFirst { text, nonce, salt, iterations })
            }
            _ => Err(Failure::IterationCount(count)),
        }
    }
}

fn as_text(message: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(message).map_err(|_| Failure::Malformed("it is not UTF-8"))
}

/// The server's `e=`, which may take the place of either of its messages.
fn refusal(text: &str) -> Result<(), Failure> {
    match text.strip_prefix("e=") {
        Some(error) => Err(Failure::Refused(super::failure::quoted(error))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn first(hash: Hash) -> ClientFirst {
        ClientFirst::new(hash, "user", NONCE.to_owned()).unwrap()
    }

    fn answer(server_first: &str) -> Result<ClientFinal, Failure> {
        first(Hash::Sha256).answer(
            server_first.as_bytes(),
            &Secret::new("pencil"),
            &SaltedPassword::default(),
        )
    }

    /// RFC 7677, section 3; the same with SHA-512 as an independent implementation computes it.
    #[test]
    fn the_exchange_is_that_of_the_rfc() {
        let pairs = [
            (
                Hash::Sha256,
                "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
            (
                Hash::Sha512,
                "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
                "ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
            ),
        ];
        for (hash, proof, verifier) in pairs {
            let first = first(hash);
            assert_eq!(first.message(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
            let salted = SaltedPassword::default();
            let last = first.answer(SERVER_FIRST.as_bytes(), &Secret::new("pencil"), &salted).unwrap();
            let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
            assert_eq!(last.message(), format!("c=biws,r={nonce},p={proof}").into_bytes());
            last.verify(format!("v={verifier}").as_bytes()).unwrap();
            last.verify(format!("v={verifier},x=extension").as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_name_with_a_comma_or_an_equals_sign_is_escaped() {
        let first = ClientFirst::new(Hash::Sha256, "a=b,c", NONCE.to_owned()).unwrap();
        assert_eq!(first.message(), b"n,,n=a=3Db=2Cc,r=rOprNGfwEbeRWgbNEkqO");
        assert!(ClientFirst::new(Hash::Sha256, "", NONCE.to_owned()).is_err());
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let last = answer(SERVER_FIRST).unwrap();
        let wrong = STANDARD.encode([0; 32]);
        for proof in [wrong.as_str(), "", &STANDARD.encode([0; 16])] {
            let failure = last.verify(format!("v={proof}").as_bytes()).unwrap_err();
            assert!(matches!(failure, Failure::WrongProof), "{failure:?}");
        }
        let garbage: [&[u8]; 5] = [b"", b"v", b"v=!!", b"x=6rri", b"v=\xff"];
        for message in garbage {
            let failure = last.verify(message).unwrap_err();
            assert!(matches!(failure, Failure::Malformed(_)), "{failure:?}");
        }
        let failure = last.verify(b"e=other-error").unwrap_err();
        assert!(matches!(failure, Failure::Refused(error) if error == "other-error"));
    }

    #[test]
    fn too_few_and_too_many_iterations_are_refused_before_any_is_made() {
        let nonce = SERVER_FIRST.split(",i=").next().unwrap();
        for count in ["0", "1", "4095", "1000001", "4294967296", "99999999999999999999999"] {
            let failure = answer(&format!("{nonce},i={count}")).err().unwrap();
            assert!(matches!(failure, Failure::IterationCount(_)), "{count}: {failure:?}");
        }
        for count in ["", "-1", "+5000", "5e3", "4096 "] {
            let failure = answer(&format!("{nonce},i={count}")).err().unwrap();
            assert!(matches!(failure, Failure::Malformed(_)), "{count}: {failure:?}");
        }
    }

    #[test]
    fn a_first_message_that_is_none_is_refused() {
        let garbage = [
            "",
            ",",
            "r",
            "r=",
            "r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO,s=QSXCR+Q6sek8bf92,i=4096",
            "r=another-nonce-than-ours,s=QSXCR+Q6sek8bf92,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=!!,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,x",
            "m=mandatory,r=rOprNGfwEbeRWgbNEkqOx,s=QSXCR+Q6sek8bf92,i=4096",
        ];
        for message in garbage {
            let failure = answer(message).err().unwrap();
            assert!(matches!(failure, Failure::Malformed(_)), "{message}: {failure:?}");
        }
        assert!(matches!(answer("e=unknown-user").err().unwrap(), Failure::Refused(_)));
    }

    #[test]
    fn the_salted_password_is_kept_until_salt_count_or_password_change() {
        let salted = SaltedPassword::default();
        let held = |password: &str, salt: &[u8], iterations| {
            let key = salted.of(Hash::Sha256, &Secret::new(password), salt, iterations);
            let kept = lock(&salted.0).as_ref().map(|held| held.key.clone());
            assert_eq!(kept.as_ref(), Some(&key));
            key
        };
        let key = held("pencil", b"salt", 4096);
        // The same bytes, not merely equal ones: they were not computed again.
        assert_eq!(key.expose().as_ptr(), held("pencil", b"salt", 4096).expose().as_ptr());
        assert_ne!(key, held("pencil", b"salt", 4097));
        assert_ne!(key, held("pencil", b"other", 4096));
        assert_ne!(key, held("crayon", b"salt", 4096));
        assert_eq!(key, held("pencil", b"salt", 4096));
    }
}
