//! A group as it is stored, so that members and generation outlive the process that serves.
//!
//! The format: a version byte, the fields in the protocol's primitive types (`protocol::wire`), and the
//! CRC-32C of all before it. A nullable field has a presence byte before it. Only stable and empty groups are
//! stored; a group without members is empty.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::group::{Group, GroupState};
use super::limits::{DISCONNECT_GRACE, MAX_MEMBERS, MAX_TOTAL_BYTES, SESSION_TIMEOUTS};
use super::member::{ConnectionState, Member, Protocol};
use net::own_connections;
use protocol::wire::{Malformed, Reader, Writer};

const VERSION: i8 = 1;

/// A stored group is damaged.
#[derive(Debug, PartialEq, Eq)]
pub struct DamagedSnapshot {
    /// The group's id.
    pub group: Arc<str>,
    /// The damage.
    pub what: String,
}

impl fmt::Display for DamagedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stored state of group {} is damaged: {}", self.group, self.what)
    }
}

impl std::error::Error for DamagedSnapshot {}

/// The bytes to store for `group`.
pub fn encode(group: &Group) -> Bytes {
    let mut writer = Writer::with_capacity(group.bytes() + 256);
    writer.put_i8(VERSION);
    writer.put_i32(group.generation);
    put_optional(&mut writer, group.protocol_type.as_deref());
    put_optional(&mut writer, group.protocol.as_deref());
    put_optional(&mut writer, group.leader.as_deref());
    writer.put_array_len(group.members.len());
    for (id, member) in &group.members {
        writer.put_string(id);
        put_member(&mut writer, member);
    }
    let checksum = crc32c::crc32c(writer.as_slice());
    writer.put_u32(checksum);
    Bytes::from(writer.into_vec())
}

/// Decodes a stored group. Its members have no connection, and their whole session timeout from `now`.
/// Members that ran in the process that served before have the grace period of a lost connection.
///
/// # Errors
/// [`DamagedSnapshot`] for anything that [`encode`] does not write.
pub fn decode(name: &Arc<str>, bytes: &[u8], now: Instant) -> Result<Group, DamagedSnapshot> {
    let damaged = |what: String| DamagedSnapshot { group: name.clone(), what };
    let body = bytes.len().checked_sub(4).and_then(|end| bytes.split_at_checked(end));
    let Some((body, checksum)) = body else { return Err(damaged("it is too short".to_owned())) };
    if crc32c::crc32c(body).to_be_bytes() != checksum {
        return Err(damaged("its checksum is wrong".to_owned()));
    }
    let mut group = Group::new(name.clone(), now);
    read(&mut group, body, now).map_err(|e| damaged(e.to_string()))?;
    check(&group).map_err(|what| damaged(what.to_owned()))?;
    group.recount();
    Ok(group)
}

fn read(group: &mut Group, body: &[u8], now: Instant) -> Result<(), Malformed> {
    let mut reader = Reader::new(body);
    if reader.i8()? != VERSION {
        return Err(reader.malformed("a version that this program does not know"));
    }
    group.generation = reader.i32()?;
    group.protocol_type = optional(&mut reader)?;
    group.protocol = optional(&mut reader)?;
    group.leader = optional(&mut reader)?;
    let mut members = BTreeMap::new();
    for _ in 0..reader.array_len(30)? {
        let id: Arc<str> = reader.string()?.into();
        let member = member(&mut reader, now)?;
        if let Some(instance) = &member.instance
            && group.instances.insert(instance.clone(), id.clone()).is_some()
        {
            return Err(reader.malformed("two members with one instance id"));
        }
        if members.insert(id, member).is_some() {
            return Err(reader.malformed("two members with one id"));
        }
    }
    if !reader.is_empty() {
        return Err(reader.malformed("bytes after the end"));
    }
    group.state = if members.is_empty() { GroupState::Empty } else { GroupState::Stable };
    group.members = members;
    Ok(())
}

