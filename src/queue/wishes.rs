//! Wishes: what an administrator's command asks of the owner of a partition, about messages that wait.
//!
//! A wish is committed as the metadata of the lowest offset that it names, in a group of its own
//! ([`group_of`]), for the partition it is about. The owner of the partition looks there every second, and
//! applies each wish once; nobody else applies any. What a wish has done shows in the note of the partition's
//! own group. A further wish takes the place of the one before; a command leaves that in its place for
//! [`STANDING`], so that it is seen, and one whose own was replaced commits it anew.
//!
//! It is text of fields between single blanks, always in this order:
//!
//! ```text
//! w1 at=1764396000000 retry=2:17,40 aside=1:99
//! ```
//!
//! | field | what it says |
//! |---|---|
//! | `w1` | a wish of version 1; another version is not read |
//! | `at=TIME` | when it was made, in ms since 1970, by the clock of the command's machine |
//! | `retry=COUNT:OFFSETS` | the messages to attempt now, as decimal offsets with commas between, after how many they are; left out where there are none |
//! | `aside=COUNT:OFFSETS` | the messages to store as dead letters now, in the same way |
//!
//! All together they are at most [`MOST`], and one at least. The counts let a reader notice a text that was cut
//! off. A wish is void when it is [older](LIFETIME) than a minute by the owner's clock, or further ahead of it:
//! what nobody took in time is not applied later, when nobody thinks of it any more.

use std::fmt::Write as _;

/// The most offsets of a wish. Those of 19 digits are 2,000 characters, of the 4,096 that brokers take.
pub const MOST: usize = 100;
/// The time after which a wish is void, in ms.
pub const LIFETIME: u64 = 60_000;

/// How long a wish of another command is left in its place, in ms: two looks of an owner.
pub const STANDING: u64 = 2_000;

const MARK: &str = "w1";
const SUFFIX: &str = "-queue-wishes";

/// The group in which the wishes about messages of `group` are committed.
pub fn group_of(group: &str) -> String {
    format!("{group}{SUFFIX}")
}

/// Whether wishes are committed in this group.
pub fn is_of_wishes(group: &str) -> bool {
    group.ends_with(SUFFIX)
}

/// What is asked about messages of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// When it was made, in ms since 1970.
    pub at: u64,
    /// The offsets of messages to attempt now.
    pub retry: Vec<i64>,
    /// The offsets of messages to store as dead letters now.
    pub aside: Vec<i64>,
}

impl Wish {
    /// The wish in a commit's metadata; `None` if it is none that can be read.
    pub fn read(text: &str) -> Option<Wish> {
        let mut fields = text.split(' ').peekable();
        fields.next_if_eq(&MARK)?;
        let mut field = |name: &str| {
            let value = fields.peek()?.strip_prefix(name)?.strip_prefix('=')?;
            fields.next();
            Some(value)
        };
        let at = number(field("at")?)?;
        let retry = field("retry").map_or(Some(Vec::new()), offsets)?;
        let aside = field("aside").map_or(Some(Vec::new()), offsets)?;
        let is_whole = fields.next().is_none() && (1..=MOST).contains(&(retry.len() + aside.len()));
        is_whole.then_some(Wish { at: u64::try_from(at).ok()?, retry, aside })
    }

    /// The text to commit.
    pub fn text(&self) -> String {
        let mut text = format!("{MARK} at={}", self.at);
        for (name, offsets) in [("retry", &self.retry), ("aside", &self.aside)] {
            if !offsets.is_empty() {
                let list: Vec<String> = offsets.iter().map(i64::to_string).collect();
                // Writing to a String does not fail.
                let _ = write!(text, " {name}={}:{}", offsets.len(), list.join(","));
            }
        }
        text
    }

    /// The offset to commit it with.
    pub fn offset(&self) -> i64 {
        self.retry.iter().chain(&self.aside).copied().min().unwrap_or(0)
    }

    /// Whether another command has to leave it in its place at `now`, in ms since 1970.
    pub fn is_fresh(&self, now: u64) -> bool {
        self.at.abs_diff(now) < STANDING
    }

