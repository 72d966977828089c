//! What is committed was printed, whoever reads it and however slowly, and whoever ends in between.

use super::channel::{CONSUMERS, Frozen, signal};
use super::reader::{MODES, Mode, PIPE, Pace, Stage, in_modes};
use crate::support::{PATIENCE, eventually, my_turn};

/// The modes that differ in who makes the line.
const PRINTING_AND_HANDLING: [Mode; 2] = [MODES[0], MODES[3]];

/// More than pipes and anybody in between could hold.
const COUNT: usize = 1_000;
const LENGTH: usize = 700;

/// Messages before a reader that gets the first of them and then reads like this.
fn stage_before(mode: Mode, pace: Pace) -> Stage {
    let mut stage = Stage::start(mode);
    stage.reader.read(Pace::Slow);
    stage.store(COUNT, LENGTH);
    stage.wait_until_out(20);
    stage.reader.read(pace);
    stage
}

#[test]
fn before_a_slow_reader_sigterm_loses_nothing_that_is_committed() {
    let _turn = my_turn();
    in_modes(&MODES, |mode| {
        let mut stage = stage_before(mode, Pace::Slow);
        let children = stage.children();
        stage.program.signal("TERM");
        stage.check_end(&children, Some(0));
    });
}

#[test]
fn before_a_slow_reader_a_killed_supervisor_loses_nothing_that_is_committed() {
    let _turn = my_turn();
    in_modes(&MODES, |mode| {
        let mut stage = stage_before(mode, Pace::Slow);
        let children = stage.children();
        stage.program.signal("KILL");
        stage.check_end(&children, None);
    });
}

#[test]
fn before_a_slow_reader_killed_consumers_lose_nothing_that_is_committed() {
    let _turn = my_turn();
    in_modes(&MODES, |mode| {
        let mut stage = stage_before(mode, Pace::Slow);
        for name in CONSUMERS {
            signal("KILL", &[stage.child(name)]);
            stage.wait_until_out(stage.came_out().len() + 20);
        }
        let children = stage.children();
        stage.program.signal("TERM");
        stage.check_end(&children, Some(0));
    });
}

#[test]
fn before_a_reader_that_stands_still_sigterm_loses_nothing_that_is_committed() {
    let _turn = my_turn();
    in_modes(&MODES, |mode| {
        let mut stage = stage_before(mode, Pace::Still);
        let children = stage.children();
        stage.program.signal("TERM");
        stage.check_end(&children, Some(0));
    });
}

#[test]
fn before_a_reader_that_stands_still_a_killed_supervisor_loses_nothing_that_is_committed() {
    let _turn = my_turn();
    in_modes(&MODES, |mode| {
        let mut stage = stage_before(mode, Pace::Still);
        let children = stage.children();
        stage.program.signal("KILL");
        stage.check_end(&children, None);
    });
}

#[test]
fn before_a_reader_that_stands_still_killed_consumers_lose_nothing_and_all_comes_out_when_it_reads_again() {
    let _turn = my_turn();
    in_modes(&MODES, |mode| {
        let mut stage = stage_before(mode, Pace::Still);
        let killed = CONSUMERS.map(|name| stage.child(name));
        signal("KILL", &killed);
        stage.reader.read(Pace::Fast);
        stage.wait_until_out(COUNT);
        let children = stage.children();
        stage.program.signal("TERM");
        stage.check_end(&children, Some(0));
    });
}

#[test]
fn a_consumer_frozen_before_a_reader_that_stands_still_does_not_hold_up_the_others_lines() {
    let _turn = my_turn();
    in_modes(&MODES, |mode| {
        let mut stage = stage_before(mode, Pace::Still);
        stage.wait_until_still();
        let frozen = Frozen::new(stage.child("consumer1"));
        stage.reader.read(Pace::Fast);
        // Half of the partitions are the other one's.
        stage.wait_until_out(COUNT / 2);
        drop(frozen);
        stage.wait_until_out(COUNT);
        let children = stage.children();
        stage.program.signal("TERM");
        assert_eq!(stage.end(&children), Some(0));
        stage.check(0);
    });
}

#[test]
fn a_reader_that_goes_away_ends_everything_and_takes_what_its_pipe_held_and_no_more() {
    let _turn = my_turn();
    in_modes(&MODES, |mode| {
        let mut stage = stage_before(mode, Pace::Slow);
        let children = stage.children();
        stage.reader.read(Pace::Gone);
        assert_eq!(stage.end(&children), Some(1));
        stage.program.wait_for_log(&["standard output is broken"], PATIENCE);
        stage.check(PIPE);
    });
}

#[test]
fn a_reader_that_goes_away_as_a_consumer_is_killed_takes_what_its_pipe_held_and_no_more() {
    let _turn = my_turn();
    in_modes(&MODES, |mode| {
        let mut stage = stage_before(mode, Pace::Still);
        let children = stage.children();
        signal("KILL", &[stage.child("consumer1")]);
        stage.reader.read(Pace::Gone);
        assert_eq!(stage.end(&children), Some(1));
        stage.check(PIPE);
    });
}

#[test]
fn long_lines_of_both_consumers_stay_whole() {
    let _turn = my_turn();
    in_modes(&PRINTING_AND_HANDLING, |mode| {
        let mut stage = Stage::start(mode);
        // Three in each partition: both consumers have such lines at once.
        stage.reader.read(Pace::Still);
        (0..12).for_each(|_| stage.store(1, 900_000));
        stage.reader.read(Pace::Fast);
        stage.wait_until_out(12);
        let children = stage.children();
        stage.program.signal("TERM");
        stage.check_end(&children, Some(0));
    });
}

#[test]
fn a_consumer_killed_in_the_middle_of_a_long_line_leaves_it_cut_off_and_it_comes_again_whole() {
    let _turn = my_turn();
    in_modes(&PRINTING_AND_HANDLING, |mode| {
        let mut stage = Stage::start(mode);
        stage.reader.read(Pace::Slow);
        (0..4).for_each(|_| stage.store(1, 900_000));
        let name = eventually("a long line has begun", PATIENCE, || stage.prints());
        signal("KILL", &[stage.child(name)]);
        stage.reader.read(Pace::Fast);
        stage.wait_until_out(4);
        let children = stage.children();
        stage.program.signal("TERM");
        assert_eq!(stage.end(&children), Some(0));
        assert_eq!(stage.cut_off(), 1, "and no other line is");
        stage.check(0);
    });
}
