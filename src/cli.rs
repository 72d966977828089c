//! The common command line of all programs, and their exit codes: 0 after a clean stop, 1 for a failure, 2
//! for wrong usage or settings.

mod dead_letters;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Command};

use crate::config::{self, Settings};
use crate::error::{Error, Result};
use crate::logging;
pub use dead_letters::{
    AllDeadLetters, DeadLetterChoice, DeadLetterIds, DeadLetterProgram, DeadLetterTopics, LetterTopic,
    LetterTopics, check_names,
};
use net::stop::Stop;

/// The exit code for wrong usage or settings.
pub const USAGE: u8 = 2;
/// The exit code for a failure while running.
const FAILURE: u8 = 1;

/// The last line of each help text.
pub const AFTER_HELP: &str =
    "Any setting can also come from the environment as POINT_TO_POINT__SECTION__KEY.";

// No doc comment: clap would show it as what the program does.
#[allow(missing_docs)]
#[derive(Debug, Clone, Default, Args)]
pub struct SettingsOptions {
    /// Settings file, which must exist [default: config.toml, where it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over file and environment; what is no TOML is text (repeatable)
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

/// The parsed command line of a program or of a subcommand.
pub trait Program {
    /// The options for settings.
    fn settings(&self) -> &SettingsOptions;

    /// The subcommand to run instead, and its name.
    fn subcommand(&self) -> Option<(&'static str, &dyn Program)> {
        None
    }

    /// The consumer's name, if the command line has one.
    fn name(&self) -> Option<&str> {
        None
    }

    /// Whether standard input is a socket to a supervisor, which started the program.
    fn is_supervised(&self) -> bool {
        false
    }

    /// Runs until it is asked to stop or fails.
    ///
    /// # Errors
    /// The failure; the exit code depends on whether usage or settings are the cause.
    fn run(&self, invocation: &Invocation) -> Result<()>;
}

/// A program's invocation: its settings, and how it was started.
pub struct Invocation {
    /// The settings of file, environment and command line.
    pub settings: Settings,
    /// The program's name, or the consumer's.
    pub name: String,
    /// Whether a supervisor started it.
    pub supervised: bool,
    /// The options for settings as they stood on the command line, for programs that this one starts.
    pub options: Vec<OsString>,
}

impl Invocation {
    /// Starts the log, and handles the signals that ask to stop.
    ///
    /// # Errors
    /// The log file cannot be opened, or signals cannot be handled.
    pub fn begin(&self) -> Result<Stop> {
        logging::start(&self.settings.log, &self.name)?;
        self.begun()
    }

    /// As [`Invocation::begin`], with another place for the log than standard error.
    ///
    /// # Errors
    /// As [`Invocation::begin`].
    pub fn begin_with(&self, shown: impl Fn() -> Box<dyn Write + Send>) -> Result<Stop> {
        logging::start_on(&self.settings.log, &self.name, shown)?;
        self.begun()
    }

    fn begun(&self) -> Result<Stop> {
        // Under a supervisor it is the supervisor who says it, once.
        if !self.supervised {
            self.warn();
        }
        crate::signals::stop()
    }

    /// Logs what the settings make unsafe.
    pub fn warn(&self) {
        if let Some(warning) = self.settings.kafka.security.warning() {
            log::warn!("{warning}");
        }
    }
}

/// Reads the command line of this process and the settings, and runs the program called `name` or one of its
/// subcommands.
pub fn main<P: Program + Args>(name: &'static str) -> ExitCode {
    let program = match parse::<P>(name, std::env::args_os()) {
        Ok(program) => program,
        Err(NotRun::Shown(text)) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(NotRun::Refused(line)) => return fail(name, &line, USAGE),
    };
    let (chosen, levels) = choose(name, &program);
    let invocation = match invocation(&chosen, &levels) {
        Ok(invocation) => invocation,
        Err(error) => return fail(chosen.0, &error, USAGE),
    };
    let outcome = chosen.1.run(&invocation);
    log::logger().flush();
    // A supervisor puts the name before every line.
    let name = if invocation.supervised { "" } else { &invocation.name };
    match outcome {
        Ok(()) if crate::signals::is_hurried() => ExitCode::from(FAILURE),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(name, &error, if error.is_about_settings() { USAGE } else { FAILURE }),
    }
}

fn fail(name: &str, error: &dyn Display, code: u8) -> ExitCode {
    let separator = if name.is_empty() { "" } else { ": " };
    // The log may be off or not started yet. A standard error that cannot be written must not cause a panic.
    // Names of others may stand in it.
    let error = error.to_string();
    let error = error.lines().map(crate::text::one_line).collect::<Vec<_>>().join("\n");
    let _ = std::io::stderr().write_fmt(format_args!("{name}{separator}{error}\n"));
    ExitCode::from(code)
}

/// What became of a write to standard output. A reader such as `head` may close the pipe early.
///
/// # Errors
/// It could not be written.
pub fn printed(written: std::io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new("standard output cannot be written").caused_by(error))
        }
        _ => Ok(()),
    }
}

