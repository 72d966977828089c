//! What the foreign programs share: their arguments, all of the form `name=value`.

use std::env;
use std::time::Duration;

/// The arguments of a program.
pub struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// Reads the command line.
    pub fn from_command_line() -> Arguments {
        let pairs = env::args().skip(1).map(|argument| {
            let (name, value) =
                argument.split_once('=').unwrap_or_else(|| panic!("not name=value: {argument}"));
            (name.to_owned(), value.to_owned())
        });
        Arguments(pairs.collect())
    }

    /// An argument that may be left out.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// An argument that must be there.
    pub fn required(&self, name: &str) -> String {
        self.get(name).unwrap_or_else(|| panic!("{name}=... is missing")).to_owned()
    }

    /// A number that may be left out.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name).map(|value| value.parse().unwrap_or_else(|_| panic!("{name}: no number: {value}")))
    }

    /// A time in milliseconds that may be left out.
    pub fn milliseconds(&self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_millis)
    }
}
