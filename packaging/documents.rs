//! Writes the man pages and the completions of all programs, from the same definitions that read their
//! command lines:
//!
//! ```sh
//! cargo run --example documents -- FOLDER     # FOLDER/man/*.1, FOLDER/completions/{bash,zsh,fish}/*
//! ```
//!
//! This is an example and no subcommand, as the programs would carry the generators about for a single use.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Command;
use clap_complete::{Generator, Shell, generate};
use clap_mangen::Man;
use point_to_point::cli::command;
use point_to_point::programs::{
    adapter, consumer, consumer_pull, consumer_push, producer, producer_api, supervise,
};
use time::OffsetDateTime;

/// The manual's section and its name.
const SECTION: &str = "1";
const MANUAL: &str = "point-to-point";
const SOURCE: &str = concat!("point-to-point ", env!("CARGO_PKG_VERSION"));

/// What the page of the default program says besides.
const MORE: &str = include_str!("manual.roff");

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: documents FOLDER")?;
    let pages = folder.join("man");
    fs::create_dir_all(&pages)?;
    for program in programs() {
        completions(&program, &folder.join("completions"))?;
        manual(program, &pages)?;
    }
    Ok(())
}

/// All programs.
fn programs() -> [Command; 8] {
    [
        command::<supervise::Arguments>("point-to-point"),
        command::<producer_api::Arguments>("producer_api"),
        command::<consumer::Arguments>("consumer1"),
        command::<consumer::Arguments>("consumer2"),
        command::<producer::Arguments>("producer"),
        command::<consumer_pull::Arguments>("consumer_pull"),
        command::<consumer_push::Arguments>("consumer_push"),
        command::<adapter::Arguments>("adapter"),
    ]
}

/// Writes a script for each shell, under the name that the shell looks for.
fn completions(program: &Command, folder: &Path) -> Result<(), Box<dyn Error>> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let folder = folder.join(shell.to_string());
        fs::create_dir_all(&folder)?;
        let name = program.get_name();
        // For bash clap_complete 4.6 calls the subcommands of a name with hyphens by two names: nothing is
        // completed then.
        let plain = if shell == Shell::Bash { name.replace('-', "_") } else { name.to_owned() };
        let mut script = Vec::new();
        generate(shell, &mut program.clone(), &plain, &mut script);
        let script =
            String::from_utf8(script)?.replace(&format!(" default {plain}\n"), &format!(" default {name}\n"));
        fs::write(folder.join(shell.file_name(name)), script)?;
    }
    Ok(())
}

/// Writes the page of a program, and one for each of its subcommands, and theirs.
fn manual(program: Command, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    page(&program, &[], folder)
}

/// Writes the page of a command, which belongs to those `above`, the outermost first.
fn page(command: &Command, above: &[String], folder: &Path) -> Result<(), Box<dyn Error>> {
    let name = name_of(command);
    let man = Man::new(command.clone()).section(SECTION).manual(MANUAL).date(date()?).source(SOURCE);
    let mut text = Vec::new();
    man.render(&mut text)?;
    // groff takes two backslashes for one, mandoc does not.
    let mut text = String::from_utf8(text)?.replace(r"\\", r"\e");
    if name == MANUAL {
        text += MORE;
    }
    if !above.is_empty() {
        let above: Vec<String> =
            above.iter().map(|name| format!(".BR {} ({SECTION})", escaped(name))).collect();
        text += &format!(".SH \"SEE ALSO\"\n{}\n", above.join(",\n"));
    }
    fs::write(folder.join(format!("{name}.{SECTION}")), text)?;
    let above = [above, &[name]].concat();
    let mut parts = command.get_subcommands().filter(|part| !part.is_hide_set());
    parts.try_for_each(|part| page(part, &above, folder))
}

/// The name of a command's page: that of the program and of the subcommands, with hyphens.
fn name_of(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}

/// The day of this build, or of `SOURCE_DATE_EPOCH`, so that a build can be repeated to the byte.
fn date() -> Result<String, Box<dyn Error>> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => seconds.parse()?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    Ok(OffsetDateTime::from(UNIX_EPOCH + Duration::from_secs(seconds)).date().to_string())
}

/// A hyphen that is one, and no dash, to roff.
fn escaped(name: &str) -> String {
    name.replace('-', "\\-")
}
