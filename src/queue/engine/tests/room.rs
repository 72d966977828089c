//! The note fits, whatever happens to what was handed out: records far apart and close together, outcomes
//! that make the note as long as may be.

use super::*;
use crate::offset_ranges::text_length;
use crate::queue::note::{Attempted, MAX_HEADER, attempts_length, longest_attempts_length};
use testing::Random;

struct Room {
    random: Random,
    engine: Engine<()>,
    limit: usize,
    /// The chance of a hundred for a message to be done, and for one that is not, to kill.
    chances: [usize; 2],
    step: usize,
    now: u64,
    hand: Vec<Lease>,
    full: bool,
}

impl Room {
    fn new(seed: u64) -> Room {
        let mut random = Random::new(seed);
        let limit = [MIN_LIMIT, 400, 1_000, 4_096][random.below(4)];
        let settings = EngineSettings {
            max_attempts: 0,
            order: [Order::None, Order::Key][random.below(2)],
            keep_waiting: [10, 1_000_000][random.below(2)],
            concurrency: 5_000,
            note_limit: limit,
            ..settings()
        };
        Room {
            engine: restarted(settings, 0, ""),
            limit,
            chances: [[0, 30, 50, 80][random.below(4)], [0, 0, 50][random.below(3)]],
            step: [1, 2, 130, 40_000][random.below(4)],
            now: NOW,
            hand: Vec::new(),
            full: false,
            random,
        }
    }

    fn push(&mut self) {
        for _ in 0..4 {
            if self.engine.room(1) == 0 {
                self.full = true;
                return;
            }
            let offset = self.engine.position() + self.random.below(self.step) as i64;
            let key = [self.random.below(200) as u8];
            assert_eq!(self.engine.push(offset, Some(&key), 1, ()), Pushed::Open);
        }
    }

    fn answer(&mut self) {
        if self.hand.is_empty() {
            return;
        }
        let lowest = self.engine.lowest();
        // The lowest one as late as may be, so that nothing is settled.
        let at = self.random.below(self.hand.len());
        let at = if self.hand[at].offset == lowest { self.random.below(self.hand.len()) } else { at };
        let lease = self.hand.swap_remove(at);
        if lease.task == Task::StoreDeadLetter || self.random.below(100) < self.chances[0] {
            assert!(self.engine.done(lease.id));
            return;
        }
        if self.random.below(20) == 0 {
            let delay = self.random.below(50) as u64;
            assert!(self.engine.release(lease.id, delay, self.now));
            return;
        }
        let how = if self.random.below(100) < self.chances[1] { Failed::WorkerDied } else { Failed::Error };
        let delay = self.random.below(2_000) as u64;
        if let Fate::DeadLetter { .. } = self.engine.fail(lease.id, how, delay, self.now) {
            assert!(self.engine.release(lease.id, 0, self.now));
        }
    }

    fn fetch_again(&mut self) {
        while let Some(offset) = self.engine.next_wanted() {
            if self.random.below(3) == 0 {
                let _ = self.engine.vanished(offset);
            } else {
                self.engine.fetched_again(offset, 1, ());
            }
        }
    }

    /// Commits, and goes on from the commit now and then; gives the note.
    fn commit(&mut self) -> Note {
        let Some(commit) = self.engine.commit(self.now) else { return Note::default() };
        assert!(commit.whole);
        self.engine.committed();
        let note = Note::read(commit.offset, &commit.note).unwrap();
        let body = commit.note.split(':').skip(1).map(|field| field.split(' ').next().unwrap().len());
        // The bytes that are kept for the attempts of the lowest message are for those that are many.
        let many = |a: &Attempted| attempts_length(a.attempts, a.kills, a.in_test) > 0;
        let kept =
            if note.attempted.iter().any(many) { 0 } else { text_length(longest_attempts_length()) - 1 };
        assert!(body.sum::<usize>() + MAX_HEADER + kept <= self.limit, "{}", commit.note);
        if self.random.below(200) == 0 {
            let settings = self.engine.settings.clone();
            let mut restarted = Engine::new(settings, commit.offset, note.clone());
            for message in self.engine.open() {
                let _ = restarted.push(message.offset, None, 1, ());
            }
            (self.engine, self.hand) = (restarted, Vec::new());
        }
        note
    }
}

