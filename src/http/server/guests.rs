//! Connections while no descriptor is left: those that come wait for a while, as one may soon be free. Then
//! they are accepted on descriptors that are kept for that, a few at a time: `/readyz` and its like are
//! answered, so that whoever looks after the endpoint hears of it, and everything else is refused at once.

use std::io;

use super::connection::Connection;
use super::event_loop::EventLoop;
use super::limits::{GUEST_SILENCE, GUEST_TIME, GUESTS_AFTER};

impl EventLoop {
    /// Accepts a connection on a descriptor of the reserve where none has been left for a while. Returns
    /// whether the cause of the failure to accept is dealt with: there was one, or none waits.
    pub(super) fn accept_guest(&mut self) -> bool {
        let since = *self.short_since.get_or_insert(self.now);
        if self.now.duration_since(since) < GUESTS_AFTER {
            return false;
        }
        let is_free = self.reserve.release() || self.hang_up_a_silent_guest() && self.reserve.release();
        if !is_free {
            return false;
        }
        let accepted = self.listener.as_ref().map(mio::net::TcpListener::accept);
        match accepted {
            Some(Ok((stream, address))) => {
                self.problems.not_accepted += 1;
                self.add_connection(stream, address, Some(self.now + GUEST_TIME));
                true
            }
            // With no descriptor left the system says so before it looks whether anybody waits.
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.acceptable = false;
                self.refill_reserve();
                true
            }
            _ => {
                self.refill_reserve();
                false
            }
        }
    }

    /// Hangs up the oldest guest that has sent nothing for a while: a crowd of such must not keep those out
    /// who ask. False if there is none.
    fn hang_up_a_silent_guest(&mut self) -> bool {
        let silent_if_until = self.now + GUEST_TIME - GUEST_SILENCE;
        let oldest = self.connections.indices().filter_map(|index| {
            let guest: &Connection = self.connections.get(index)?;
            let until = guest.guest_until.filter(|until| *until <= silent_if_until && !guest.was_heard)?;
            Some((until, index))
        });
        let Some((_, index)) = oldest.min() else { return false };
        self.hang_up(index);
        true
    }

    /// Takes descriptors for further guests, unless they are left to the connection to the handlers.
    pub(super) fn refill_reserve(&mut self) {
        if !self.is_reserve_lent {
            self.reserve.refill_except(self.guests);
        }
    }
}
