//! SASL: how this client shows a broker who it is, and for how long that holds.
//!
//! - [`Credentials`]: a mechanism with what it needs; secrets are read anew when they are needed
//! - `plain`, `scram`, `oauth_bearer`: the messages of the mechanisms, without I/O
//! - [`tokens`]: where the tokens of OAUTHBEARER come from, and how long they are kept
//! - `authentication`: the exchange with a broker
//! - `session`: when it has to be repeated on the same connection (KIP-368)
//!
//! Nothing here writes a secret into a log line or an error.

pub(crate) mod authentication;
mod failure;
mod oauth_bearer;
mod plain;
mod scram;
mod secret;
pub(crate) mod session;
#[cfg(test)]
mod tests;
pub mod tokens;

use std::fmt;
use std::str::FromStr;

pub use failure::Failure;
pub(crate) use failure::Shown;
pub use oauth_bearer::Extensions;
pub use scram::Hash;
pub use secret::{Secret, SecretSource, UnreadableSecret};
pub use tokens::Tokens;

use scram::SaltedPassword;

/// A mechanism of SASL that Kafka has and this client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// User name and password as they are.
    Plain,
    /// A proof of the password, with SHA-256.
    ScramSha256,
    /// A proof of the password, with SHA-512.
    ScramSha512,
    /// A token.
    OAuthBearer,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Mechanism; 4] =
        [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512, Mechanism::OAuthBearer];

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
            Mechanism::OAuthBearer => "OAUTHBEARER",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mechanism {
    type Err = String;

    fn from_str(name: &str) -> Result<Mechanism, String> {
        let found = Mechanism::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let names = Mechanism::ALL.map(Mechanism::name).join(", ");
            format!("{:?} is no mechanism; there are {names}", failure::quoted(name))
        })
    }
}

/// What this client authenticates with. All connections of a process share it, and with it the token and the
/// salted password that it keeps.
#[derive(Debug)]
pub struct Credentials(Kind);

#[derive(Debug)]
enum Kind {
    Plain(Password),
    Scram(Hash, Password, SaltedPassword),
    OAuthBearer(Tokens, Extensions),
}

/// A user name, and where its password comes from.
#[derive(Debug, Clone)]
pub struct Password {
    /// The user's name.
    pub username: String,
    /// The password, read anew at each authentication.
    pub password: SecretSource,
}

impl Credentials {
    /// PLAIN.
    pub fn plain(password: Password) -> Credentials {
        Credentials(Kind::Plain(password))
    }

    /// SCRAM-SHA-256 or SCRAM-SHA-512.
    pub fn scram(hash: Hash, password: Password) -> Credentials {
        Credentials(Kind::Scram(hash, password, SaltedPassword::default()))
    }

    /// OAUTHBEARER.
    pub fn oauth_bearer(tokens: Tokens, extensions: Extensions) -> Credentials {
        Credentials(Kind::OAuthBearer(tokens, extensions))
    }

    /// Whether the secret itself is sent, not a proof of it.
    pub(crate) fn are_readable(&self) -> bool {
        matches!(self.mechanism(), Mechanism::Plain | Mechanism::OAuthBearer)
    }

    /// The mechanism that they are for.
    pub fn mechanism(&self) -> Mechanism {
        match &self.0 {
            Kind::Plain(_) => Mechanism::Plain,
            Kind::Scram(Hash::Sha256, ..) => Mechanism::ScramSha256,
            Kind::Scram(Hash::Sha512, ..) => Mechanism::ScramSha512,
            Kind::OAuthBearer(..) => Mechanism::OAuthBearer,
        }
    }
}
