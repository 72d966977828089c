//! Names and secrets that cannot be guessed.

use std::io;

/// `N` random bytes of the system.
///
/// # Errors
/// The system has no randomness.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| io::Error::other(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes)
}

/// `N` random bytes as `2 * N` hexadecimal digits.
///
/// # Errors
/// The system has no randomness.
pub fn hex<const N: usize>() -> io::Result<String> {
    Ok(bytes::<N>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A number from 0 to 1.
///
/// # Errors
/// The system has no randomness.
pub fn fraction() -> io::Result<f64> {
    Ok(f64::from(u32::from_ne_bytes(bytes()?)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        let (first, second) = (hex::<16>().unwrap(), hex::<16>().unwrap());
        assert_eq!((first.len(), second.len()), (32, 32));
        assert_ne!(first, second);
    }
}
