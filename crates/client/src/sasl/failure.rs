//! Why a broker and this client do not come to terms.

use std::fmt;

use super::Mechanism;
use super::tokens::TokenError;

/// Why an authentication failed.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The broker's listener does not offer the mechanism.
    NotOffered {
        /// The mechanisms that it offers.
        offered: Vec<String>,
    },
    /// The broker's listener does no SASL at all.
    NoSasl,
    /// The broker is on another host, and the secret would go there as it is.
    Unencrypted,
    /// The broker refused the credentials, in its own sentence.
    Refused(String),
    /// The broker could not prove that it knows the password.
    WrongProof,
    /// The broker asks for so many iterations of SCRAM: too few protect nothing, too many stall the client.
    IterationCount(u64),
    /// The broker's message is none of the mechanism.
    Malformed(&'static str),
    /// User name, password or extensions cannot be used or read.
    Credentials(String),
    /// No token can be had.
    Token(TokenError),
}

impl Failure {
    /// Whether the same authentication may succeed later, without anyone changing a setting, a password or
    /// the broker.
    pub fn may_pass(&self) -> bool {
        matches!(self, Failure::Token(error) if error.may_pass)
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Failure {
        Failure::Token(error)
    }
}

/// A failure of `mechanism`, as a part of a sentence.
pub(crate) struct Shown<'a>(pub Mechanism, pub &'a Failure);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(mechanism, failure) = self;
        match failure {
            Failure::NotOffered { offered } if offered.is_empty() => {
                write!(f, "the broker does not offer {mechanism}, and names no other mechanism")
            }
            Failure::NotOffered { offered } => {
                write!(f, "the broker does not offer {mechanism}; it offers {}", offered.join(", "))
            }
            Failure::NoSasl => {
                write!(f, "the listener does no SASL: kafka.security has to be \"tls\" or \"plaintext\"")
            }
            Failure::Unencrypted => write!(
                f,
                "the password or token would go to another host unencrypted: kafka.security has to be \"sasl_tls\", \
                 or kafka.anyone_may_read_the_password = true"
            ),
            Failure::Refused(message) if message.is_empty() => {
                write!(f, "the broker refused the credentials for {mechanism}")
            }
            Failure::Refused(message) => {
                write!(f, "the broker refused the credentials for {mechanism}: {message}")
            }
            Failure::WrongProof => write!(
                f,
                "the broker does not know the password: its proof for {mechanism} is wrong, so it may be an \
                 impostor"
            ),
            Failure::IterationCount(count) => write!(
                f,
                "the broker asks for {count} iterations of {mechanism}; {} to {} are accepted",
                super::scram::LEAST_ITERATIONS,
                super::scram::MOST_ITERATIONS
            ),
            Failure::Malformed(why) => write!(f, "the broker's message is none of {mechanism}: {why}"),
            Failure::Credentials(why) => write!(f, "the credentials cannot be used: {why}"),
            Failure::Token(error) => write!(f, "{error}"),
        }
    }
}

/// The longest sentence of another program that is repeated, in characters.
const LONGEST_QUOTE: usize = 300;

/// What another program wrote, fit for a log line: printable, on one line, bounded.
pub(super) fn quoted(text: &str) -> String {
    let mut printable = text.chars().map(|c| if c.is_control() || c == '\u{2028}' { ' ' } else { c });
    let mut quote: String = printable.by_ref().take(LONGEST_QUOTE).collect();
    let length = quote.trim_end().len();
    quote.truncate(length);
    if printable.next().is_some() {
        quote.push('…');
    }
    quote
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_says_its_own() {
        let shown = |failure: Failure| Shown(Mechanism::ScramSha256, &failure).to_string();
        let offered = vec!["PLAIN".to_owned(), "SCRAM-SHA-512".to_owned()];
        assert_eq!(
            shown(Failure::NotOffered { offered }),
            "the broker does not offer SCRAM-SHA-256; it offers PLAIN, SCRAM-SHA-512"
        );
        assert_eq!(
            shown(Failure::IterationCount(1)),
            "the broker asks for 1 iterations of SCRAM-SHA-256; 4096 to 1000000 are accepted"
        );
        assert!(shown(Failure::WrongProof).starts_with("the broker does not know the password: "));
        assert_eq!(
            shown(Failure::Refused("no such user".to_owned())),
            "the broker refused the credentials for SCRAM-SHA-256: no such user"
        );
    }

    #[test]
    fn a_quote_is_bounded_and_printable() {
        assert_eq!(quoted("one\ntwo\u{1b}[31m\n"), "one two [31m");
        let long = quoted(&"x".repeat(10_000));
        assert!(long.chars().count() == LONGEST_QUOTE + 1 && long.ends_with('…'), "{long}");
    }
}
