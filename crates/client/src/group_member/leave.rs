//! When a member leaves its group, and why.

use std::time::Instant;

use super::state::{Activity, Attachment, EndReason, State};
use super::{ClientKind, LINGER, Member};

/// When the member has to leave, unless its client does something until then.
pub(super) fn leave_at(member: &Member, state: &State) -> Option<Instant> {
    linger_end(state).into_iter().chain(processing_end(member, state)).min()
}

/// When a detached client's time to reconnect ends.
fn linger_end(state: &State) -> Option<Instant> {
    match state.attachment {
        Attachment::Attached(_) => None,
        Attachment::Detached { since } => Some(since + LINGER),
        Attachment::Abandoned => Some(Instant::now()),
    }
}

/// When the client exceeds max_processing_ms.
fn processing_end(member: &Member, state: &State) -> Option<Instant> {
    match state.activity {
        // A reader knows itself how long its workers take.
        _ if matches!(member.spec.kind, ClientKind::Holder | ClientKind::Reader) => None,
        Activity::Serving => None,
        Activity::Processing { since } => since.checked_add(member.settings.max_processing),
    }
}

/// Why the member has to leave now.
pub(super) fn reason_to_leave(member: &Member, state: &State) -> Option<EndReason> {
    let over = |end: Option<Instant>| end.is_some_and(|end| end <= Instant::now());
    if state.end.is_some() {
        state.end
    } else if member.cluster.stopping() {
        Some(EndReason::Stopping)
    } else if state.attachment == Attachment::Abandoned {
        Some(EndReason::Abandoned)
    } else if over(linger_end(state)) {
        Some(EndReason::Disconnected)
    } else if over(processing_end(member, state)) {
        log::warn!(
            "{} has not polled for max_processing_ms ({} ms); the member leaves group {}",
            member.spec.name,
            member.settings.max_processing.as_millis(),
            member.spec.group
        );
        Some(EndReason::MaxProcessingExceeded)
    } else {
        None
    }
}
