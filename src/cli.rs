//! The command line that all programs share, and what their exit codes mean: 0 after a clean stop, 1 for a
//! failure, 2 for wrong usage or settings.

mod letters;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::{self, Settings};
use crate::error::Result;
use crate::logging;
use crate::stop::Stop;
pub use letters::AskedLetters;

/// Wrong usage or settings.
pub const USAGE: u8 = 2;
/// A failure while running.
const FAILURE: u8 = 1;

const NAME: &str = "name";
const FILE: &str = "file";
const COUNT: &str = "count";
const SUPERVISED: &str = "supervised";
const CONFIG: &str = "config";
const SET: &str = "set";

/// A program, or a subcommand of one.
#[derive(Clone, Copy)]
pub struct Program {
    /// What it is called; also a consumer's name where no other is given.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Which options it has besides those for settings.
    pub options: &'static [ProgramOption],
    /// What else it does, each under a name of its own; these may have further ones.
    pub subcommands: &'static [Program],
    /// Runs it until it is asked to stop or fails.
    pub run: fn(&Given) -> Result<()>,
}

/// An option that not every program has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ProgramOption {
    /// `--name`: the consumer's name.
    Name,
    /// A file, or `--count`: what to send.
    Input,
    /// `--supervised`: another program started this one and speaks to it over standard input.
    Supervised,
    /// The names of dead letters, one at least.
    LetterNames,
    /// The names of dead letters, and options to choose among them.
    Letters,
    /// `--all`: every dead letter.
    AllLetters,
}

/// What a program was given to work with.
pub struct Given {
    /// The settings of file, environment and command line.
    pub settings: Settings,
    /// The program's name, or the consumer's.
    pub name: String,
    /// The file to send, if one is named.
    pub file: Option<PathBuf>,
    /// How many messages to generate, if that is asked for.
    pub count: Option<u64>,
    /// Whether a supervisor started it.
    pub supervised: bool,
    /// Which dead letters are meant.
    pub letters: AskedLetters,
    /// The options for settings as they were given, for programs that this one starts.
    pub options: Vec<OsString>,
}

impl Given {
    /// Starts the log, and listens to the signals that ask to stop.
    ///
    /// # Errors
    /// The log file cannot be opened, or signals cannot be handled.
    pub fn begin(&self) -> Result<Stop> {
        logging::start(&self.settings.log)?;
        Stop::on_signals()
    }
}

/// Reads the command line of this process and the settings, and runs what it asks for: one of the program's
/// subcommands, or `program` itself.
pub fn main(program: Program) -> ExitCode {
    let matches = match parse(command(program), std::env::args_os()) {
        Ok(matches) => matches,
        Err(Ended::Shown(text)) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(Ended::Refused(line)) => return fail(program.name, &line, USAGE),
    };
    let (chosen, matches) = choose(program, &matches);
    let (given, name) = match matches.given(&chosen) {
        Ok(given) => {
            // A supervisor puts the name before every line.
            let name = if given.supervised { String::new() } else { given.name.clone() };
            (given, name)
        }
        Err(error) => return fail(chosen.name, &error, USAGE),
    };
    let outcome = (chosen.run)(&given);
    log::logger().flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&name, &error, if error.is_about_settings() { USAGE } else { FAILURE }),
    }
}

fn fail(name: &str, error: &dyn Display, code: u8) -> ExitCode {
    let separator = if name.is_empty() { "" } else { ": " };
    // Not through the log, which may be off or not there yet; a broken standard error is no reason to panic.
    let _ = std::io::stderr().write_fmt(format_args!("{name}{separator}{error}\n"));
    ExitCode::from(code)
}

/// What the command line says: before a subcommand, after it, and after each further one.
struct Matches<'a> {
    levels: Vec<&'a ArgMatches>,
}

fn choose(mut program: Program, matches: &ArgMatches) -> (Program, Matches<'_>) {
    let mut levels = vec![matches];
    let mut last = matches;
    while let Some((name, after)) = last.subcommand() {
        let Some(chosen) = program.subcommands.iter().find(|subcommand| subcommand.name == name) else {
            break;
        };
        levels.push(after);
        (program, last) = (*chosen, after);
    }
    (program, Matches { levels })
}

