//! What the `kafka` crate has no field for: the cause of a failure, beside one of the few codes that it
//! knows.
//!
//! An answer to one of our own clients has a topic more for each cause. Its name holds code and text, and
//! begins with a character that no topic's name may have; the crate hands it on as it does every topic.

use crate::error_code::ErrorCode;

/// What no name of a topic begins with.
const MARK: char = '\u{1}';

/// The longest text, in bytes.
const LONGEST: usize = 2_000;

/// A failure as the cluster or its client told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Kafka's code.
    pub code: ErrorCode,
    /// A sentence for people, without its full stop.
    pub text: String,
}

impl Remark {
    /// The name of the topic that carries it.
    pub fn name(&self) -> String {
        let fits = |(at, letter): &(usize, char)| at + letter.len_utf8() <= LONGEST;
        let text: String = self.text.char_indices().take_while(fits).map(|(_, letter)| letter).collect();
        format!("{MARK}{} {text}", self.code.0)
    }

    /// The remark that a topic's name carries; `None` for the name of a topic.
    pub fn read(name: &str) -> Option<Remark> {
        let (code, text) = name.strip_prefix(MARK)?.split_once(' ')?;
        Some(Remark { code: ErrorCode(code.parse().ok()?), text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_is_read_as_it_was_written_and_no_topic_is_one() {
        let remark = Remark { code: ErrorCode(-1), text: "the broker said: no".to_owned() };
        assert_eq!(Remark::read(&remark.name()), Some(remark));
        assert!(
            crate::topic_name::check(&Remark { code: ErrorCode(0), text: String::new() }.name()).is_err()
        );
        for name in ["pedidos", "", "\u{1}", "\u{1}x y"] {
            assert_eq!(Remark::read(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let long = Remark { code: ErrorCode(87), text: "ñ".repeat(LONGEST) };
        let read = Remark::read(&long.name()).unwrap();
        assert_eq!((read.code, read.text), (ErrorCode(87), "ñ".repeat(LONGEST / 2)));
    }
}
