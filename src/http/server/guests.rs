//! Connections while no descriptor is left: those that come wait for a while, as one may soon be free. Then
//! they are accepted on descriptors that are kept for that, a few at a time: `/readyz` and its like are
//! answered, so that whoever looks after the endpoint hears of it, and everything else is refused at once.

use std::io;

use super::event_loop::EventLoop;
use super::limits::{GUEST_TIME, GUESTS_AFTER};

impl EventLoop {
    /// Accepts a connection on a descriptor of the reserve where none has been left for a while. Returns
    /// whether the cause of the failure to accept is dealt with: there was one, or none waits.
    pub(super) fn accept_guest(&mut self) -> bool {
        let since = *self.short_since.get_or_insert(self.now);
        if self.now.duration_since(since) < GUESTS_AFTER || !self.reserve.release() {
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
                self.reserve.refill();
                true
            }
            _ => {
                self.reserve.refill();
                false
            }
        }
    }
}
