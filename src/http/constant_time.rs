//! Comparison of secrets in a time that depends on neither of them.

use subtle::ConstantTimeEq;

/// The longest word that [`equal`] compares, in bytes; a longer one is equal to nothing.
pub(crate) const MAX_WORD_BYTES: usize = 256;

/// Whether two words are equal. The words are padded with NUL bytes to one length, so neither may hold a NUL.
pub(crate) fn equal(one: &[u8], other: &[u8]) -> bool {
    let padded = |word: &[u8]| {
        let mut bytes = [0; MAX_WORD_BYTES];
        bytes.get_mut(..word.len()).map(|start| start.copy_from_slice(word)).map(|()| bytes)
    };
    let (Some(one), Some(other)) = (padded(one), padded(other)) else { return false };
    one.ct_eq(&other).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_equal_only_if_all_their_bytes_are() {
        assert!(equal(b"", b"") && equal(b"a", b"a"));
        assert!(!equal(b"a", b"") && !equal(b"a", b"b") && !equal(b"a", b"ab"));
        let longest = [b'x'; MAX_WORD_BYTES];
        assert!(equal(&longest, &longest) && !equal(&longest, &longest[1..]));
        assert!(!equal(&[b'x'; MAX_WORD_BYTES + 1], &[b'x'; MAX_WORD_BYTES + 1]));
    }
}
