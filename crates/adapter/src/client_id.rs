//! The options of a connection, as its client id gives them:
//! `name?token=…&member=1&session=…&envelope=1&commit=pipelined`.
//!
//! The client id is the one thing that the `kafka` crate sends with every request and lets a client choose.
//! Kafka and its tools are shown the name alone.

use client::group_member::RecordFormat;

use crate::format;

/// The name of clients that give none.
const NAMELESS: &str = "kafka-rust";

/// A client id, taken apart.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientId {
    /// The name for Kafka and the logs; empty where the client gave none.
    pub name: String,
    /// The proof that the caller may act with the adapter's rights.
    pub token: Option<String>,
    /// Whether the client is one of our own consumers: a member from its OffsetFetch on, told of
    /// rebalances.
    pub member: bool,
    /// The id of one of our own consumers, the same over all its connections.
    pub session: String,
    /// Whether messages are [envelopes](protocol::envelope), in both directions.
    pub envelope: bool,
    /// Whether commits of one of our own consumers are answered before Kafka has them.
    pub pipelined: bool,
}

/// The value of `commit` for [`ClientId::pipelined`].
const PIPELINED: &str = "pipelined";

impl ClientId {
    /// The format in which it gets records.
    pub fn format(&self) -> RecordFormat {
        if self.envelope { format::ENVELOPE } else { format::MESSAGE }
    }

    /// Whether the client is one of our own programs, which reads [remarks](protocol::v0::remark) and creates
    /// what the settings say.
    pub fn is_ours(&self) -> bool {
        self.envelope || self.member
    }

    /// Takes a client id apart; control characters in the name are escaped, as it goes into logs. Options
    /// that are not known are passed over.
    pub fn parse(text: &str) -> ClientId {
        let (name, options) = text.split_once('?').unwrap_or((text, ""));
        let mut id = ClientId { name: name.escape_debug().to_string(), ..ClientId::default() };
        for option in options.split('&') {
            match option.split_once('=') {
                Some(("token", value)) => id.token = Some(value.to_owned()),
                Some(("member", value)) => id.member = value == "1",
                Some(("session", value)) => id.session = value.to_owned(),
                Some(("envelope", value)) => id.envelope = value == "1",
                Some(("commit", value)) => id.pipelined = value == PIPELINED,
                _ => {}
            }
        }
        id
    }

    /// The name to show to Kafka and in logs.
    pub fn shown(&self) -> &str {
        if self.name.is_empty() { NAMELESS } else { &self.name }
    }

    /// The text that the `kafka` crate is given.
    pub fn text(&self) -> String {
        let mut text = self.name.clone();
        let mut separator = '?';
        let yes = |wish: bool| wish.then_some("1");
        let options = [
            ("token", self.token.as_deref()),
            ("member", yes(self.member)),
            ("session", Some(self.session.as_str()).filter(|session| !session.is_empty())),
            ("envelope", yes(self.envelope)),
            ("commit", self.pipelined.then_some(PIPELINED)),
        ];
        for (key, value) in options {
            if let Some(value) = value {
                text.push(separator);
                text.push_str(key);
                text.push('=');
                text.push_str(value);
                separator = '&';
            }
        }
        text
    }
}

impl std::fmt::Debug for ClientId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientId")
            .field("name", &self.name)
            .field("member", &self.member)
            .field("session", &self.session)
            .field("envelope", &self.envelope)
            .field("pipelined", &self.pipelined)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let id = ClientId {
            name: "consumer1".to_owned(),
            token: Some("abc".to_owned()),
            member: true,
            session: "s1".to_owned(),
            envelope: true,
            pipelined: true,
        };
        assert_eq!(id.text(), "consumer1?token=abc&member=1&session=s1&envelope=1&commit=pipelined");
        assert_eq!(ClientId::parse(&id.text()), id);
    }

    #[test]
    fn a_client_id_without_options_is_a_name() {
        assert_eq!(
            ClientId::parse("someone"),
            ClientId { name: "someone".to_owned(), ..ClientId::default() }
        );
        assert_eq!(ClientId::parse("").shown(), "kafka-rust");
    }

    #[test]
    fn a_name_cannot_break_a_log_line() {
        assert_eq!(ClientId::parse("a\nERROR\u{1b}[31m").shown(), "a\\nERROR\\u{1b}[31m");
    }

    #[test]
    fn a_token_does_not_show_in_debug_output() {
        assert!(!format!("{:?}", ClientId::parse("a?token=secret")).contains("secret"));
    }
}
