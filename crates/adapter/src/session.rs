//! The state of one connection: its client, its last OffsetFetch, and the member that serves it.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::client_id::ClientId;
use super::offset_fetches::OffsetFetch;
use super::plain::PlainFetcher;
use client::group_member::{Member, MemberSpec};
use client::producer::Producer;
use protocol::error_code::ErrorCode;

/// A request that has begun to arrive must be whole within this time; an answer must be taken within it.
pub(super) const STALL: Duration = Duration::from_secs(30);

/// The member that serves this connection.
pub(super) struct Bound {
    /// The member.
    pub member: Arc<Member>,
    /// The member's epoch in which a cooperating client began.
    pub epoch: u64,
}

/// The state of a connection.
pub struct Session {
    pub(super) id: u64,
    pub(super) stream: Arc<TcpStream>,
    pub(super) local: SocketAddr,
    pub(super) shared: Arc<Shared>,
    pub(super) client: ClientId,
    pub(super) offset_fetch: Option<OffsetFetch>,
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
        stream.set_write_timeout(Some(STALL))?;
        let local = stream.local_addr()?;
        Ok(Session {
            id,
            stream,
            local,
            shared,
            client: ClientId::default(),
            offset_fetch: None,
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
        self.shared.members.released();
        self.bound = Some(Bound { member, epoch: 0 });
        true
    }

    /// Makes a member for this connection and starts its life.
    ///
    /// # Errors
    /// BROKER_NOT_AVAILABLE when the system gives no thread.
    pub(super) fn start_member(&mut self, spec: MemberSpec) -> Result<(), ErrorCode> {
        let shared = self.shared.clone();
        let member = Member::new(spec, shared.group.clone(), shared.cluster.clone(), self.id);
        shared.members.start(&member).map_err(|error| {
            log::error!("no thread for a member: {error}");
            ErrorCode::BROKER_NOT_AVAILABLE
        })?;
        self.release();
        shared.offset_fetches.forget(self.id);
        self.bound = Some(Bound { member, epoch: 0 });
        Ok(())
    }

    /// Lets go of the member, which lingers for a moment.
    pub(super) fn release(&mut self) {
        if let Some(bound) = self.bound.take() {
            bound.member.detach(self.id);
            self.shared.members.released();
        }
    }

    /// Whether the client gave the token that the adapter wants, if it wants one. The length is no secret;
    /// the comparison takes the same time wherever the texts differ.
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
        self.shared.offset_fetches.close(self.id);
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
