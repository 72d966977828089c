//! Real programs whose standard error goes to a pipe of the test.

use std::io::{BufRead, BufReader, PipeReader};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::*;

fn collector() -> (HandlerStderr, BufReader<PipeReader>) {
    let (reader, writer) = io::pipe().unwrap();
    (HandlerStderr::passing_on_to(RawOutput::of(writer)).unwrap(), BufReader::new(reader))
}

fn start(collector: &HandlerStderr, script: &str) -> (Child, ProgramStderr) {
    let mut command = Command::new("sh");
    let command = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(collector.stdio()).spawn().unwrap();
    let stderr = collector.attach(child.stderr.take().unwrap()).unwrap();
    (child, stderr)
}

fn line(passed_on: &mut BufReader<PipeReader>) -> String {
    let mut line = String::new();
    passed_on.read_line(&mut line).unwrap();
    line
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn whole_lines_go_on_and_the_last_is_kept() {
    let (collector, mut passed_on) = collector();
    let (mut child, stderr) = start(&collector, "printf 'a\\nb' >&2; printf c >&2");
    assert!(child.wait().unwrap().success());
    assert_eq!(stderr.last(2), Some(StderrTail { bytes: b"a\nbc".to_vec(), messages: 2 }));
    drop(stderr);
    assert_eq!([line(&mut passed_on), line(&mut passed_on)], ["a\n", "bc\n"]);
    let (mut quiet, stderr) = start(&collector, "true");
    quiet.wait().unwrap();
    assert_eq!(stderr.last(1), None);
    drop((stderr, collector));
    assert_eq!(line(&mut passed_on), "", "the end");
}

/// A program writes before it has a message, and when it has it.
fn only_what_is_written_at_a_message_is_about_it(collector: &HandlerStderr) {
    let script = "echo before >&2; echo; read -r go; echo at it >&2; echo; read -r go";
    let (mut child, stderr) = start(collector, script);
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut wait = || said.read_line(&mut String::new()).unwrap();
    wait();
    stderr.begin();
    child.stdin.as_ref().unwrap().write_all(b"go\n").unwrap();
    wait();
    assert_eq!(stderr.last(1).unwrap().bytes, b"at it\n");
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn what_was_written_before_a_message_is_not_about_it() {
    let (collector, mut passed_on) = collector();
    only_what_is_written_at_a_message_is_about_it(&collector);
    assert_eq!([line(&mut passed_on), line(&mut passed_on)], ["before\n", "at it\n"]);
}

#[test]
fn programs_that_are_left_running_are_passed_on_and_those_beyond_the_limit_are_not() {
    let (collector, mut passed_on) = collector();
    let mut kept = Vec::new();
    for number in 0..=MAX_LEFT {
        let script = format!("read -r go; echo {number} >&2");
        let (child, stderr) = start(&collector, &script);
        drop(stderr);
        kept.push(child);
    }
    wait_until("the first is read no more", || lock(&collector.shared.programs).len() <= MAX_LEFT);
    for child in &mut kept {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    let mut lines: Vec<usize> =
        (1..=MAX_LEFT).map(|_| line(&mut passed_on).trim().parse().unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, (1..=MAX_LEFT).collect::<Vec<_>>());
}

#[test]
fn a_program_waits_while_nothing_more_is_taken_and_none_of_its_lines_is_lost() {
    const LINES: usize = 40_000;
    let (collector, passed_on) = collector();
    let (mut child, stderr) = start(&collector, &format!("seq 1 {LINES} >&2; echo"));
    // Both pipes are full: with nobody reading the program cannot end.
    wait_until("it takes no more", || !collector.shared.out.takes_more());
    assert!(child.try_wait().unwrap().is_none());
    assert!(stderr.last(1).unwrap().bytes.len() <= KEPT);
    let lines = passed_on.lines().take(LINES).map(|line| line.unwrap().parse::<usize>().unwrap());
    assert!(lines.eq(1..=LINES));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_program_hears_that_nobody_reads_any_more() {
    let (collector, passed_on) = collector();
    let (mut child, _stderr) = start(&collector, "trap '' PIPE; while echo x >&2; do :; done; exit 7");
    drop(passed_on);
    // A process that another test starts just now has the reader until it is another program.
    wait_until("nobody reads", || outputs::is_unread(&collector.shared.out.output));
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn what_programs_that_ended_wrote_is_not_lost_while_nothing_more_is_taken_for_a_moment() {
    let (collector, passed_on) = collector();
    let (mut first, stderr) = start(&collector, "head -c 60000 /dev/zero | tr '\\0' x >&2; echo >&2");
    first.wait().unwrap();
    drop(stderr);
    let (mut second, stderr) = start(&collector, "head -c 60000 /dev/zero | tr '\\0' y >&2; echo >&2");
    wait_until("it takes no more", || !collector.shared.out.takes_more());
    let mut ended = Vec::new();
    for number in 0..MAX_LEFT - 1 {
        let (mut child, stderr) = start(&collector, &format!("echo {number} >&2"));
        child.wait().unwrap();
        // It is known at once, whether somebody reads or not.
        assert_eq!(stderr.last(1).unwrap().bytes, format!("{number}\n").into_bytes());
        ended.push(number.to_string());
        drop(stderr);
    }
    let lines = passed_on.lines().map(Result::unwrap).take(2 + ended.len());
    let (long, mut short): (Vec<String>, Vec<String>) = lines.partition(|line| line.len() > 3);
    assert_eq!(long.iter().map(String::len).collect::<Vec<_>>(), [60_000, 60_000]);
    second.wait().unwrap();
    drop(stderr);
    short.sort_unstable();
    ended.sort_unstable();
    assert_eq!(short, ended);
}

#[test]
fn what_was_written_before_a_message_is_not_about_it_while_nothing_more_is_taken() {
    let (collector, _passed_on) = collector();
    let fill = "head -c 200000 /dev/zero | tr '\\0' x >&2";
    let (mut filler, _filling) = start(&collector, fill);
    wait_until("it takes no more", || !collector.shared.out.takes_more());
    only_what_is_written_at_a_message_is_about_it(&collector);
    filler.kill().unwrap();
    filler.wait().unwrap();
}
