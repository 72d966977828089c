//! The names of the files of a store, and of those beside it by which processes tell each other of it.
//!
//! | name | |
//! |---|---|
//! | `00000000000000000007.0.log` | segment 7; the second number counts how often it was rewritten |
//! | `00000000000000000007.0.index` | the places of the batches in it |
//! | `00000000000000000007.snapshot` | the state at its beginning |
//! | `closed` | where the last segment ended when the store was closed |

use super::files::UNFINISHED;

/// The file whose lock its holder keeps for as long as it serves.
pub(super) const LOCK: &str = "lock";
/// Beside the store: where its holder serves, ...
pub(crate) const ADDRESS: &str = "address";
/// ... why it has failed, ...
pub(crate) const FAILURE: &str = "failure";
/// ... what is wrong with the process that serves although it serves, ...
pub(crate) const WARNING: &str = "warning";
/// ... and why that takes no messages although the store has not failed.
pub(crate) const REFUSAL: &str = "refusal";

/// The file that a store in order leaves when it is closed.
pub(super) const CLOSED: &str = "closed";

/// A segment's number, and how often it was rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SegmentId {
    pub number: u64,
    pub generation: u32,
}

impl SegmentId {
    pub(super) fn log(self) -> String {
        format!("{:020}.{}.log", self.number, self.generation)
    }

    pub(super) fn index(self) -> String {
        format!("{:020}.{}.index", self.number, self.generation)
    }
}

/// The name of the snapshot at the beginning of a segment.
pub(super) fn snapshot(number: u64) -> String {
    format!("{number:020}.snapshot")
}

/// What a file of a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Log(SegmentId),
    Index(SegmentId),
    Snapshot(u64),
    Closed,
    /// What a crash has left.
    Unfinished,
}

/// What a file is by its name; `None` for a file of others.
pub(super) fn kind(name: &str) -> Option<Kind> {
    if name == CLOSED {
        return Some(Kind::Closed);
    }
    if let Some(rest) = name.strip_suffix(UNFINISHED) {
        return kind(rest).map(|_| Kind::Unfinished);
    }
    let mut parts = name.split('.');
    let number = number(parts.next()?)?;
    let found = match (parts.next()?, parts.next()) {
        ("snapshot", None) => Kind::Snapshot(number),
        (generation, Some(ending)) => {
            let id = SegmentId { number, generation: generation.parse().ok()? };
            match ending {
                "log" => Kind::Log(id),
                "index" => Kind::Index(id),
                _ => return None,
            }
        }
        _ => return None,
    };
    parts.next().is_none().then_some(found)
}

fn number(text: &str) -> Option<u64> {
    (text.len() == 20).then(|| text.parse().ok()).flatten()
}

/// Whether a store makes files of this name, or its process leaves them beside it.
pub(crate) fn is_of_store(name: &str) -> bool {
    kind(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_the_file_is() {
        let id = SegmentId { number: 7, generation: 2 };
        assert_eq!(kind(&id.log()), Some(Kind::Log(id)));
        assert_eq!(kind(&id.index()), Some(Kind::Index(id)));
        assert_eq!(kind(&snapshot(7)), Some(Kind::Snapshot(7)));
        assert_eq!(kind("closed"), Some(Kind::Closed));
        assert_eq!(kind(&format!("{}{UNFINISHED}", id.log())), Some(Kind::Unfinished));
        for other in ["notes.txt", "7.0.log", "closed.log", "00000000000000000007.log", "address", ""] {
            assert_eq!(kind(other), None, "{other}");
        }
    }
}
