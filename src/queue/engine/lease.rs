//! What the engine hands out, and what is said about it.

/// A message that is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// What the answer is given with.
    pub id: LeaseId,
    /// The message's offset.
    pub offset: i64,
    /// The number of this attempt, from 1 on; for a dead letter, of the last one.
    pub attempt: u32,
    /// What to do with it.
    pub task: Task,
}

/// One handing out of a message. An answer to an earlier one is told apart by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId {
    pub(super) slot: u32,
    pub(super) number: u64,
}

impl LeaseId {
    /// The bytes of an id.
    pub const BYTES: usize = 12;

    /// It as bytes: for whoever names it outside of this process.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (slot, number) = bytes.split_at_mut(4);
        slot.copy_from_slice(&self.slot.to_be_bytes());
        number.copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// The id of these bytes.
    pub fn from_bytes([a, b, c, d, number @ ..]: [u8; Self::BYTES]) -> LeaseId {
        LeaseId { slot: u32::from_be_bytes([a, b, c, d]), number: u64::from_be_bytes(number) }
    }
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Hand it to the handler.
    Handle,
    /// Store it as a dead letter.
    StoreDeadLetter,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// The worker said so, or did not answer in time.
    Error,
    /// The worker died of it.
    WorkerDied,
}

/// What becomes of a message whose attempt failed.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is attempted again after its wait.
    Retried,
    /// Its attempts are out. The lease stands: store it as a dead letter, then say that it is done.
    DeadLetter {
        /// The attempts at it.
        attempts: u32,
        /// How many of them its worker did not survive.
        kills: u32,
    },
    /// The lease ran out before; the answer says nothing.
    Late,
}

/// Why nothing is handed out though messages are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// The partition is being handed over.
    HandOver,
    /// A commit has to say first what may be handed out.
    Commit,
    /// The note has no room for another message.
    Note,
}

/// What a message waits for, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenState {
    /// For the message before it in its key's line.
    Blocked,
    /// To be handed out; a suspect until it is its turn to be tried.
    Ready,
    /// For its next attempt, at this time.
    Waiting(u64),
    /// For its bytes.
    Missing,
    /// For its worker, until this time.
    Leased(u64),
}

/// An open message, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenMessage {
    /// Its offset.
    pub offset: i64,
    /// The attempts at it.
    pub attempts: u32,
    /// How many of them its worker did not survive.
    pub kills: u32,
    /// What it waits for.
    pub state: OpenState,
    /// It may have killed a consumer.
    pub suspect: bool,
}

/// What to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The lowest open offset.
    pub offset: i64,
    /// The note, as metadata.
    pub note: String,
    /// The note says all that is done. It does not only where the limit on its length was lowered.
    pub whole: bool,
}