#[test]
fn room_is_kept_for_the_lowest_message_though_it_was_not_attempted() {
    let mut engine = started(EngineSettings { max_attempts: 0, note_limit: 500, ..settings() });
    push(&mut engine, 0..1, None);
    let lowest = receive(&mut engine, 1, NOW)[0];
    assert!(engine.release(lowest.id, 1_000, NOW));
    for offset in 1..1_000 {
        push(&mut engine, offset..offset + 1, None);
        for lease in receive(&mut engine, 1, NOW) {
            assert_eq!(engine.fail(lease.id, Failed::Error, 2_000, NOW), Fate::Retried);
        }
        _ = engine.commit(NOW);
        engine.committed();
    }
    assert_eq!(engine.pause(), Some(Pause::Note));
    let lowest = receive(&mut engine, 9, NOW + 1_000);
    assert_eq!(offsets(&lowest), [0]);
    assert_eq!(engine.fail(lowest[0].id, Failed::Error, 0, NOW), Fate::Retried);
    let list = commit(&mut engine).1.rsplit(':').next().unwrap().len();
    let most = 500 - MAX_HEADER - text_length(longest_attempts_length());
    assert!(list <= most && list > most - 20, "{list} of {most}");
}

#[test]
fn no_order_of_outcomes_makes_the_note_too_long() {
    let (mut full, mut many, mut longest) = (0, 0, 0.0_f64);
    for seed in 0..150 {
        let mut room = Room::new(seed);
        for _ in 0..1_500 {
            match room.random.below(12) {
                0..4 => room.push(),
                4..6 => {
                    let max = [1, 9, 200][room.random.below(3)];
                    room.engine.receive(max, room.now, &mut room.hand);
                    let _ = room.random.below(4) == 0 && room.engine.try_suspect(room.now);
                }
                6..10 => room.answer(),
                10 => room.fetch_again(),
                _ => room.now += room.random.below(1_000) as u64,
            }
            let note = room.commit();
            many += usize::from(note.attempted.iter().any(|message| message.attempts > 7));
            longest = longest.max(note.text(room.engine.lowest(), NOW).len() as f64 / room.limit as f64);
        }
        full += usize::from(room.full);
    }
    assert!(full > 50 && many > 1_000 && longest > 0.8, "{full} {many} {longest}");
}

#[test]
fn one_in_a_hundred_that_waits_for_half_a_minute_leaves_room_for_the_others() {
    // A quarter of 5,000 messages a second, 64 of them in hand for 50 ms, one that is stuck from the start.
    let mut random = Random::new(7);
    let mut engine = started(EngineSettings { order: Order::None, keep_waiting: 1_000, ..settings() });
    let (mut hand, mut leases, mut longest) = (std::collections::VecDeque::new(), Vec::new(), 0);
    push(&mut engine, 0..1, None);
    let stuck = receive(&mut engine, 1, NOW)[0];
    for now in (0..60_000).map(|step| NOW + step) {
        let next = engine.position();
        assert!(engine.room(1) == 1, "{} are open after {} ms", engine.open_count(), now - NOW);
        push(&mut engine, next..next + 1 + i64::from(now % 4 == 0), None);
        while let Some(offset) = engine.next_wanted() {
            engine.fetched_again(offset, 100, ());
        }
        while let Some((began, lease)) = hand.front().copied().filter(|(began, _)| began + 50 <= now) {
            hand.pop_front();
            if random.below(100) == 0 {
                let _ = engine.fail(lease, Failed::Error, 30_000, now);
            } else {
                assert!(engine.done(lease), "since {began}");
            }
        }
        engine.receive(64 - hand.len(), now, &mut leases);
        hand.extend(leases.drain(..).map(|lease| (now, lease.id)));
        assert_ne!(engine.pause(), Some(Pause::Note));
        if let Some(commit) = engine.commit(now) {
            longest = longest.max(commit.note.len());
            engine.committed();
        }
        assert!(engine.extend(stuck.id, now + 60_000));
    }
    assert!(longest > 2_000 && longest < 3_500, "{longest}");
}
