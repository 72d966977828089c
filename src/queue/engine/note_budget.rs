//! How long the note can become: what has to fit before a message is handed out.

use crate::offset_ranges::text_length;
use crate::queue::note::{Attempted, MAX_HEADER, attempts_length, longest_attempts_length};

/// The bytes of a message that was attempted, beside its two numbers.
const WAIT_LENGTH: usize = Attempted::WAIT_LENGTH;

/// A message's code takes this many bits of its first number.
const CODE_BITS: u32 = 4;

/// What the note says and may come to say.
///
/// Each message at risk (in hand, or the next to be) ends as done or as attempted: as one range more at most,
/// or as one entry more at most. A message that is neither cannot make the note longer. What is done and open
/// below only shrinks when the lowest open message is done, so it is enough to look at the sum:
///
/// - Let `f(x)` be the most bytes of the ranges if x messages of t at risk are done, `g(t - x)` the most
///   bytes of the entries. A further range takes two bytes or more, a further entry three or more. So `f(x) +
///   g(t - x) <= f(t) + g(t) - 2t`, which is linear where numbers are small: three bytes a message.
/// - Of numbers whose sum is s, at most s / 128 take a second byte, s / 128² a third.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoteBudget {
    /// The ranges that are done.
    pub ranges: usize,
    /// The messages that were attempted and are not at risk.
    pub attempted: usize,
    /// The messages at risk.
    pub at_risk: usize,
    /// The bytes of their attempts, beside their numbers.
    pub attempts_bytes: usize,
    /// The offsets from the lowest open one to the last one that the note can speak of.
    pub span: u64,
    /// The open ones among them.
    pub open: u64,
}

impl NoteBudget {
    /// The most characters of a note, whatever becomes of the messages at risk.
    pub fn longest(&self) -> usize {
        let ranges = numbers(2 * (self.ranges + self.at_risk), self.span, 0);
        let entries = self.attempted + self.at_risk;
        let attempted = numbers(entries, self.open, CODE_BITS) + entries * WAIT_LENGTH + self.attempts_bytes;
        // The attempts of the lowest open message grow without asking, so they count with their longest.
        let bytes = (ranges + attempted).saturating_sub(2 * self.at_risk) + longest_attempts_length();
        // Each of the two texts may end with a character that is not full.
        MAX_HEADER + text_length(bytes) + 1
    }
}

/// The most bytes of so many LEB128 numbers whose sum, without `low_bits` bits of each, is `sum`.
fn numbers(count: usize, sum: u64, low_bits: u32) -> usize {
    let (mut bytes, mut larger) = (count, sum >> (7 - low_bits));
    while larger > 0 && count > 0 {
        bytes += count.min(usize::try_from(larger).unwrap_or(usize::MAX));
        larger >>= 7;
    }
    bytes
}

/// The most bytes of a message's attempts after one more of them, beside its number and its wait.
pub fn next_attempts_length(attempts: u32, kills: u32, in_test: bool) -> usize {
    if in_test {
        // The attempt is counted already.
        let killed = attempts_length(attempts, kills.saturating_add(1), false);
        return attempts_length(attempts, kills, true)
            .max(killed)
            .max(attempts_length(attempts, kills, false));
    }
    let next = attempts.saturating_add(1);
    let failed = attempts_length(next, kills, false);
    failed
        .max(attempts_length(next, kills.saturating_add(1), false))
        .max(attempts_length(attempts, kills, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offset_ranges::number_length;
    use testing::Random;

    #[test]
    fn numbers_never_take_more_bytes_than_said() {
        let mut random = Random::new(2);
        for _ in 0..5_000 {
            let count = random.below(60);
            let width = [4, 200, 40_000, 1 << 30][random.below(4)];
            let drawn: Vec<u64> = (0..count).map(|_| random.draw() % width).collect();
            let sum = drawn.iter().sum();
            let bytes = drawn.iter().map(|number| number_length(*number)).sum::<usize>();
            assert!(bytes <= numbers(count, sum, 0), "{drawn:?}");
            let coded = drawn.iter().map(|number| number_length(number << 4 | 15)).sum::<usize>();
            assert!(coded <= numbers(count, sum, 4), "{drawn:?}");
        }
    }
}
