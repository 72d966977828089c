//! Tries to join that are refused for good: they go on, as a right may be given, but ever more rarely, and
//! each reason is told once.

use std::time::Duration;

use net::backoff::Backoff;

/// The first wait after a refusal.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The refusals since the member has joined last.
#[derive(Debug)]
pub(super) struct JoinRefusals {
    backoff: Backoff,
    told: Option<String>,
}

impl JoinRefusals {
    pub(super) fn new() -> JoinRefusals {
        JoinRefusals { backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT), told: None }
    }

    /// The member was refused for this `reason`: how long to wait, and whether the reason is to be told.
    pub(super) fn refused(&mut self, reason: String) -> (Duration, bool) {
        let is_news = self.told.as_ref() != Some(&reason);
        self.told = Some(reason);
        (self.backoff.next_wait(), is_news)
    }

    /// The member has joined.
    pub(super) fn joined(&mut self) {
        *self = JoinRefusals::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_tries_become_rarer_until_one_succeeds() {
        let mut refusals = JoinRefusals::new();
        for _ in 0..2 {
            for due in [5, 10, 20, 30, 30].map(Duration::from_secs) {
                let (wait, _) = refusals.refused("no right".to_owned());
                assert!(wait >= due / 2 && wait <= due, "{wait:?} of {due:?}");
            }
            refusals.joined();
        }
    }

    #[test]
    fn a_reason_is_told_once_until_it_changes_or_the_member_has_joined() {
        let mut refusals = JoinRefusals::new();
        let mut told = |reason: &str| refusals.refused(reason.to_owned()).1;
        assert_eq!([told("a"), told("a"), told("b"), told("b"), told("a")], [true, false, true, false, true]);
        refusals.joined();
        assert!(refusals.refused("a".to_owned()).1);
    }
}
