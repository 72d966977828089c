//! What a command line says about dead letters.

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::channel::dead_letters::{Filter, Name, filter};

const NAMES: &str = "letters";
const PARTITION: &str = "partition";
const GROUP: &str = "group";
const ERROR: &str = "error";
const SINCE: &str = "since";
const KEY: &str = "key";
const MAX: &str = "max";
const ALL: &str = "all";

/// Which dead letters are meant.
#[derive(Debug, Clone, Default)]
pub struct AskedLetters {
    /// Those that fit all of this.
    pub filter: Filter,
    /// So many at most.
    pub max: Option<u64>,
    /// Every one, says the user.
    pub all: bool,
}

impl AskedLetters {
    /// What `matches` say; the default where they have no such options.
    pub(super) fn of(matches: &ArgMatches) -> AskedLetters {
        let text = |name| matches.try_get_one::<String>(name).ok().flatten().cloned();
        let names = matches.try_get_many::<Name>(NAMES).ok().flatten().unwrap_or_default();
        AskedLetters {
            filter: Filter {
                names: names.copied().collect(),
                partition: matches.try_get_one(PARTITION).ok().flatten().copied(),
                group: text(GROUP),
                error: text(ERROR),
                since: matches.try_get_one(SINCE).ok().flatten().copied(),
                key: text(KEY).map(String::into_bytes),
            },
            max: matches.try_get_one(MAX).ok().flatten().copied(),
            all: matches.try_get_one(ALL).ok().flatten().copied().unwrap_or_default(),
        }
    }
}

/// The names.
pub fn names() -> Arg {
    Arg::new(NAMES)
        .value_name("LETTER")
        .action(ArgAction::Append)
        .num_args(1..)
        .value_parser(value_parser!(Name))
        .help("Its name, <partition>:<offset>, as `list` shows it")
}

/// The names, and what else chooses letters: one has to fit all of it.
pub fn choice() -> Vec<Arg> {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    vec![
        names(),
        option(PARTITION, "N", "Only letters from this partition of the original topic")
            .value_parser(value_parser!(i32).range(0..)),
        option(GROUP, "GROUP", "Only letters that this group could not handle"),
        option(ERROR, "TEXT", "Only letters with this text in the error, or in its type"),
        option(
            SINCE,
            "TIME",
            "Only letters since 2026-05-01T10:00:00Z, 2026-05-01, or 90s, 30m, 12h, 7d ago",
        )
        .value_parser(filter::since),
        option(KEY, "KEY", "Only letters with this key"),
        option(MAX, "N", "So many at most, the oldest first").value_parser(value_parser!(u64).range(1..)),
    ]
}

/// `--all`.
pub fn all() -> Arg {
    Arg::new(ALL).long(ALL).action(ArgAction::SetTrue).help("Every dead letter")
}
