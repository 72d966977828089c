//! `peek`: looks into any topic, without a group: it joins none and commits nothing.
//!
//! - [`follow`]: what comes after what is there
//! - [`shown`]: what is shown of a message

mod follow;
mod shown;

use std::io::{self, Stdout};
use std::sync::Arc;

use crate::cli::{Invocation, Program, SettingsOptions, printed};
use crate::dead_letters::filter;
use crate::error::{Error, Result};
use crate::logging;
use crate::programs::status::serve_if_unserved;
use crate::runtime::Store;
use crate::topic_reader::{Beginning, NoRange, PartitionRange, Place, Reader};
use broker::Broker;
use clap::{Args, value_parser};
use client::Cluster;
use follow::Follower;
use net::stop::Stop;
use platform::outputs;
use protocol::records::Record;
use protocol::topic_name;
use shown::{Printer, Shape};

/// The name that Kafka's tools show.
const CLIENT_ID: &str = "peek";
/// How many messages are shown unless something else is asked for.
const LAST: u64 = 10;
/// The places of so many are kept in memory while the last ones are looked for.
const MOST_LAST: u64 = 1_000_000;

/// The command line.
#[derive(Debug, Args)]
#[command(about = "Looks into a topic without a group: it commits nothing, and takes nothing from consumers")]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsOptions,
    /// Any topic [default: kafka.topic]
    #[arg(value_name = "TOPIC", value_parser = check_topic)]
    topic: Option<String>,
    /// The last N messages, 1000000 at most [default: 10, or all with --key]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(..=MOST_LAST))]
    last: Option<u64>,
    /// The messages since 2026-05-01T10:00:00Z, 2026-05-01, or 90s, 30m, 12h, 7d ago
    #[arg(long, value_name = "TIME", value_parser = filter::since, conflicts_with = "last")]
    from: Option<i64>,
    /// Only messages of this partition
    #[arg(long, value_name = "P", value_parser = value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// The messages from this offset of the partition on
    #[arg(
        long,
        value_name = "O",
        value_parser = value_parser!(i64).range(0..),
        requires = "partition",
        conflicts_with_all = ["last", "from"]
    )]
    offset: Option<i64>,
    /// Only messages with this key
    #[arg(long)]
    key: Option<String>,
    /// So many at most, the oldest first
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    max: Option<u64>,
    /// Go on with what comes, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// A JSON object each, with everything
    #[arg(long)]
    json: bool,
    /// Show keys, headers and values whole
    #[arg(long)]
    full: bool,
}

/// A topic's name, by Kafka's rule: dead letters need no room behind it.
fn check_topic(name: &str) -> Result<String, String> {
    topic_name::check(name).map(|()| name.to_owned()).map_err(str::to_owned)
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        let settings = &invocation.settings;
        // On a terminal the log would stand between the messages.
        logging::start(&settings.log.of_a_look(), "peek")?;
        let stop = crate::signals::stop()?;
        let broker = serve_if_unserved(settings, Store::Needed)?;
        let cluster = Arc::new(Cluster::new(settings.cluster()));
        let _stopping = stop.on_ask({
            let cluster = cluster.clone();
            move || cluster.stop()
        });
        let topic = self.topic.as_deref().unwrap_or(&settings.kafka.topic);
        let outcome =
            self.look(&Place { cluster: &cluster, topic, client_id: CLIENT_ID, deadline: None }, &stop);
        broker.into_iter().for_each(Broker::stop);
        match outcome {
            // A stop is no failure of what it cuts short.
            Err(Ended::Failed(_)) if stop.is_asked() => Ok(()),
            Err(Ended::Output(error)) => printed(Err(error)),
            Err(Ended::Failed(error)) => Err(error),
            Ok(()) => Ok(()),
        }
    }
}

/// Why a look ended early.
enum Ended {
    Failed(Error),
    Output(io::Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        Ended::Failed(error)
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Ended {
        Ended::Output(error)
    }
}

impl Arguments {
    fn beginning(&self) -> Beginning {
        match (self.offset, self.from, self.last) {
            (Some(offset), _, _) => Beginning::Offset { offset, may_wait: self.follow },
            (_, Some(time), _) => Beginning::Since(time),
            (_, _, None) if self.key.is_some() => Beginning::Oldest,
            (_, _, last) => Beginning::Last(usize::try_from(last.unwrap_or(LAST)).unwrap_or(usize::MAX)),
        }
    }

    /// Whether a record is one of those that are meant. Its time may be older than that of one before it.
    fn fits(&self, record: &Record<'_>) -> bool {
        self.key.as_ref().is_none_or(|key| record.key == Some(key.as_bytes()))
            && self.from.is_none_or(|time| record.timestamp >= time)
    }

    fn shape(&self) -> Shape {
        match (self.json, self.full) {
            (true, _) => Shape::Json,
            (false, true) => Shape::Whole,
            (false, false) => Shape::Rows,
        }
    }

