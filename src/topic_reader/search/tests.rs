use std::cell::Cell;

use super::*;
use client::RequestContext;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

/// The times of the messages of each partition, and which fit.
struct Logs(Vec<Vec<(i64, bool)>>);

impl Logs {
    fn ranges(&self) -> Vec<PartitionRange> {
        let range = |(partition, log): (i32, &Vec<_>)| PartitionRange {
            partition,
            start: 0,
            end: i64::try_from(log.len()).unwrap(),
        };
        (0..).zip(&self.0).map(range).collect()
    }

    /// As [`read`] does, of which `most` are kept.
    fn read(&self, mut seen: PartitionRange, direction: Direction, most: usize) -> Result<Chunk<()>> {
        let partition = seen.partition;
        let log = &self.0[usize::try_from(partition).unwrap()];
        let all = (seen.start..seen.end).map(|offset| (offset, log[usize::try_from(offset).unwrap()]));
        let all: Vec<_> = all.collect();
        let fits = all.iter().filter(|(_, (_, fits))| *fits);
        let mut found: VecDeque<_> =
            fits.map(|&(offset, (timestamp, _))| Found { partition, offset, timestamp, item: () }).collect();
        if found.len() > most {
            match direction {
                Direction::Newest => {
                    found.drain(..found.len() - most);
                    seen.start = found[0].offset;
                }
                Direction::Oldest => {
                    found.truncate(most);
                    seen.end = found[most - 1].offset + 1;
                }
            }
        }
        let inside = all.iter().filter(|(offset, _)| (seen.start..seen.end).contains(offset));
        let times: Vec<i64> = inside.map(|(_, (time, _))| *time).collect();
        let messages = u64::try_from(times.len()).unwrap();
        Ok(Chunk { found, seen, messages, times: times.first().copied().zip(times.last().copied()) })
    }

    fn search(&self, direction: Direction, ranges: Vec<PartitionRange>, most: usize) -> Searched<()> {
        let search = Search::new(direction, ranges, most);
        let kept = search.most_kept();
        search.run_with(&mut |range| self.read(range, direction, kept), &|| false)
    }

    /// Page after page, each where the one before has ended.
    fn pages(&self, direction: Direction, most: usize) -> Vec<Vec<(i32, i64)>> {
        let (mut ranges, mut pages) = (self.ranges(), Vec::new());
        loop {
            let searched = self.search(direction, ranges.clone(), most);
            assert!(searched.is_complete && searched.trouble.is_none());
            pages.push(searched.found.iter().map(|found| (found.partition, found.offset)).collect());
            let next = searched.lanes.iter().zip(&ranges).filter_map(|(lane, range)| {
                let next = lane.next?;
                Some(match direction {
                    Direction::Newest => PartitionRange { end: next, ..range.clone() },
                    Direction::Oldest => PartitionRange { start: next, ..range.clone() },
                })
            });
            ranges = next.collect();
            if ranges.is_empty() {
                return pages;
            }
        }
    }
}

/// Two partitions with a message each second in turn, every one of them in the first for a while.
fn logs(fits: impl Fn(i64) -> bool) -> Logs {
    let mut logs = vec![Vec::new(), Vec::new(), Vec::new()];
    for time in 0..3_000 {
        let partition = if time < 1_000 { 0 } else { usize::try_from(time % 2).unwrap() };
        logs[partition].push((time, fits(time)));
    }
    Logs(logs)
}

fn times(logs: &Logs, places: &[(i32, i64)]) -> Vec<i64> {
    let time = |(partition, offset): &(i32, i64)| {
        logs.0[usize::try_from(*partition).unwrap()][usize::try_from(*offset).unwrap()].0
    };
    places.iter().map(time).collect()
}

#[test]
fn pages_hold_everything_once_in_the_order_of_time() {
    for (direction, most, every) in [
        (Direction::Newest, 7, 1),
        (Direction::Newest, 200, 1),
        (Direction::Newest, 7, 97),
        (Direction::Oldest, 7, 1),
        (Direction::Oldest, 200, 1),
        (Direction::Oldest, 7, 97),
    ] {
        let logs = logs(|time| time % every == 0);
        let pages = logs.pages(direction, most);
        let found: Vec<i64> = pages.iter().flat_map(|page| times(&logs, page)).collect();
        let mut expected: Vec<i64> = (0..3_000).filter(|time| time % every == 0).collect();
        if direction == Direction::Newest {
            expected.reverse();
        }
        assert_eq!(found, expected, "{direction:?} {most} {every}");
        let full = pages.iter().rev().skip(2).all(|page| page.len() == most);
        assert!(full, "{direction:?} {most} {every}");
    }
}

#[test]
fn what_does_not_fit_is_looked_at_to_the_end_and_no_further() {
    let logs = logs(|_| false);
    for direction in [Direction::Newest, Direction::Oldest] {
        let searched = logs.search(direction, logs.ranges(), 10);
        assert!(searched.found.is_empty() && searched.is_complete);
        assert_eq!(searched.messages, 3_000);
        assert!(searched.lanes.iter().all(|lane| lane.next.is_none()));
    }
    let none = Logs(Vec::new());
    assert!(none.search(Direction::Newest, Vec::new(), 10).is_complete);
}

#[test]
fn a_search_that_is_late_gives_what_it_has_and_where_it_goes_on() {
    let logs = logs(|time| time % 10 == 0);
    for direction in [Direction::Newest, Direction::Oldest] {
        let search = Search::new(direction, logs.ranges(), 1_000);
        let left = Cell::new(4);
        let searched = search.run_with(
            &mut |range| {
                left.set(left.get() - 1);
                logs.read(range, direction, 1_000)
            },
            &|| left.get() == 0,
        );
        assert!(!searched.is_complete && searched.trouble.is_none());
        assert!(!searched.found.is_empty() && searched.messages > 0);
        let looked_at: i64 = searched.lanes.iter().map(|lane| lane.to - lane.from).sum();
        assert_eq!(u64::try_from(looked_at).unwrap(), searched.messages);
        let left_over = searched.lanes.iter().filter(|lane| lane.next.is_some()).count();
        assert!(left_over > 0, "{:?}", searched.lanes);
    }
}

#[test]
fn a_partition_that_cannot_be_read_keeps_no_other_from_being_searched() {
    let logs = logs(|time| time % 100 == 0);
    for (cause, least, most) in
        [(ErrorCode::CORRUPT_MESSAGE, 505, 505), (ErrorCode::TOPIC_AUTHORIZATION_FAILED, 506, 999)]
    {
        let refused = || Error::refused(RequestContext::fetch(&TopicPartition::new("pedidos", 1)), cause);
        let search = Search::new(Direction::Newest, logs.ranges(), 100);
        let tries = Cell::new(0);
        let searched = search.run_with(
            &mut |range| match range.partition {
                1 if range.start < 505 => {
                    tries.set(tries.get() + 1);
                    Err(refused())
                }
                _ => logs.read(range, Direction::Newest, 100),
            },
            &|| false,
        );
        assert!(searched.trouble.is_some() && !searched.is_complete);
        assert_eq!(searched.found.iter().filter(|found| found.partition == 0).count(), 30);
        // Up to the last whole message behind what is damaged.
        let edge = searched.lanes[1].next.unwrap();
        assert!((least..=most).contains(&edge) && searched.lanes[0].next.is_none(), "{cause:?}: {edge}");
        assert!(tries.get() < 10, "{cause:?}: {tries:?}");
    }
}
