//! The man pages and the completions, which `packaging/documents.rs` writes: all commands have theirs, and
//! bash completes. `packaging/test.sh` shows them to `man` and to other shells, too.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use clap::Args;
use point_to_point::cli::command;
use point_to_point::programs::{
    adapter, consumer, consumer_pull, consumer_push, producer, producer_api, supervise,
};

use crate::examples::examples;
use crate::support::my_turn;
use crate::support::watchdog::Folder;

/// A folder with all of them.
fn written() -> Folder {
    let folder = Folder::new("documents");
    let mut command = Command::new(examples().join("documents"));
    let output = command.arg(folder.path()).env("SOURCE_DATE_EPOCH", "1796083200").output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    folder
}

/// The names of the pages that a command and its subcommands have to have.
fn pages(above: &str, command: &clap::Command, found: &mut BTreeSet<String>) {
    let name = if above.is_empty() {
        command.get_name().to_owned()
    } else {
        format!("{above}-{}", command.get_name())
    };
    for part in command.get_subcommands().filter(|part| part.get_name() != "help" && !part.is_hide_set()) {
        pages(&name, part, found);
    }
    found.insert(format!("{name}.1"));
}

/// The command of a program, complete with its subcommands.
fn built<P: Args>(name: &'static str) -> clap::Command {
    let mut program = command::<P>(name);
    program.build();
    program
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What bash offers after these words, the last of which is not complete.
fn offered(script: &PathBuf, words: &[&str]) -> (Vec<String>, Output) {
    // As bash does it for a key: it calls what `complete` has registered.
    let asks = r#"
        source "$1"; shift
        registered=$(complete -p point-to-point) || exit 1
        function=${registered##*-F }; function=${function%% *}
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        "$function" point-to-point "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", asks, "bash"]).arg(script).args(words);
    let output = bash.output().expect("bash");
    (text(&output.stdout).lines().map(str::to_owned).collect(), output)
}

#[test]
fn every_command_has_a_page_and_no_page_is_of_a_command_that_is_not_there() {
    let _turn = my_turn();
    let folder = written();
    let mut expected = BTreeSet::new();
    for program in [
        built::<supervise::Arguments>("point-to-point"),
        built::<producer_api::Arguments>("producer_api"),
        built::<consumer::Arguments>("consumer1"),
        built::<consumer::Arguments>("consumer2"),
        built::<producer::Arguments>("producer"),
        built::<consumer_pull::Arguments>("consumer_pull"),
        built::<consumer_push::Arguments>("consumer_push"),
        built::<adapter::Arguments>("adapter"),
    ] {
        pages("", &program, &mut expected);
    }
    let found = fs::read_dir(folder.path().join("man")).expect("pages");
    let found: BTreeSet<String> =
        found.map(|page| page.expect("an entry").file_name().into_string().expect("a name")).collect();
    assert_eq!(found, expected);
    let page = fs::read_to_string(folder.path().join("man/point-to-point-topics-create.1")).expect("a page");
    for said in ["2026\\-12\\-01", "SEE ALSO", ".BR point\\-to\\-point\\-topics (1)", "\\-\\-partitions"] {
        assert!(page.contains(said) || page.contains(&said.replace("\\-", "-")), "{said}: {page}");
    }
}

#[test]
fn bash_completes_subcommands_and_options() {
    let _turn = my_turn();
    let folder = written();
    let script = folder.path().join("completions/bash/point-to-point.bash");
    for (words, expected) in [
        (&["point-to-point", "pe"][..], &["peek"][..]),
        (&["point-to-point", "dead-letters", "re"], &["replay"]),
        (&["point-to-point", "peek", "--fo"], &["--follow"]),
        (&["point-to-point", "topics", "cr"], &["create"]),
        (&["point-to-point", "--supervi"], &[]),
    ] {
        let (offered, output) = offered(&script, words);
        let offered: Vec<&str> = offered.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        assert_eq!(offered, expected, "{words:?}: {output:?}");
    }
}
