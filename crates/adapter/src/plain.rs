//! Fetching for a connection without a group, straight from the cluster.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::client_id::ClientId;
use client::Cluster;
use client::connection::Connection;
use client::fetch::{self, Position};
use client::group_member::{Ask, RecordFormat, Served, convert};
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

/// Fetches for one connection without a group, over connections of its own.
#[derive(Default)]
pub struct PlainFetcher {
    connections: HashMap<i32, Connection>,
    /// Where a partition goes on after a gap, by what the client still asks for.
    past_gaps: HashMap<TopicPartition, (i64, i64)>,
}

impl PlainFetcher {
    /// Asks the leaders until a message comes or `wait` is over.
    pub fn fetch(
        &mut self,
        cluster: &Cluster,
        client: &ClientId,
        asks: &[Ask],
        wait: Duration,
    ) -> Vec<Served> {
        if asks.is_empty() {
            return Vec::new();
        }
        let deadline = Instant::now() + wait;
        let mut backoff = client::backoff();
        let mut hold = Duration::ZERO;
        loop {
            let mut served: Vec<Served> = asks.iter().map(Served::nothing).collect();
            let troubled = self.round(cluster, client, asks, hold, &mut served);
            let failed = served.iter().enumerate().find(|(_, served)| !served.error.is_ok());
            if let Some((failed, code)) = failed.map(|(index, served)| (index, served.error)) {
                // The crate would move past data that comes beside an error.
                let error = |index| if index == failed { code } else { ErrorCode::NONE };
                let nothing = |(index, ask)| Served { error: error(index), ..Served::nothing(ask) };
                return asks.iter().enumerate().map(nothing).collect();
            }
            let now = Instant::now();
            if served.iter().any(|s| !s.messages.is_empty()) || now >= deadline || cluster.stopping() {
                return served;
            }
            if troubled {
                cluster.pause(backoff.next_wait().min(deadline - now));
                let topics: Vec<&str> = asks.iter().map(|ask| ask.topic.as_str()).collect();
                if let Err(error) = cluster.refresh(&topics, cluster.deadline(deadline)) {
                    log::debug!("{}: {error}", client.shown());
                }
            }
            hold = deadline.saturating_duration_since(Instant::now());
        }
    }

    /// Sends a request to each leader, all before the first answer is awaited; returns whether one failed.
    fn round(
        &mut self,
        cluster: &Cluster,
        client: &ClientId,
        asks: &[Ask],
        hold: Duration,
        served: &mut [Served],
    ) -> bool {
        let name = client.shown();
        let limit = cluster.deadline(Instant::now() + Duration::from_secs(30));
        let mut troubled = false;
        let mut by_leader: BTreeMap<i32, Vec<Position>> = BTreeMap::new();
        for (ask, served) in asks.iter().zip(served.iter_mut()) {
            match cluster.topic(&ask.topic, limit) {
                Ok(Some(topic)) if !holds(topic.leaders.len(), ask.partition) => {
                    served.error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                }
                Ok(Some(_)) => match cluster.leader(&ask.topic, ask.partition) {
                    Some(leader) => by_leader.entry(leader).or_default().push(self.position(ask)),
                    None => troubled = true,
                },
                Ok(None) => served.error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                Err(_) => troubled = true,
            }
        }
        let mut asked = Vec::new();
        for (leader, positions) in by_leader {
            match self.ask(cluster, name, leader, &positions, hold, limit) {
                Ok(connection) => asked.push((leader, positions, connection)),
                Err(error) => {
                    log::debug!("{name}: fetching from node {leader}: {error}");
                    troubled = true;
                }
            }
        }
        for (leader, positions, mut connection) in asked {
            match fetch::answer(&mut connection, &positions, limit + hold, &mut || !cluster.stopping()) {
                Ok(fetched) => {
                    self.connections.insert(leader, connection);
                    for partition in fetched {
                        troubled |= self.take(asks, &positions, partition, client.format(), served);
                    }
                }
                Err(error) => {
                    log::debug!("{name}: fetching from node {leader}: {error}");
                    troubled = true;
                }
            }
        }
        troubled
    }

    fn ask(
        &mut self,
        cluster: &Cluster,
        name: &str,
        leader: i32,
        positions: &[Position],
        hold: Duration,
        limit: Instant,
    ) -> client::Result<Connection> {
        let mut connection = match self.connections.remove(&leader).and_then(Connection::if_open) {
            Some(connection) => connection,
            None => cluster.connect(leader, name, limit)?,
        };
        fetch::ask(&mut connection, positions, hold)?;
        Ok(connection)
    }

    fn position(&self, ask: &Ask) -> Position {
        let past = self.past_gaps.get(&ask.topic_partition());
        let offset = past.filter(|(asked, _)| *asked == ask.offset).map_or(ask.offset, |(_, next)| *next);
        let max_bytes = i32::try_from(ask.max_bytes).unwrap_or(i32::MAX);
        Position::new(&ask.topic_partition(), offset, max_bytes)
    }

    /// Takes one partition's answer; returns whether it is to be asked again after a look-up of its leader.
    fn take(
        &mut self,
        asks: &[Ask],
        positions: &[Position],
        partition: fetch::Fetched,
        format: RecordFormat,
        served: &mut [Served],
    ) -> bool {
        let is_it = |topic: &str, number: i32| topic == partition.topic && number == partition.partition;
        let asked = asks.iter().zip(served).find(|(ask, _)| is_it(&ask.topic, ask.partition));
        let Some((ask, served)) = asked else { return false };
        let Some(position) = positions.iter().find(|p| is_it(&p.topic, p.partition)) else { return false };
        match partition.error {
            ErrorCode::NONE => match convert(&partition.records, position.offset, format) {
                Ok(chunk) if chunk.messages.is_empty() => {
                    if chunk.next_offset > position.offset {
                        let key = ask.topic_partition();
                        self.past_gaps.insert(key, (ask.offset, chunk.next_offset));
                    }
                }
                Ok(chunk) => {
                    served.messages = chunk.bytes;
                    served.high_watermark = partition.high_watermark;
                }
                Err(reason) => {
                    log::error!("{}-{}: {reason}", ask.topic, ask.partition);
                    served.error = ErrorCode::CORRUPT_MESSAGE;
                }
            },
            code if code.is_retriable() && code != ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => return true,
            code => served.error = code,
        }
        false
    }
}

fn holds(count: usize, partition: i32) -> bool {
    usize::try_from(partition).is_ok_and(|partition| partition < count)
}
