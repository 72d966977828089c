//! What is known of one connection of a program: who it is, what it looked up, which member serves it.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::client_id::ClientId;
use super::look_ups::LookUp;
use super::member::{Member, Role};
use super::plain::PlainFetcher;
use crate::cluster::producing::Producer;
use crate::net::frame::READ_SLICE;
use crate::protocol::error_code::ErrorCode;

/// A request that has begun to arrive must be whole within this time; an answer must be taken within it.
pub(super) const STALL: Duration = Duration::from_secs(30);

/// The member that serves this connection.
pub(super) struct Bound {
    /// The member.
    pub member: Arc<Member>,
    /// The member's epoch in which an own program began.
    pub epoch: u64,
}

/// One connection.
pub struct Session {
    pub(super) id: u64,
    pub(super) stream: Arc<TcpStream>,
    pub(super) local: SocketAddr,
    pub(super) shared: Arc<Shared>,
    pub(super) client: ClientId,
    pub(super) looked_up: Option<LookUp>,
    pub(super) bound: Option<Bound>,
    pub(super) producer: Option<Producer>,
    pub(super) plain: PlainFetcher,
    /// No request has been served yet that tells what the connection is for.
    pub(super) fresh: bool,
}

impl Session {
    /// A session over an accepted connection.
    ///
    /// # Errors
    /// The socket refuses its options.
    pub fn new(id: u64, stream: Arc<TcpStream>, shared: Arc<Shared>) -> io::Result<Session> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_SLICE))?;
        stream.set_write_timeout(Some(STALL))?;
        let local = stream.local_addr()?;
        Ok(Session {
            id,
            stream,
            local,
            shared,
            client: ClientId::default(),
            looked_up: None,
            bound: None,
            producer: None,
            plain: PlainFetcher::default(),
            fresh: true,
        })
    }

    /// Binds the connection to `member`; false if that has ended meanwhile.
    pub(super) fn bind(&mut self, member: Arc<Member>) -> bool {
        if self.bound.as_ref().is_some_and(|bound| Arc::ptr_eq(&bound.member, &member)) {
            return !member.ended();
        }
        self.release();
        if !member.attach(self.id) {
            return false;
        }
        self.bound = Some(Bound { member, epoch: 0 });
        true
    }

    /// Makes a member for this connection and starts its life.
    ///
    /// # Errors
    /// BROKER_NOT_AVAILABLE when the system gives no thread.
    pub(super) fn start_member(&mut self, role: Role) -> Result<(), ErrorCode> {
        let shared = self.shared.clone();
        let member = Member::new(role, shared.group.clone(), shared.cluster.clone(), self.id);
        shared.members.start(&member).map_err(|error| {
            log::error!("no thread for a member: {error}");
            ErrorCode::BROKER_NOT_AVAILABLE
        })?;
        self.release();
        shared.look_ups.forget(self.id);
        self.bound = Some(Bound { member, epoch: 0 });
        Ok(())
    }

    /// Lets go of the member, which lingers for a moment.
    pub(super) fn release(&mut self) {
        if let Some(bound) = self.bound.take() {
            bound.member.detach(self.id);
        }
    }

    /// Whether the client gave the token that the adapter wants, if it wants one. The length is no secret; the comparison takes the same time wherever the texts differ.
    pub(super) fn may_enter(&self) -> bool {
        let Some(wanted) = &self.shared.token else { return true };
        let Some(given) = &self.client.token else { return false };
        let differing = wanted.bytes().zip(given.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        wanted.len() == given.len() && differing == 0
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.release();
        self.shared.look_ups.close(self.id);
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
