//! The names of users.

/// The longest name, in characters.
const MAX_CHARACTERS: usize = 64;

/// Checks the name of a user. It has no colon, where `Basic` authentication ends a name, and no space, so
/// that it is one word in the log.
///
/// # Errors
/// A sentence that tells which names are legal.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let legal = |character: char| character.is_alphanumeric() || "-_.@+".contains(character);
    if (1..=MAX_CHARACTERS).contains(&name.chars().count()) && name.chars().all(legal) {
        return Ok(());
    }
    Err("a name is 1 to 64 letters, digits and the characters - _ . @ +")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_without_a_colon() {
        for legal in ["ana", "José", "a.b-c_d@example.org", "дмитрий", "1+1", &"x".repeat(64)] {
            assert_eq!(check_name(legal), Ok(()), "{legal}");
        }
        for illegal in ["", "a b", "a:b", "a\n", "a\"b", "a=b", "a/b", "\u{202e}a", &"x".repeat(65)] {
            assert!(check_name(illegal).is_err(), "{illegal:?}");
        }
    }
}