/// A program with its name on the command line.
type Named<'a> = (&'static str, &'a dyn Program);

/// The innermost subcommand, and the options for settings of all levels, the outermost first.
fn choose<'a>(name: &'static str, program: &'a dyn Program) -> (Named<'a>, Vec<&'a SettingsOptions>) {
    let mut chosen = (name, program);
    let mut levels = vec![program.settings()];
    while let Some(subcommand) = chosen.1.subcommand() {
        levels.push(subcommand.1.settings());
        chosen = subcommand;
    }
    (chosen, levels)
}

/// # Errors
/// The settings cannot be used.
fn invocation(
    (command, program): &Named<'_>,
    levels: &[&SettingsOptions],
) -> Result<Invocation, config::ConfigError> {
    let file: Option<&Path> = levels.iter().rev().find_map(|level| level.config.as_deref());
    let sets: Vec<String> = levels.iter().flat_map(|level| &level.set).cloned().collect();
    let mut options: Vec<OsString> = Vec::new();
    if let Some(file) = file {
        options.extend(["--config".into(), file.into()]);
    }
    for set in &sets {
        options.extend(["--set".into(), set.into()]);
    }
    Ok(Invocation {
        settings: config::load(file, &sets)?,
        name: program.name().unwrap_or(command).to_owned(),
        supervised: program.is_supervised(),
        options,
    })
}

/// The command line of the program `name`, for those who read it and those who write about it.
pub fn command<P: Args>(name: &'static str) -> Command {
    P::augment_args(Command::new(name)).version(env!("CARGO_PKG_VERSION")).after_help(AFTER_HELP)
}

/// The reason why a command line starts no program.
enum NotRun {
    /// `--help` or `--version`: the text to print.
    Shown(String),
    /// Wrong usage: the line that says what is wrong.
    Refused(String),
}

fn parse<P: Args>(name: &'static str, arguments: impl IntoIterator<Item = OsString>) -> Result<P, NotRun> {
    let matches = command::<P>(name).try_get_matches_from(arguments);
    matches.and_then(|matches| P::from_arg_matches(&matches)).map_err(|error| {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => NotRun::Shown(text),
            _ => {
                let text = text.trim_start_matches("error: ");
                // The continuation lines of the first paragraph are indented.
                let line = text.split("\n\n").next().unwrap_or_default().replace("\n  ", " ");
                let line = crate::text::escape(line.trim_end().as_bytes());
                let meant = meant(&error).map(|word| format!(" did you mean '{word}'?")).unwrap_or_default();
                NotRun::Refused(format!("{line};{meant} see --help"))
            }
        }
    })
}

