//! The attempts of open messages, as bytes of the note.
//!
//! For each message in order of offset:
//!
//! 1. A LEB128 number: sixteen times the open offsets between the message before in the list (or the
//!    committed offset) and this one, plus a code. 1 to 7: so many attempts; 8 to 15: 1 to 8 attempts, of
//!    which each killed its worker; 0: two LEB128 numbers follow, the attempts, and twice the number of those
//!    that killed plus 1 if a *suspect* is being tried (see [`engine`](crate::queue::engine)).
//! 2. Two bytes, the first one the higher: the milliseconds until the next attempt, as they are below 2,048.
//!    Above, the top five bits less 1 are the places to shift, and the other eleven, with a 1 before them,
//!    what is shifted. That rounds up by 0.05 % at most, and reaches 139 years.
//!
//! A message is at most [`MAX_DISTANCE`] above the committed offset, so that its number has 63 bits.
//!
//! Offsets are counted among the open ones: in a stream in which few fail, those between the done ranges are
//! the failed ones, and each takes three bytes.

use crate::offset_ranges::{OffsetRange, number_length, put_number, take_number};

/// The highest code of attempts that did not kill.
const MAX_PLAIN: u32 = 7;
/// The highest number of attempts of which each killed, that has a code.
const MAX_KILLED: u32 = 8;
/// The bits of a wait that are kept as they are, without the one before them.
const WAIT_BITS: u32 = 11;
/// The number of codes.
const CODES: u64 = 16;

/// The furthest that a note speaks of, in offsets from the committed one.
pub const MAX_DISTANCE: u64 = 1 << 56;

/// An open message that was attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempted {
    /// Its offset.
    pub offset: i64,
    /// The attempts at it, the one of a suspect that is being tried included.
    pub attempts: u32,
    /// How many of them ended with the death of the worker.
    pub kills: u32,
    /// It is being tried as a suspect: if its owner ends without a word, it has killed once more.
    pub in_test: bool,
    /// When it may be attempted again, in ms since 1970.
    pub due: u64,
}

impl Attempted {
    /// The bytes of a message's wait.
    pub const WAIT_LENGTH: usize = 2;

    fn code(&self) -> u32 {
        match (self.attempts, self.kills) {
            _ if self.in_test => 0,
            (1..=MAX_PLAIN, 0) => self.attempts,
            (1..=MAX_KILLED, kills) if kills == self.attempts => MAX_PLAIN + kills,
            _ => 0,
        }
    }

    fn flags(&self) -> u64 {
        u64::from(self.kills) << 1 | u64::from(self.in_test)
    }
}

/// The bytes that attempts take beside the number with their code.
pub fn attempts_length(attempts: u32, kills: u32, in_test: bool) -> usize {
    let message = Attempted { offset: 0, attempts, kills, in_test, due: 0 };
    match message.code() {
        0 if attempts > 0 => number_length(u64::from(attempts)) + number_length(message.flags()),
        _ => 0,
    }
}

/// The most bytes that [`attempts_length`] gives.
pub const fn longest_attempts_length() -> usize {
    number_length(u32::MAX as u64) + number_length((u32::MAX as u64) << 1 | 1)
}

/// The bytes of `attempted`, whose waits count from `now`.
pub fn write(next: i64, done: &[OffsetRange], attempted: &[Attempted], now: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 * attempted.len());
    let mut ranges = done.iter().peekable();
    // The offsets that are done below the message, and the open ones up to the message before.
    let (mut below, mut counted) = (0, 0);
    for message in attempted {
        while let Some((start, after)) = ranges.next_if(|(start, _)| *start <= message.offset) {
            below += after - start;
        }
        let open = message.offset - next - below;
        put_number(&mut bytes, open.abs_diff(counted).saturating_mul(CODES) | u64::from(message.code()));
        counted = open + 1;
        if message.code() == 0 {
            put_number(&mut bytes, u64::from(message.attempts));
            put_number(&mut bytes, message.flags());
        }
        bytes.extend(pack_wait(message.due.saturating_sub(now)).to_be_bytes());
    }
    bytes
}

/// The messages that [`write()`] wrote; `None` if the bytes are not such.
pub fn read(next: i64, done: &[OffsetRange], bytes: &[u8], now: u64) -> Option<Vec<Attempted>> {
    let mut attempted = Vec::new();
    let (mut rest, mut ranges, mut offset) = (bytes, done.iter().peekable(), next);
    while !rest.is_empty() {
        let number = take_number(&mut rest).ok()?;
        offset = offset.checked_add(i64::try_from(number / CODES).ok()?)?;
        while let Some((start, after)) = ranges.next_if(|(start, _)| *start <= offset) {
            offset = offset.checked_add(after - start)?;
        }
        let code = (number % CODES) as u32;
        let (attempts, flags) = match code {
            0 => {
                let attempts = u32::try_from(take_number(&mut rest).ok()?).ok()?;
                (attempts, take_number(&mut rest).ok()?)
            }
            1..=MAX_PLAIN => (code, 0),
            _ => (code - MAX_PLAIN, u64::from(code - MAX_PLAIN) << 1),
        };
        let kills = u32::try_from(flags >> 1).ok()?;
        let (wait, after) = rest.split_first_chunk::<{ Attempted::WAIT_LENGTH }>()?;
        rest = after;
        if attempts == 0 || kills > attempts || offset.abs_diff(next) > MAX_DISTANCE {
            return None;
        }
        let due = now.saturating_add(unpack_wait(u16::from_be_bytes(*wait)));
        attempted.push(Attempted { offset, attempts, kills, in_test: flags & 1 == 1, due });
        offset = offset.checked_add(1)?;
    }
    Some(attempted)
}

fn pack_wait(wait: u64) -> u16 {
    let bits = 64 - wait.leading_zeros();
    if bits <= WAIT_BITS {
        return wait as u16;
    }
    let shift = bits - WAIT_BITS - 1;
    // Rounding up may carry into the next power of two, which is the next code.
    let rounded = (wait >> shift) + u64::from(wait & ((1 << shift) - 1) != 0);
    let code = (u64::from(shift) << WAIT_BITS) + rounded;
    u16::try_from(code).unwrap_or(u16::MAX)
}

fn unpack_wait(code: u16) -> u64 {
    let exponent = u32::from(code >> WAIT_BITS);
    let places = u64::from(code) & ((1 << WAIT_BITS) - 1);
    match exponent.checked_sub(1) {
        None => places,
        Some(shift) => (places | 1 << WAIT_BITS) << shift,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_kept_to_the_millisecond_or_rounded_up_a_little() {
        let mut last = 0;
        for wait in (0..5_000).chain((0..100_000).map(|step| step * step * 7 + 13)) {
            let kept = unpack_wait(pack_wait(wait));
            assert!(kept >= wait && kept - wait <= wait / 2_048, "{wait} {kept}");
            assert!(wait >= 2_048 || kept == wait);
            last = kept;
        }
        assert!(last > 10 * 86_400_000, "days");
        assert_eq!(pack_wait(u64::MAX), u16::MAX);
        for code in 0..=u16::MAX {
            assert_eq!(pack_wait(unpack_wait(code)), code);
        }
    }
}
