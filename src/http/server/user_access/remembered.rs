//! The passwords that were right a short time ago, so that not every request costs a check. They are kept as
//! keyed hashes, and the key as long as the process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::credentials::Credentials;
use crate::error::{Error, Result};
use crate::users::{User, Users};

/// A password is forgotten so long after its last use.
const REMEMBER_FOR: Duration = Duration::from_secs(60);

/// The most passwords that are remembered; the one that was not used for longest makes room for another.
const MAX_REMEMBERED: usize = 1024;

/// The keyed hash of a name and a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) struct CredentialKey([u8; 32]);

/// Makes the keyed hashes.
pub(super) struct CredentialKeys([u8; 32]);

impl CredentialKeys {
    /// With a random key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(super) fn new() -> Result<CredentialKeys> {
        let key = net::random::bytes().map_err(|error| Error::new(error.to_string()))?;
        Ok(CredentialKeys(key))
    }

    /// The keyed hash of a name and a password.
    pub(super) fn of(&self, credentials: &Credentials) -> CredentialKey {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(credentials.name.len().to_be_bytes());
        hash.update(&credentials.name);
        hash.update(&credentials.password);
        CredentialKey(hash.finalize().into())
    }
}

struct Remembered {
    user: Arc<User>,
    used: Instant,
}

/// The passwords that were right a short time ago, each with its user.
#[derive(Default)]
pub(super) struct RememberedPasswords(HashMap<CredentialKey, Remembered>);

impl RememberedPasswords {
    /// The user with this name and password, if both were right a short time ago.
    pub(super) fn user_of(&mut self, key: &CredentialKey, now: Instant) -> Option<Arc<User>> {
        let remembered = self.0.get_mut(key)?;
        if now > remembered.used + REMEMBER_FOR {
            self.0.remove(key);
            return None;
        }
        remembered.used = now;
        Some(Arc::clone(&remembered.user))
    }

    /// Remembers name and password of `user`.
    pub(super) fn insert(&mut self, key: CredentialKey, user: Arc<User>, now: Instant) {
        if self.0.len() >= MAX_REMEMBERED {
            self.0.retain(|_, remembered| now <= remembered.used + REMEMBER_FOR);
        }
        if self.0.len() >= MAX_REMEMBERED {
            let oldest = self.0.iter().min_by_key(|(_, remembered)| remembered.used).map(|(key, _)| *key);
            oldest.map(|key| self.0.remove(&key));
        }
        self.0.insert(key, Remembered { user, used: now });
    }

    /// Forgets the passwords of users that have been removed or changed.
    pub(super) fn retain(&mut self, users: &Users) {
        self.0.retain(|_, remembered| users.still_have(&remembered.user));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::{Entries, Entry};

    fn users(names: &[&str]) -> Users {
        let (rights, topics) = ([].into(), Vec::new());
        let entry = Entry { rights, topics, token: None, password: None, certificate: false };
        Users::new(names.iter().map(|name| ((*name).to_owned(), entry.clone())).collect::<Entries>())
    }

    fn key(keys: &CredentialKeys, name: &str, password: &str) -> CredentialKey {
        keys.of(&Credentials { name: name.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn a_password_is_remembered_until_it_was_not_used_for_a_minute() {
        let (keys, mut remembered) = (CredentialKeys::new().unwrap(), RememberedPasswords::default());
        let (users, start) = (users(&["ana"]), Instant::now());
        let right = key(&keys, "ana", "geheim");
        remembered.insert(right, Arc::clone(users.named("ana").unwrap()), start);
        for wrong in [key(&keys, "ana", "geheim2"), key(&keys, "anag", "eheim"), key(&keys, "", "anageheim")]
        {
            assert!(remembered.user_of(&wrong, start).is_none());
        }
        assert_ne!(key(&CredentialKeys::new().unwrap(), "ana", "geheim"), right);
        let almost = start + REMEMBER_FOR;
        assert_eq!(remembered.user_of(&right, almost).unwrap().name, "ana");
        assert!(remembered.user_of(&right, almost + REMEMBER_FOR).is_some());
        let late = almost + 2 * REMEMBER_FOR + Duration::from_millis(1);
        assert!(remembered.user_of(&right, late).is_none() && remembered.0.is_empty());
    }

    #[test]
    fn former_users_are_forgotten_and_the_number_is_bounded() {
        let (keys, mut remembered) = (CredentialKeys::new().unwrap(), RememberedPasswords::default());
        let (both, start) = (users(&["ana", "luis"]), Instant::now());
        let (ana, luis) = (key(&keys, "ana", "a"), key(&keys, "luis", "b"));
        remembered.insert(ana, Arc::clone(both.named("ana").unwrap()), start);
        remembered.insert(luis, Arc::clone(both.named("luis").unwrap()), start);
        remembered.retain(&users(&["luis"]));
        assert!(remembered.user_of(&ana, start).is_none() && remembered.user_of(&luis, start).is_some());
        for number in 0..2000 {
            let other = key(&keys, "luis", &number.to_string());
            remembered.insert(
                other,
                Arc::clone(both.named("luis").unwrap()),
                start + Duration::from_millis(1),
            );
        }
        assert_eq!(remembered.0.len(), MAX_REMEMBERED);
        assert!(remembered.user_of(&luis, start).is_none(), "the oldest has made room");
    }
}
