//! The command line that all programs share, and what their exit codes mean: 0 after a clean stop, 1 for a
//! failure, 2 for wrong usage or settings.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::{self, Settings};
use crate::error::Result;
use crate::logging;
use crate::stop::Stop;

/// Wrong usage or settings.
const USAGE: u8 = 2;
/// A failure while running.
const FAILURE: u8 = 1;

/// Runs a program: reads its command line and settings, starts the log, and hands over to `run`, which
/// returns when `Stop` was asked or something failed.
pub fn program(
    name: &'static str,
    about: &'static str,
    run: impl FnOnce(&Settings, Stop) -> Result<()>,
) -> ExitCode {
    match parse(command(name, about), std::env::args_os()) {
        Ok(given) => execute(name, name, &given, run),
        Err(ended) => ended.report(name),
    }
}

/// As [`program`], for a consumer: it has a name, which Kafka's tools show as its client id; `--name`
/// overrides it.
pub fn consumer(
    name: &'static str,
    about: &'static str,
    run: impl FnOnce(&Settings, &str, Stop) -> Result<()>,
) -> ExitCode {
    match parse(command(name, about).arg(name_option()), std::env::args_os()) {
        Ok(given) => {
            let own = given.get_one::<String>("name").map_or(name, String::as_str);
            execute(name, own, &given, |settings, stop| run(settings, own, stop))
        }
        Err(ended) => ended.report(name),
    }
}

fn execute(
    program: &str,
    name: &str,
    given: &ArgMatches,
    run: impl FnOnce(&Settings, Stop) -> Result<()>,
) -> ExitCode {
    let overrides: Vec<String> = given.get_many("set").unwrap_or_default().cloned().collect();
    let settings = match config::load(given.get_one::<PathBuf>("config").map(PathBuf::as_path), &overrides) {
        Ok(settings) => settings,
        Err(error) => return fail(name, &error, USAGE),
    };
    let started = logging::start(&settings.log, program).and_then(|()| Stop::on_signals());
    let stop = match started {
        Ok(stop) => stop,
        Err(error) => return fail(name, &error, FAILURE),
    };
    let outcome = run(&settings, stop);
    log::logger().flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(name, &error, FAILURE),
    }
}

fn fail(name: &str, error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    // Not through the log, which may be off or not there yet; a broken standard error is no reason to panic.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{name}: {error}\n"));
    ExitCode::from(code)
}

/// Why a command line does not lead to a running program.
enum Ended {
    /// `--help` or `--version`: the text to print.
    Shown(String),
    /// Wrong usage: the line that says what is wrong.
    Refused(String),
}

impl Ended {
    fn report(self, name: &str) -> ExitCode {
        match self {
            Ended::Shown(text) => {
                let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
                ExitCode::SUCCESS
            }
            Ended::Refused(line) => fail(name, &line, USAGE),
        }
    }
}

fn command(name: &'static str, about: &'static str) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Settings file, which must exist [default: config.toml, where it exists]");
    let set = Arg::new("set")
        .long("set")
        .value_name("SECTION.KEY=VALUE")
        .action(ArgAction::Append)
        .help("One setting, over file and environment; what is no TOML is text (repeatable)");
    Command::new(name)
        .about(about)
        .version(env!("CARGO_PKG_VERSION"))
        .after_help("Any setting can also come from the environment as POINT_TO_POINT__SECTION__KEY.")
        .arg(config.global(true))
        .arg(set.global(true))
}

fn name_option() -> Arg {
    Arg::new("name")
        .long("name")
        .value_name("NAME")
        .value_parser(|name: &str| config::check_consumer_name(name).map(|()| name.to_owned()))
        .help("The consumer's name, which Kafka's tools show as its client id")
}

fn parse(command: Command, arguments: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, Ended> {
    command.try_get_matches_from(arguments).map_err(|error| {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ended::Shown(text),
            _ => {
                let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
                Ended::Refused(format!("{}; see --help", logging::escaped(line.as_bytes())))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &[&str]) -> Result<ArgMatches, Ended> {
        let command = command("p", "tests").arg(name_option()).subcommand(Command::new("sub"));
        parse(command, std::iter::once("p").chain(arguments.iter().copied()).map(OsString::from))
    }

    fn refused(arguments: &[&str]) -> String {
        match given(arguments) {
            Err(Ended::Refused(line)) => line,
            _ => panic!("{arguments:?} must be refused"),
        }
    }

    #[test]
    fn settings_may_stand_before_and_after_a_subcommand() {
        for arguments in [["--set", "a.b=1", "sub"], ["sub", "--set", "a.b=1"]] {
            let Ok(given) = given(&arguments) else { panic!("{arguments:?}") };
            let set: Vec<&String> = given.get_many("set").unwrap().collect();
            assert_eq!(set, ["a.b=1"]);
        }
    }

    #[test]
    fn wrong_usage_is_told_in_one_line() {
        assert!(refused(&["--colour"]).contains("'--colour'"));
        assert!(refused(&["--set"]).contains("--set"));
        assert!(refused(&["--name", "a b"]).contains("letters, digits"));
        assert!(!refused(&["extra\narg"]).contains('\n'));
    }

    #[test]
    fn help_and_version_are_no_errors() {
        assert!(matches!(given(&["--help"]), Err(Ended::Shown(text)) if text.contains("--config <FILE>")));
        let version = env!("CARGO_PKG_VERSION");
        assert!(matches!(given(&["--version"]), Err(Ended::Shown(text)) if text.contains(version)));
    }
}
