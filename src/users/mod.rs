//! The users of the HTTP endpoint: names, rights and topics, and the salted hashes of their secrets. They are
//! kept in a [`file`](mod@file) that the program `users` writes and the endpoint reads.

mod file;
mod name;
mod right;
mod secret;
mod topics;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use file::{change, entries, load};
pub use name::check_name;
pub use right::Right;
pub use secret::{
    MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARACTERS, PasswordHash, Token, TokenHash, check_password,
};
pub use topics::TopicPattern;

/// One user, as its entry in the file describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its rights.
    pub rights: BTreeSet<Right>,
    /// The topics that it may send to, receive from and look into; none: the channel's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<TopicPattern>,
    /// The hash of its token, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenHash>,
    /// The hash of its password, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordHash>,
    /// Whether a client certificate with its name is a way in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub certificate: bool,
}

/// All entries of a file, by the users' names.
pub type Entries = BTreeMap<String, Entry>;

/// A user with its name.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    entry: Entry,
}

impl User {
    /// Whether it has `right`: `admin` is every right.
    pub fn has(&self, right: Right) -> bool {
        self.entry.rights.contains(&right) || self.entry.rights.contains(&Right::Admin)
    }

    /// Whether it may use `topic`, where `channel` is the channel's own: `admin` may use every topic.
    pub fn may_use(&self, topic: &str, channel: &str) -> bool {
        let topics = &self.entry.topics;
        let named = topics.iter().any(|pattern| pattern.matches(topic));
        named || self.entry.rights.contains(&Right::Admin) || (topics.is_empty() && topic == channel)
    }

    /// The hash of its password, if it has one.
    pub fn password(&self) -> Option<&PasswordHash> {
        self.entry.password.as_ref()
    }
}

/// The users of an endpoint.
#[derive(Debug, Default)]
pub struct Users {
    by_name: HashMap<String, Arc<User>>,
    /// By the public part of their tokens.
    by_token: HashMap<String, Arc<User>>,
    any_password: bool,
}

impl Users {
    /// The users of these entries.
    pub fn new(entries: Entries) -> Users {
        let mut users = Users::default();
        for (name, entry) in entries {
            let user = Arc::new(User { name, entry });
            users.any_password |= user.entry.password.is_some();
            if let Some(token) = &user.entry.token {
                users.by_token.insert(token.id().to_owned(), Arc::clone(&user));
            }
            users.by_name.insert(user.name.clone(), user);
        }
        users
    }

    /// The number of users.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are no users.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether any user has a password.
    pub fn have_passwords(&self) -> bool {
        self.any_password
    }

    /// The user of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// The user of this name, if a client certificate tells it.
    pub fn with_certificate(&self, name: &str) -> Option<&Arc<User>> {
        self.named(name).filter(|user| user.entry.certificate)
    }

    /// Whether `user` is still a user, and unchanged.
    pub fn still_have(&self, user: &User) -> bool {
        self.named(&user.name).is_some_and(|known| **known == *user)
    }

    /// The user whose token this is.
    pub fn with_token(&self, token: &[u8]) -> Option<&Arc<User>> {
        let user = self.by_token.get(secret::token_id(token)?)?;
        user.entry.token.as_ref().filter(|hash| hash.is_of(token)).map(|_| user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(rights: &[Right], topics: &[&str]) -> Entry {
        let topics = topics.iter().map(|text| text.parse().unwrap()).collect();
        let rights = rights.iter().copied().collect();
        Entry { rights, topics, token: None, password: None, certificate: false }
    }

    fn user(rights: &[Right], topics: &[&str]) -> User {
        User { name: "ana".to_owned(), entry: entry(rights, topics) }
    }

    #[test]
    fn admin_is_every_right_and_every_topic() {
        for right in Right::ALL {
            for asked in Right::ALL {
                let has = user(&[right], &[]).has(asked);
                assert_eq!(has, right == asked || right == Right::Admin, "{right} {asked}");
            }
        }
        assert!(user(&[Right::Admin], &["pedidos"]).may_use("otro", "mi-topico"));
        assert!(!user(&[], &[]).has(Right::Read));
    }

    #[test]
    fn a_user_without_topics_may_use_the_channels_own_alone() {
        let none = user(&[Right::Send], &[]);
        assert!(none.may_use("mi-topico", "mi-topico") && !none.may_use("mi-topico-dlt", "mi-topico"));
        let some = user(&[Right::Send], &["pedidos*", "facturas"]);
        for (topic, may) in [
            ("pedidos", true),
            ("pedidos-2", true),
            ("pedido", false),
            ("facturas", true),
            ("facturas-2", false),
            ("mi-topico", false),
        ] {
            assert_eq!(some.may_use(topic, "mi-topico"), may, "{topic}");
        }
    }

    #[test]
    fn a_user_is_found_by_its_whole_token_alone() {
        let (token, hash) = Token::generate().unwrap();
        let with_token = Entry { token: Some(hash), ..entry(&[Right::Send], &[]) };
        let users = Users::new(Entries::from([
            ("ana".to_owned(), with_token),
            ("luis".to_owned(), entry(&[Right::Read], &[])),
        ]));
        let text = token.expose();
        assert_eq!(users.with_token(text.as_bytes()).unwrap().name, "ana");
        let mut last = text.as_bytes().to_vec();
        *last.last_mut().unwrap() ^= 1;
        for wrong in [&last[..], b"", &text.as_bytes()[..16], &text.to_uppercase().into_bytes(), &[0xff; 64]]
        {
            assert!(users.with_token(wrong).is_none(), "{wrong:?}");
        }
        assert!(!users.have_passwords() && users.len() == 2);
    }

    #[test]
    fn a_certificate_tells_only_a_user_that_is_to_have_one() {
        let with_certificate = Entry { certificate: true, ..entry(&[Right::Send], &[]) };
        let users = Users::new(Entries::from([
            ("ana".to_owned(), with_certificate),
            ("luis".to_owned(), entry(&[Right::Admin], &[])),
        ]));
        assert_eq!(users.with_certificate("ana").unwrap().name, "ana");
        for other in ["luis", "Ana", "ana ", ""] {
            assert!(users.with_certificate(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_changed_user_is_another_one() {
        let users = |rights: &[Right]| Users::new(Entries::from([("ana".to_owned(), entry(rights, &[]))]));
        let (before, after) = (users(&[Right::Send]), users(&[Right::Read]));
        let ana = before.named("ana").unwrap();
        assert!(before.still_have(ana) && !after.still_have(ana));
        assert!(!Users::default().still_have(ana));
    }
}