impl Matches<'_> {
    fn given(&self, program: &Program) -> Result<Given, config::ConfigError> {
        let all = || self.levels.iter().copied();
        let file = all().filter_map(|matches| matches.get_one::<PathBuf>(CONFIG)).next_back();
        let sets = all().flat_map(|matches| matches.get_many::<String>(SET).unwrap_or_default());
        let sets: Vec<String> = sets.cloned().collect();
        let mut options: Vec<OsString> = Vec::new();
        if let Some(file) = file {
            options.extend(["--config".into(), file.into()]);
        }
        for set in &sets {
            options.extend(["--set".into(), set.into()]);
        }
        let has = |option| program.options.contains(&option);
        let own = |option| if has(option) { all().next_back() } else { None };
        let input = own(ProgramOption::Input);
        let name = own(ProgramOption::Name).and_then(|matches| matches.get_one::<String>(NAME));
        Ok(Given {
            settings: config::load(file.map(PathBuf::as_path), &sets)?,
            name: name.map_or(program.name, String::as_str).to_owned(),
            file: input.and_then(|matches| matches.get_one(FILE).cloned()),
            count: input.and_then(|matches| matches.get_one(COUNT).copied()),
            supervised: own(ProgramOption::Supervised).is_some_and(|matches| matches.get_flag(SUPERVISED)),
            letters: all().next_back().map(AskedLetters::of).unwrap_or_default(),
            options,
        })
    }
}

fn command(program: Program) -> Command {
    part(program).version(env!("CARGO_PKG_VERSION"))
}

fn part(program: Program) -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Settings file, which must exist [default: config.toml, where it exists]");
    let set = Arg::new(SET)
        .long(SET)
        .value_name("SECTION.KEY=VALUE")
        .action(ArgAction::Append)
        .help("One setting, over file and environment; what is no TOML is text (repeatable)");
    let further = program.options.iter().flat_map(|option| arguments(*option));
    Command::new(program.name)
        .about(program.about)
        .after_help("Any setting can also come from the environment as POINT_TO_POINT__SECTION__KEY.")
        .args([config, set])
        .args(further)
        .subcommands(program.subcommands.iter().map(|subcommand| part(*subcommand)))
}

fn arguments(option: ProgramOption) -> Vec<Arg> {
    match option {
        ProgramOption::Name => vec![
            Arg::new(NAME)
                .long(NAME)
                .value_name("NAME")
                .value_parser(|name: &str| config::check_consumer_name(name).map(|()| name.to_owned()))
                .help("The consumer's name, which Kafka's tools show as its client id"),
        ],
        ProgramOption::Input => vec![
            Arg::new(FILE)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("The file to send, one JSON a line [default: standard input]"),
            Arg::new(COUNT)
                .long(COUNT)
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .conflicts_with(FILE)
                .help("Sends N generated messages instead [default on a terminal: 10]"),
        ],
        ProgramOption::Supervised => {
            vec![Arg::new(SUPERVISED).long(SUPERVISED).action(ArgAction::SetTrue).hide(true)]
        }
        ProgramOption::LetterNames => vec![letters::names().required(true)],
        ProgramOption::Letters => letters::choice(),
        ProgramOption::AllLetters => vec![letters::all()],
    }
}

/// Why a command line does not lead to a running program.
enum Ended {
    /// `--help` or `--version`: the text to print.
    Shown(String),
    /// Wrong usage: the line that says what is wrong.
    Refused(String),
}