/// Checks the invariants of a stored group.
fn check(group: &Group) -> Result<(), &'static str> {
    if group.generation < 0 || group.members.len() > MAX_MEMBERS {
        return Err("an impossible generation or number of members");
    }
    if group.members.is_empty() {
        return Ok(());
    }
    if !group.leader.as_ref().is_some_and(|leader| group.members.contains_key(leader)) {
        return Err("its leader is no member");
    }
    let Some(protocol) = &group.protocol else { return Err("members without a protocol") };
    if group.protocol_type.is_none() || !group.members.values().all(|m| m.metadata(protocol).is_some()) {
        return Err("members that cannot do its protocol");
    }
    let bytes: usize = group.members.values().map(Member::bytes).sum();
    let timeouts = |member: &Member| SESSION_TIMEOUTS.contains(&member.session_timeout);
    if bytes > MAX_TOTAL_BYTES || !group.members.values().all(timeouts) {
        return Err("sizes or timeouts that were never accepted");
    }
    Ok(())
}

fn put_member(writer: &mut Writer, member: &Member) {
    put_optional(writer, member.instance.as_deref());
    writer.put_string(&member.client_id);
    writer.put_string(&member.host);
    put_optional(writer, member.host_process.map(|host_process| format!("{host_process:016x}")).as_deref());
    writer.put_i64(millis(member.session_timeout));
    writer.put_i64(millis(member.rebalance_timeout));
    writer.put_array_len(member.protocols.len());
    for (name, metadata) in &member.protocols {
        writer.put_string(name);
        writer.put_bytes(metadata);
    }
    writer.put_bytes(&member.assignment);
}

fn member(reader: &mut Reader<'_>, now: Instant) -> Result<Member, Malformed> {
    let instance = optional(reader)?;
    let client_id = reader.string()?.into();
    let host = reader.string()?.into();
    let host_process = host_process(reader)?;
    let session_timeout = duration(reader)?;
    let rebalance_timeout = duration(reader)?;
    let mut protocols: Vec<Protocol> = Vec::new();
    for _ in 0..reader.array_len(6)? {
        protocols.push((reader.string()?.into(), Bytes::copy_from_slice(reader.bytes()?)));
    }
    let assignment = Bytes::copy_from_slice(reader.bytes()?);
    // A member that ran in the process that served before has ended with it.
    let died = instance.is_none()
        && host_process.is_some_and(|host_process| host_process != own_connections::process());
    let connection_state =
        if died { ConnectionState::Lost(now + DISCONNECT_GRACE) } else { ConnectionState::Unknown };
    Ok(Member {
        instance,
        client_id,
        host,
        host_process,
        session_timeout,
        rebalance_timeout,
        protocols,
        assignment,
        connection_state,
        heard_since_load: false,
        expires: now + session_timeout,
        joining: None,
        syncing: None,
        synced: true,
    })
}

fn host_process(reader: &mut Reader<'_>) -> Result<Option<u64>, Malformed> {
    let Some(text) = optional(reader)? else { return Ok(None) };
    let number = u64::from_str_radix(&text, 16);
    number.map(Some).map_err(|_| reader.malformed("a process that is no number"))
}

fn put_optional(writer: &mut Writer, text: Option<&str>) {
    writer.put_i8(i8::from(text.is_some()));
    if let Some(text) = text {
        writer.put_string(text);
    }
}

fn optional(reader: &mut Reader<'_>) -> Result<Option<Arc<str>>, Malformed> {
    match reader.i8()? {
        0 => Ok(None),
        1 => reader.string().map(|text| Some(text.into())),
        _ => Err(reader.malformed("neither there nor not there")),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A timeout within the range of requests.
fn duration(reader: &mut Reader<'_>) -> Result<Duration, Malformed> {
    let millis = u32::try_from(reader.i64()?).map_err(|_| reader.malformed("an impossible timeout"))?;
    Ok(Duration::from_millis(millis.into()))
}