    /// Whether it is not to be applied any more at `now`, in ms since 1970.
    pub fn is_void(&self, now: u64) -> bool {
        self.at.abs_diff(now) > LIFETIME
    }
}

/// The offsets of a field: at least one.
fn offsets(field: &str) -> Option<Vec<i64>> {
    let (count, list) = field.split_once(':')?;
    let offsets = list.split(',').map(number).collect::<Option<Vec<i64>>>()?;
    (usize::try_from(number(count)?).ok()? == offsets.len()).then_some(offsets)
}

/// A number as it is written: digits alone.
fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::Random;

    fn drawn(random: &mut Random) -> Wish {
        let mut offsets = || -> Vec<i64> {
            let count = random.below(MOST / 2);
            (0..count).map(|_| (random.draw() >> (1 + random.below(63))) as i64).collect()
        };
        let (mut retry, aside) = (offsets(), offsets());
        if retry.is_empty() && aside.is_empty() {
            retry.push(0);
        }
        Wish { at: random.draw() >> 1, retry, aside }
    }

    #[test]
    fn a_wish_comes_back_as_it_was_and_fits_a_commit() {
        let mut random = Random::new(21);
        for _ in 0..2_000 {
            let wish = drawn(&mut random);
            let text = wish.text();
            assert_eq!(Wish::read(&text), Some(wish), "{text}");
        }
        let longest = Wish { at: u64::MAX >> 1, retry: vec![i64::MAX; MOST], aside: Vec::new() };
        assert!(longest.text().len() < 2_100);
    }

    #[test]
    fn a_wish_reads_as_documented() {
        let wish = Wish { at: 1_764_396_000_000, retry: vec![17, 40], aside: vec![99] };
        assert_eq!(
            (wish.text().as_str(), wish.offset()),
            ("w1 at=1764396000000 retry=2:17,40 aside=1:99", 17)
        );
        assert_eq!(group_of("g"), "g-queue-wishes");
        assert!(is_of_wishes(&group_of("g")) && !is_of_wishes("g"));
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_no_wish_or_a_whole_one() {
        let mut random = Random::new(22);
        for _ in 0..2_000 {
            let text = drawn(&mut random).text();
            let cut = text.get(..random.below(text.len())).unwrap_or_default();
            // The last number may have lost digits: the text that is left is one that was never cut.
            if let Some(wish) = Wish::read(cut) {
                assert_eq!(wish.text(), cut);
            }
            let damaged = String::from_utf8_lossy(&random.damage(text.as_bytes())).into_owned();
            if let Some(wish) = Wish::read(&damaged) {
                assert!(wish.retry.len() + wish.aside.len() <= MOST);
            }
        }
        for text in [
            "",
            "w1",
            "w2 at=1 retry=1:1",
            "w1 at=1",
            "w1 at=-1 retry=1:1",
            "w1 at=1 retry=2:1",
            "w1 at=1 retry=0:",
            "w1 at=1 retry=1:-1",
            "w1 at=1 aside=1:1 retry=1:1",
            "w1 at=1 retry=1:1 ",
            "w1 at=1 retry=1:99999999999999999999",
            "q1 clean",
        ] {
            assert_eq!(Wish::read(text), None, "{text:?}");
        }
        let many = Wish { at: 1, retry: vec![1; MOST], aside: vec![1] };
        assert_eq!(Wish::read(&many.text()), None);
    }

    #[test]
    fn a_wish_is_left_in_place_at_first_and_void_after_a_minute_or_before_its_time() {
        let wish = Wish { at: 100_000, ..Wish::default() };
        assert!(!wish.is_void(100_000 + LIFETIME) && !wish.is_void(100_000 - LIFETIME));
        assert!(wish.is_fresh(100_000) && !wish.is_fresh(100_000 + STANDING));
        assert!(wish.is_void(100_001 + LIFETIME) && wish.is_void(99_999 - LIFETIME));
    }
}