fn parse(command: Command, arguments: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, Ended> {
    command.try_get_matches_from(arguments).map_err(|error| {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ended::Shown(text),
            _ => {
                let text = text.trim_start_matches("error: ");
                // What belongs to the first paragraph is indented below its first line.
                let line = text.split("\n\n").next().unwrap_or_default().replace("\n  ", " ");
                Ended::Refused(format!("{}; see --help", logging::escaped(line.trim_end().as_bytes())))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: Program =
        Program { name: "p", about: "tests", options: &[], subcommands: &[SUB, OUTER], run: |_| Ok(()) };
    const SUB: Program = Program {
        name: "sub",
        about: "tests",
        options: &[ProgramOption::Name, ProgramOption::Supervised],
        subcommands: &[],
        run: |_| Ok(()),
    };
    const OUTER: Program = Program { name: "outer", options: &[], subcommands: &[INNER, SHOWN], ..SUB };
    const SHOWN: Program = Program { name: "shown", options: &[ProgramOption::LetterNames], ..SUB };
    const INNER: Program =
        Program { name: "inner", options: &[ProgramOption::Letters, ProgramOption::AllLetters], ..SUB };

    fn parsed(arguments: &[&str]) -> Result<ArgMatches, Ended> {
        parse(command(MAIN), std::iter::once("p").chain(arguments.iter().copied()).map(OsString::from))
    }

    fn given(arguments: &[&str]) -> Given {
        let Ok(matches) = parsed(arguments) else { panic!("{arguments:?}") };
        let (program, matches) = choose(MAIN, &matches);
        matches.given(&program).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    fn refused(arguments: &[&str]) -> String {
        match parsed(arguments) {
            Err(Ended::Refused(line)) => line,
            _ => panic!("{arguments:?} must be refused"),
        }
    }

    #[test]
    fn settings_before_and_after_a_subcommand_both_count_and_the_later_one_wins() {
        let given = given(&[
            "--set",
            "kafka.topic=a",
            "--set",
            "kafka.partitions=2",
            "sub",
            "--set",
            "kafka.topic=b",
            "--set",
            "consumer.group=g",
        ]);
        let settings = &given.settings;
        assert_eq!((settings.kafka.topic.as_str(), settings.kafka.partitions), ("b", 2));
        assert_eq!(settings.consumer.group(), "g");
        let sets = ["kafka.topic=a", "kafka.partitions=2", "kafka.topic=b", "consumer.group=g"];
        assert_eq!(given.options, sets.map(|set| ["--set", set]).concat(), "and go to those it starts");
    }

    #[test]
    fn a_subcommand_has_its_own_options_and_name() {
        assert_eq!(given(&[]).name, "p");
        assert_eq!(given(&["sub"]).name, "sub");
        let consumer = given(&["sub", "--name", "c7", "--supervised"]);
        assert_eq!((consumer.name.as_str(), consumer.supervised), ("c7", true));
        assert!(refused(&["--name", "c7"]).contains("--name"));
    }

    #[test]
    fn a_subcommand_may_have_subcommands() {
        let given =
            given(&["--set", "kafka.topic=a", "outer", "--set", "kafka.topic=b", "inner", "2:1", "--all"]);
        assert_eq!((given.name.as_str(), given.settings.kafka.topic.as_str()), ("inner", "b"));
        assert!(given.letters.all && given.letters.filter.names.len() == 1);
        assert!(!self::given(&["outer"]).letters.all);
        assert!(refused(&["outer", "--all"]).contains("--all"));
    }

    #[test]
    fn dead_letters_are_chosen_by_names_and_options() {
        let words =
            "outer inner 0:3 1:4 --partition 2 --group g --error e --since 1970-01-02 --key k --max 5";
        let letters = given(&words.split(' ').collect::<Vec<_>>()).letters;
        let filter = letters.filter;
        assert_eq!(filter.names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0:3", "1:4"]);
        assert_eq!(
            (filter.partition, filter.group.as_deref(), filter.error.as_deref()),
            (Some(2), Some("g"), Some("e"))
        );
        assert_eq!(
            (filter.since, filter.key.as_deref(), letters.max),
            (Some(86_400_000), Some(&b"k"[..]), Some(5))
        );
        assert!(given(&["outer", "inner"]).letters.filter.is_everything());
        for wrong in
            ["outer inner x", "outer inner --since x", "outer inner --max 0", "outer inner --partition -1"]
        {
            refused(&wrong.split(' ').collect::<Vec<_>>());
        }
    }

    #[test]
    fn wrong_usage_is_told_in_one_line() {
        assert!(refused(&["--colour"]).contains("'--colour'"));
        assert!(refused(&["--set"]).contains("--set"));
        assert!(refused(&["sub", "--name", "a b"]).contains("letters, digits"));
        assert!(!refused(&["extra\narg"]).contains('\n'));
        let missing = "the following required arguments were not provided: <LETTER>...; see --help";
        assert_eq!(refused(&["outer", "shown"]), missing);
    }

    #[test]
    fn help_and_version_are_no_errors() {
        assert!(matches!(parsed(&["--help"]), Err(Ended::Shown(text)) if text.contains("--config <FILE>")));
        let Err(Ended::Shown(help)) = parsed(&["sub", "--help"]) else { panic!("no help") };
        assert!(help.contains("--name <NAME>") && !help.contains("supervised"), "{help}");
        let version = env!("CARGO_PKG_VERSION");
        assert!(matches!(parsed(&["--version"]), Err(Ended::Shown(text)) if text.contains(version)));
    }
}
