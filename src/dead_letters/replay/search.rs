//! The search for dead letters: from the newest on backwards, in pieces that grow, within limits.

use std::sync::Arc;
use std::time::Instant;

use super::browse::{DeadLetterBrowser, unreadable};
use super::newest::Newest;
use super::reader::PartitionRange;
use crate::dead_letters::dead_letter::DeadLetter;
use crate::dead_letters::filter::DeadLetterFilter;
use crate::error::Result;
use client::Cluster;
use net::stop::Stop;

/// The most letters, and bytes of them, that a search looks at.
const MOST_LETTERS: u64 = 10_000;
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// The offsets of each partition in the first piece, and how much larger the next one is.
const FIRST_PIECE: u64 = 20;
const GROWTH: u64 = 4;

/// Dead letters that were looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundLetters {
    /// The newest of those that fit, the oldest of them first.
    pub letters: Vec<DeadLetter>,
    /// The number of those that fit, of the letters that were looked at.
    pub fit: u64,
    /// The number of letters that were looked at: the newest ones of each partition.
    pub looked_at: u64,
    /// The number of all letters that are not settled; far behind the newest, that of their offsets.
    pub open: u64,
    /// Whether all of them were looked at.
    pub is_complete: bool,
    /// Which partitions are left out, and why: their leaders do not answer.
    pub trouble: Option<String>,
}

impl DeadLetterBrowser {
    /// The newest `most` dead letters that are not settled and fit `filter`, fewer where they are large. It
    /// looks at the newest 10,000 letters, or about 64 MiB of them, and until `deadline`: what it has found
    /// by then is the result. `stop` ends it, too.
    ///
    /// # Errors
    /// No broker answers in time, the committed progress cannot be read, or an answer is damaged.
    pub fn search(
        &self,
        filter: &DeadLetterFilter,
        most: usize,
        deadline: Instant,
        stop: &Stop,
    ) -> Result<FoundLetters> {
        let cluster = self.cluster();
        let stopped = cluster.clone();
        let _hook = stop.on_ask(move || stopped.stop());
        let parts = self.parts(&cluster, Some(deadline))?.unwrap_or_default();
        let trouble = parts.left_out().map(|error| error.to_string());
        let is_complete = trouble.is_none();
        if filter.is_everything() {
            // All fit, and only the newest have to be read.
            let (letters, open) = self.newest_of(&cluster, &parts.ranges, most, deadline)?;
            return Ok(FoundLetters { letters, fit: open, looked_at: open, open, is_complete, trouble });
        }
        let search = Search { browser: self, cluster, filter, most, deadline, bytes: 0 };
        let open = parts.open();
        let found = search.run(parts.ranges, FoundLetters { open, ..FoundLetters::default() })?;
        Ok(FoundLetters { is_complete: found.is_complete && is_complete, trouble, ..found })
    }
}

struct Search<'a> {
    browser: &'a DeadLetterBrowser,
    cluster: Arc<Cluster>,
    filter: &'a DeadLetterFilter,
    most: usize,
    deadline: Instant,
    bytes: usize,
}

impl Search<'_> {
    fn run(mut self, parts: Vec<PartitionRange>, mut found: FoundLetters) -> Result<FoundLetters> {
        // Below its lowest open offset there is nothing to look for in a partition.
        let lowest = |part: PartitionRange| PartitionRange {
            start: part.progress.open_from(part.start).max(part.start),
            ..part
        };
        let mut parts: Vec<PartitionRange> = parts.into_iter().map(lowest).collect();
        let mut size = FIRST_PIECE;
        loop {
            parts.retain(|part| part.start < part.end);
            if parts.is_empty() {
                // There are no others: offsets without a letter do not count.
                (found.is_complete, found.open) = (true, found.looked_at);
                return Ok(found);
            }
            // A piece is read from its oldest letter on, so that it must fit into what is left.
            let most = self.letters_left(&found) / u64::try_from(parts.len()).unwrap_or(u64::MAX);
            let offsets = i64::try_from(size.min(most)).unwrap_or(i64::MAX);
            if offsets == 0 {
                return Ok(found);
            }
            let late = |part: &PartitionRange| PartitionRange {
                start: part.start.max(part.end.saturating_sub(offsets)),
                ..part.clone()
            };
            let piece: Vec<PartitionRange> = parts.iter().map(late).collect();
            for (part, read) in parts.iter_mut().zip(&piece) {
                part.end = read.start;
            }
            if !self.look(piece, &mut found)? {
                found.is_complete = found.looked_at >= found.open;
                return Ok(found);
            }
            size = size.saturating_mul(GROWTH);
        }
    }

    /// Looks at a piece of each partition, all older than what was looked at before; false at a limit.
    fn look(&mut self, piece: Vec<PartitionRange>, found: &mut FoundLetters) -> Result<bool> {
        let mut reader = self.browser.reader(&self.cluster, piece, self.filter, Some(self.deadline));
        let mut fitting = Newest::new(self.most);
        let goes_on = loop {
            if self.is_over(found) {
                break false;
            }
            let letter = match reader.next_letter() {
                Ok(Some(letter)) => letter,
                Ok(None) => break true,
                Err(_) if self.is_over(found) => break false,
                Err(error) => return Err(unreadable(self.browser.topic()).caused_by(error)),
            };
            found.looked_at += 1;
            self.bytes = self.bytes.saturating_add(letter.bytes());
            if self.filter.fits(&letter) {
                found.fit += 1;
                fitting.push(letter);
            }
        };
        let mut letters = fitting.into_letters();
        letters.append(&mut found.letters);
        letters.sort_by_key(|letter| (letter.timestamp, letter.id));
        let mut newest = Newest::new(self.most);
        letters.into_iter().for_each(|letter| newest.push(letter));
        found.letters = newest.into_letters();
        Ok(goes_on)
    }

    /// How many letters may still be looked at, if they are as large as those before.
    fn letters_left(&self, found: &FoundLetters) -> u64 {
        let size = self.bytes / usize::try_from(found.looked_at).unwrap_or(usize::MAX).max(1);
        let in_bytes = MOST_BYTES.saturating_sub(self.bytes) / size.max(1);
        MOST_LETTERS.saturating_sub(found.looked_at).min(u64::try_from(in_bytes).unwrap_or(u64::MAX))
    }

    fn is_over(&self, found: &FoundLetters) -> bool {
        // Those of a piece may be larger than those before it.
        let is_large = self.bytes >= 2 * MOST_BYTES;
        let is_late = self.cluster.stopping() || Instant::now() >= self.deadline;
        is_large || is_late || found.looked_at >= MOST_LETTERS
    }
}