    fn look(&self, place: &Place<'_>, stop: &Stop) -> Result<(), Ended> {
        let shape = self.shape();
        let mut printer = Printer::new(io::stdout(), shape, self.max.unwrap_or(u64::MAX));
        let ranges = place.ranges(self.partition, self.beginning());
        let (ranges, away) = ranges.map_err(|why| complaint(place, why))?;
        let away = match away.map(|error| place.unreadable().caused_by(error)) {
            Some(error) if self.follow => return Err(error.into()),
            away => away,
        };
        let mut reader = Reader::new(*place, ranges.clone(), |partition, record| {
            let shown = self.fits(record).then(|| shape.show(place.topic, partition, record))?;
            let bytes = shown.bytes();
            Some((shown, bytes))
        });
        while !printer.is_done() && !stop.is_asked() {
            match reader.next() {
                Ok(Some(found)) => printer.print(found.item)?,
                Ok(None) => break,
                Err(error) => {
                    printer.flush()?;
                    return Err(place.unreadable().caused_by(error).into());
                }
            }
        }
        drop(reader);
        printer.flush()?;
        if let Some(error) = away {
            return Err(error.into());
        }
        if self.follow {
            return self.follow(place, &ranges, &mut printer, stop);
        }
        if printer.is_empty() && !stop.is_asked() && !self.json {
            let is_narrow = self.key.is_some() || self.from.is_some();
            printer.say(if is_narrow { "no message fits" } else { "no messages" })?;
        }
        Ok(())
    }

    fn follow(
        &self,
        place: &Place<'_>,
        ranges: &[PartitionRange],
        printer: &mut Printer<Stdout>,
        stop: &Stop,
    ) -> Result<(), Ended> {
        let shape = self.shape();
        let mut follower = Follower::new(*place, ranges, self.partition.is_none());
        // Where nothing comes, no write would tell that whoever read has gone.
        while !printer.is_done() && !stop.is_asked() && !outputs::is_unread(&io::stdout()) {
            let mut output = Ok(());
            let outcome = follower.round(&mut |partition, record| {
                if self.fits(record) {
                    output = printer.print(shape.show(place.topic, partition, record));
                }
                output.is_ok() && !printer.is_done()
            });
            output?;
            printer.flush()?;
            outcome?;
        }
        Ok(())
    }
}

/// Why a topic cannot be looked into, with what is there instead.
fn complaint(place: &Place<'_>, why: NoRange) -> Error {
    let topic = place.topic;
    match &why {
        NoRange::Topic => {
            let brokers = place.cluster.settings().bootstrap_servers.join(", ");
            let hint = "`point-to-point status` lists those that are there";
            Error::new(format!("there is no topic {topic} at {brokers}: {hint}"))
        }
        NoRange::Partition { .. } => {
            Error::new(why.to_string().replacen("the topic has", &format!("the topic {topic} has"), 1))
        }
        NoRange::Offset { partition, asked, end, .. } => {
            let hint = if asked == end { ", and --follow waits for the next one" } else { "" };
            Error::new(format!("{why}{hint}")).at(topic, Some(*partition), None)
        }
        NoRange::Unanswered(error) => place.unreadable().caused_by(error.clone()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn parsed(words: &str) -> Result<Arguments, String> {
        let words = std::iter::once("peek").chain(words.split(' ').filter(|word| !word.is_empty()));
        let matches = Arguments::augment_args(Command::new("peek")).try_get_matches_from(words);
        let arguments = matches.and_then(|matches| clap::FromArgMatches::from_arg_matches(&matches));
        arguments.map_err(|error| error.to_string())
    }

    #[test]
    fn a_look_begins_where_it_is_asked_to() {
        let cases = [
            ("", Beginning::Last(10)),
            ("--last 3", Beginning::Last(3)),
            ("--last 0 --follow", Beginning::Last(0)),
            ("--partition 1", Beginning::Last(10)),
            ("--key k", Beginning::Oldest),
            ("--key k --last 1000000", Beginning::Last(1_000_000)),
            ("--from 1970-01-02", Beginning::Since(86_400_000)),
            ("--key k --from 1970-01-02", Beginning::Since(86_400_000)),
            ("--partition 1 --offset 7", Beginning::Offset { offset: 7, may_wait: false }),
            ("--partition 1 --offset 7 --follow", Beginning::Offset { offset: 7, may_wait: true }),
        ];
        for (words, beginning) in cases {
            assert_eq!(parsed(words).unwrap().beginning(), beginning, "{words}");
        }
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        for words in [
            "--last 3 --from 1h",
            "--offset 3",
            "--partition 0 --offset 3 --last 1",
            "--partition 0 --offset 3 --from 1h",
            "--partition -1",
            "--partition 0 --offset -1",
            "--last 1000001",
            "--max 0",
            "--from yesterday",
            "a/b",
            "a b",
        ] {
            assert!(parsed(words).is_err(), "{words}");
        }
    }

    #[test]
    fn a_record_has_to_have_the_key_to_the_byte_and_the_time() {
        let record = |key: Option<&'static [u8]>, timestamp| Record {
            offset: 0,
            timestamp,
            key,
            value: None,
            headers: protocol::records::Headers::default(),
        };
        let by_key = parsed("--key k").unwrap();
        assert!(by_key.fits(&record(Some(b"k"), -1)));
        for key in [None, Some(&b""[..]), Some(b"K"), Some(b"kk")] {
            assert!(!by_key.fits(&record(key, -1)), "{key:?}");
        }
        let by_time = parsed("--from 1970-01-02").unwrap();
        assert!(by_time.fits(&record(None, 86_400_000)));
        assert!(!by_time.fits(&record(None, 86_399_999)) && !by_time.fits(&record(None, -1)));
    }
}