/// The subcommand, option or value that is most like the one that is wrong.
fn meant(error: &clap::Error) -> Option<&str> {
    let kinds = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(word) => Some(word.as_str()),
        // The most likely one is the last.
        ContextValue::Strings(words) => words.last().map(String::as_str),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use clap::Subcommand;

    use super::*;

    #[derive(Debug, Args)]
    struct Main {
        #[command(flatten)]
        settings: SettingsOptions,
        #[command(subcommand)]
        subcommand: Option<MainCommand>,
    }

    #[derive(Debug, Subcommand)]
    enum MainCommand {
        Sub(Sub),
        Outer(Box<Outer>),
    }

    #[derive(Debug, Args)]
    struct Sub {
        #[command(flatten)]
        settings: SettingsOptions,
        #[arg(long)]
        name: Option<String>,
    }

    #[derive(Debug, Args)]
    struct Outer {
        #[command(flatten)]
        settings: SettingsOptions,
        #[command(subcommand)]
        subcommand: Option<OuterCommand>,
    }

    #[derive(Debug, Subcommand)]
    enum OuterCommand {
        Inner(Box<Inner>),
        Shown(Shown),
    }

    #[derive(Debug, Args)]
    struct Inner {
        #[command(flatten)]
        settings: SettingsOptions,
        #[command(flatten)]
        topics: DeadLetterTopics,
        #[command(flatten)]
        choice: DeadLetterChoice,
        #[command(flatten)]
        all: AllDeadLetters,
        #[command(flatten)]
        program: DeadLetterProgram,
    }

    #[derive(Debug, Args)]
    struct Shown {
        #[command(flatten)]
        settings: SettingsOptions,
        #[command(flatten)]
        ids: DeadLetterIds,
    }

    macro_rules! program {
        ($name:ty, $subcommand:expr, $given_name:expr) => {
            impl Program for $name {
                fn settings(&self) -> &SettingsOptions {
                    &self.settings
                }
                fn subcommand(&self) -> Option<(&'static str, &dyn Program)> {
                    let find: fn(&$name) -> Option<(&'static str, &dyn Program)> = $subcommand;
                    find(self)
                }
                fn name(&self) -> Option<&str> {
                    let find: fn(&$name) -> Option<&str> = $given_name;
                    find(self)
                }
                fn run(&self, _: &Invocation) -> Result<()> {
                    Ok(())
                }
            }
        };
    }

    program!(
        Main,
        |main| main.subcommand.as_ref().map(|subcommand| -> (_, &dyn Program) {
            match subcommand {
                MainCommand::Sub(sub) => ("sub", sub),
                MainCommand::Outer(outer) => ("outer", &**outer),
            }
        }),
        |_| None
    );
    program!(Sub, |_| None, |sub| sub.name.as_deref());
    program!(
        Outer,
        |outer| outer.subcommand.as_ref().map(|subcommand| -> (_, &dyn Program) {
            match subcommand {
                OuterCommand::Inner(inner) => ("inner", &**inner),
                OuterCommand::Shown(shown) => ("shown", shown),
            }
        }),
        |_| None
    );
    program!(Inner, |_| None, |_| None);
    program!(Shown, |_| None, |_| None);

    fn parsed(arguments: &[&str]) -> Result<Main, NotRun> {
        parse("p", std::iter::once("p").chain(arguments.iter().copied()).map(OsString::from))
    }

    fn invocation(arguments: &[&str]) -> Invocation {
        let Ok(program) = parsed(arguments) else { panic!("{arguments:?}") };
        let (chosen, levels) = choose("p", &program);
        super::invocation(&chosen, &levels).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    fn inner(arguments: &[&str]) -> Inner {
        let Ok(Main { subcommand: Some(MainCommand::Outer(outer)), .. }) = parsed(arguments) else {
            panic!("{arguments:?}")
        };
        match outer.subcommand {
            Some(OuterCommand::Inner(inner)) => *inner,
            _ => panic!("{arguments:?}"),
        }
    }

    fn refused(arguments: &[&str]) -> String {
        match parsed(arguments) {
            Err(NotRun::Refused(line)) => line,
            _ => panic!("{arguments:?} must be refused"),
        }
    }

    #[test]
    fn settings_before_and_after_a_subcommand_both_count_and_the_later_one_wins() {
        let invocation = invocation(&[
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
        let settings = &invocation.settings;
        assert_eq!((settings.kafka.topic.as_str(), settings.kafka.partitions), ("b", Some(2)));
        assert_eq!(settings.consumer.group(), "g");
        let sets = ["kafka.topic=a", "kafka.partitions=2", "kafka.topic=b", "consumer.group=g"];
        assert_eq!(invocation.options, sets.map(|set| ["--set", set]).concat(), "and go to those it starts");
    }

    #[test]
    fn a_subcommand_has_its_own_options_and_name() {
        assert_eq!(invocation(&[]).name, "p");
        assert_eq!(invocation(&["sub"]).name, "sub");
        assert_eq!(invocation(&["sub", "--name", "c7"]).name, "c7");
        assert!(refused(&["--name", "c7"]).contains("--name"));
    }

    #[test]
    fn a_subcommand_may_have_subcommands() {
        let invocation = invocation(&[
            "--set",
            "kafka.topic=a",
            "outer",
            "--set",
            "kafka.topic=b",
            "inner",
            "2:1",
            "--all",
        ]);
        assert_eq!((invocation.name.as_str(), invocation.settings.kafka.topic.as_str()), ("inner", "b"));
        let inner = inner(&["outer", "inner", "2:1", "--all"]);
        assert!(inner.all.all && inner.choice.filter().ids.len() == 1);
        assert_eq!(self::invocation(&["outer"]).name, "outer");
        assert!(refused(&["outer", "--all"]).contains("--all"));
    }

    #[test]
    fn dead_letters_are_chosen_by_names_and_options() {
        let words =
            "outer inner 0:3 1:4 --partition 2 --group g --error e --since 1970-01-02 --key k --max 5";
        let choice = inner(&words.split(' ').collect::<Vec<_>>()).choice;
        let filter = choice.filter();
        assert_eq!(filter.ids.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0:3", "1:4"]);
        assert_eq!(
            (filter.partition, filter.group.as_deref(), filter.error.as_deref()),
            (Some(2), Some("g"), Some("e"))
        );
        assert_eq!(
            (filter.since, filter.key.as_deref(), choice.max),
            (Some(86_400_000), Some(&b"k"[..]), Some(5))
        );
        assert!(inner(&["outer", "inner"]).choice.filter().is_everything());
        for wrong in
            ["outer inner x", "outer inner --since x", "outer inner --max 0", "outer inner --partition -1"]
        {
            refused(&wrong.split(' ').collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_program_for_letters_has_its_arguments_behind_two_dashes() {
        let command = |words: &str| inner(&words.split(' ').collect::<Vec<_>>()).program.command();
        assert_eq!(command("outer inner 0:3"), None);
        let alone = inner(&["outer", "inner", "--through", "./edit.sh", "0:3", "1:4"]);
        assert_eq!(alone.program.command(), Some(vec!["./edit.sh".to_owned()]));
        assert_eq!(alone.choice.filter().ids.len(), 2);
        let with = command("outer inner 0:3 --through jq --max 5 -- -c --max 0:4 -- x");
        let expected = ["jq", "-c", "--max", "0:4", "--", "x"].map(str::to_owned).to_vec();
        assert_eq!(with, Some(expected));
        assert!(refused(&["outer", "inner", "--", "x"]).contains("--through"));
    }

    #[test]
    fn letters_of_several_topics_are_not_chosen_by_name() {
        let own = config::Subscription::Topics(vec!["own".to_owned()]);
        let topics = |words: &str| -> Vec<String> {
            let topics = inner(&words.split(' ').collect::<Vec<_>>()).topics;
            let LetterTopics::Named(topics) = topics.or(&own).unwrap() else { panic!("{words}") };
            topics.into_iter().map(|topic| topic.source).collect()
        };
        assert_eq!(topics("outer inner"), ["own"]);
        assert_eq!(topics("outer inner --topic a,b --topic c --topic a 0:3"), ["a", "b", "c"]);
        refused(&["outer", "inner", "--topic", "a/b"]);
        refused(&["outer", "inner", "--topic", "a,"]);
        refused(&["outer", "inner", "--dlt", "a/b"]);
        let id = "0:3".parse().unwrap();
        let topics = ["a", "b"].map(LetterTopic::of);
        assert!(check_names(&topics[..1], [id].into_iter()).is_ok());
        assert!(check_names(&topics, std::iter::empty()).is_ok());
        let error = check_names(&topics, [id].into_iter()).unwrap_err();
        assert!(error.is_about_settings() && error.to_string().starts_with("0:3 may be"), "{error}");
    }

    #[test]
    fn wrong_usage_is_told_in_one_line() {
        assert!(refused(&["--colour"]).contains("'--colour'"));
        assert!(refused(&["--set"]).contains("--set"));
        assert!(!refused(&["extra\narg"]).contains('\n'));
        let missing = "the following required arguments were not provided: <LETTER>...; see --help";
        assert_eq!(refused(&["outer", "shown"]), missing);
    }

    #[test]
    fn help_and_version_are_no_errors() {
        assert!(matches!(parsed(&["--help"]), Err(NotRun::Shown(text)) if text.contains("--config <FILE>")));
        let Err(NotRun::Shown(help)) = parsed(&["sub", "--help"]) else { panic!("no help") };
        assert!(help.contains("--name <NAME>"), "{help}");
        let version = env!("CARGO_PKG_VERSION");
        assert!(matches!(parsed(&["--version"]), Err(NotRun::Shown(text)) if text.contains(version)));
    }
}
