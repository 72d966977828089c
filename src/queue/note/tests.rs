use super::*;
use crate::offset_ranges::MAX_METADATA_BYTES;
use testing::Random;

const NOW: u64 = 1_764_396_000_000;

/// A note at `next` as a queue might have it, with waits that are kept to the millisecond.
fn drawn(random: &mut Random, next: i64) -> Note {
    let mut note = Note { reach: next + random.below(500) as i64, ..Note::default() };
    if random.below(3) > 0 {
        note.held_by =
            Some(["consumer1", "a", "x/y:z=1", "abcdefghijklmnopqrstuvwx"][random.below(4)].to_owned());
        note.paused = random.below(4) == 0;
    }
    let (mut offset, width) = (next, 1 + random.below(40));
    for _ in 0..random.below(200) {
        match random.below(3) {
            0 => offset += 1 + random.below(width) as i64,
            1 => {
                let start = offset + 1;
                offset = start + 1 + random.below(width) as i64;
                note.done.push((start, offset));
            }
            _ => {
                let most = [3, 9, 300, 1 << 20][random.below(4)];
                let attempts = 1 + random.below(most) as u32;
                let kills = [0, 0, attempts, random.below(1 + attempts as usize) as u32][random.below(4)];
                let due = NOW + random.below(2_048) as u64;
                let in_test = random.below(20) == 0;
                note.attempted.push(Attempted { offset, attempts, kills, in_test, due });
                offset += 1;
            }
        }
    }
    note
}

#[test]
fn a_note_comes_back_as_it_was() {
    let mut random = Random::new(3);
    for _ in 0..2_000 {
        let next = random.below(1 << 50) as i64;
        let note = drawn(&mut random, next);
        let text = note.text(next, NOW);
        assert_eq!(Note::read(next, &text), Ok(note), "{text}");
    }
}

#[test]
fn a_note_reads_as_documented() {
    let note = Note {
        paused: false,
        held_by: Some("consumer1".to_owned()),
        reach: 1_310,
        done: vec![(101, 105), (106, 139)],
        attempted: vec![
            Attempted { offset: 105, attempts: 1, kills: 0, in_test: false, due: NOW + 32 },
            Attempted { offset: 140, attempts: 2, kills: 2, in_test: false, due: NOW + 3_000 },
            Attempted { offset: 150, attempts: 9, kills: 1, in_test: true, due: NOW },
        ],
    };
    let text = note.text(100, NOW);
    assert_eq!(text, "q1 held=consumer1 reach=1310 done=37:AQQBIQ attempts=3@1764396000000:EQAgGQu4kAEJAwAA");
    assert_eq!(Note::read(100, &text), Ok(note));
    assert_eq!(Note { reach: 7, ..Note::default() }.text(7, NOW), "q1 clean");
    let paused = Note { held_by: Some("a".to_owned()), paused: true, reach: 9, ..Note::default() };
    assert_eq!(paused.text(7, NOW), "q1 held=a paused reach=9");
    assert_eq!(Note::read(7, "q1 clean paused"), Err(NoNote::Damaged("after the last one")));
    assert_eq!(Note::read(7, "q1 clean"), Note::read(7, ""));
}

#[test]
fn any_name_of_a_holder_is_a_field_and_not_too_long() {
    for (name, shown) in [
        ("", "-"),
        ("a b\nc", "a_b_c"),
        ("ñandú", "_and_"),
        ("0123456789012345678901234", "012345678901234567890123"),
    ] {
        let text = Note { held_by: Some(name.to_owned()), ..Note::default() }.text(0, NOW);
        assert_eq!(text, format!("q1 held={shown}"));
        assert_eq!(Note::read(0, &text).map(|note| note.held_by), Ok(Some(shown.to_owned())));
    }
}

#[test]
fn metadata_that_is_no_note_has_a_reason() {
    for (text, reason) in [
        ("x", NoNote::Foreign),
        ("settled:AQE", NoNote::Foreign),
        ("q", NoNote::Foreign),
        ("question", NoNote::Foreign),
        ("q2 anything", NoNote::Version),
        ("q10", NoNote::Version),
        ("q1", NoNote::Damaged("held")),
        ("q1 held=", NoNote::Damaged("held")),
        ("q1 clean reach=3", NoNote::Damaged("reach")),
        ("q1 clean reach=+9", NoNote::Damaged("reach")),
        ("q1 clean done=1:AQI", NoNote::Damaged("done")),
        ("q1 clean done=0:", NoNote::Damaged("done")),
        ("q1 clean done=2:AQ", NoNote::Damaged("done")),
        ("q1 clean attempts=1@5:EQ", NoNote::Damaged("attempts")),
        ("q1 clean attempts=2@5:EQAA", NoNote::Damaged("attempts")),
        ("q1 clean  done=2:AQI", NoNote::Damaged("after the last one")),
        ("q1 clean done=2:AQI reach=9", NoNote::Damaged("after the last one")),
    ] {
        assert_eq!(Note::read(3, text), Err(reason), "{text}");
    }
}

#[test]
fn a_damaged_note_is_refused_or_is_a_possible_one() {
    let mut random = Random::new(8);
    for _ in 0..20_000 {
        let next = [0, 7, i64::MAX - 40, 1 << 40][random.below(4)];
        let mut text = drawn(&mut random, next.min(1 << 60)).text(next.min(1 << 60), NOW);
        if random.below(2) == 0 {
            text = String::from_utf8_lossy(&random.damage(text.as_bytes())).into_owned();
        }
        let Ok(note) = Note::read(next, &text) else { continue };
        assert_possible(&note, next, &text);
    }
}

fn assert_possible(note: &Note, next: i64, text: &str) {
    assert!(note.done.iter().all(|(start, after)| *start > next && after > start), "{text}");
    assert!(note.done.windows(2).all(|pair| pair[0].1 < pair[1].0), "{text}");
    assert!(note.attempted.windows(2).all(|pair| pair[0].offset < pair[1].offset), "{text}");
    let is_done = |offset: i64| note.done.iter().any(|(start, after)| (*start..*after).contains(&offset));
    assert!(
        note.attempted.iter().all(|message| message.offset >= next && !is_done(message.offset)),
        "{text}"
    );
}

#[test]
fn a_note_that_was_cut_off_is_refused_where_its_counts_no_longer_hold() {
    let mut random = Random::new(4);
    for _ in 0..300 {
        let text = drawn(&mut random, 50).text(50, NOW);
        let Ok(whole) = Note::read(50, &text) else { panic!("{text}") };
        for end in 0..text.len() {
            if let Ok(read) = Note::read(50, &text[..end]) {
                // Nothing is taken for done that is not.
                assert!(read.done.is_empty() || read.done == whole.done, "{}", &text[..end]);
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_left_out_from_the_top_and_ranges_before_attempts() {
    let mut random = Random::new(6);
    let mut cut = 0;
    for _ in 0..500 {
        let note = drawn(&mut random, 9);
        for limit in [MIN_LIMIT, 400, MAX_METADATA_BYTES] {
            let (text, whole) = note.text_within(9, NOW, limit);
            let read = Note::read(9, &text).unwrap();
            assert!(text.len() <= limit);
            assert!(note.done.starts_with(&read.done) && note.attempted.starts_with(&read.attempted));
            assert_eq!(whole, read == note);
            cut += usize::from(!whole);
        }
    }
    assert!(cut > 100, "{cut}");
}

/// Texts of the parts that notes are made of, in any order, with any numbers and any bytes.
#[test]
fn no_text_at_all_makes_more_than_a_possible_note() {
    const PARTS: [&str; 16] = [
        "q1",
        " ",
        "held=",
        "clean",
        "reach=",
        "done=",
        "attempts=",
        ":",
        "@",
        "=",
        "q1 clean ",
        "AQQBIQ",
        "EQAgGQu4kAEJAwAA",
        "__________8",
        "9223372036854775807",
        "ñ\u{2028}",
    ];
    let mut random = Random::new(5);
    let mut read = 0;
    for _ in 0..100_000 {
        let mut text = if random.below(4) > 0 { "q1 clean".to_owned() } else { String::new() };
        for _ in 0..random.below(8) {
            match random.below(8) {
                0 => text += &(random.draw() >> random.below(64)).to_string(),
                1 => text += &offset_ranges::to_text(&random.draw().to_be_bytes()[random.below(8)..]),
                2 => text.extend(char::from_u32(random.below(0x300) as u32)),
                3 => {
                    text +=
                        &format!(" done={}:{}", random.below(9), ["AQE", "AgI", "AQEBAQ"][random.below(3)])
                }
                4 => text += &format!(" attempts={}@{}:EQAA", random.below(3), random.below(99)),
                _ => text += PARTS[random.below(PARTS.len())],
            }
        }
        let next = [0, 5, i64::MAX - 1, i64::MAX][random.below(4)];
        let Ok(note) = Note::read(next, &text) else { continue };
        read += 1;
        assert_possible(&note, next, &text);
        // What is read of it is written, and is read again.
        let again = note.text(next, NOW);
        assert_eq!(Note::read(next, &again).map(|note| note.done), Ok(note.done), "{text:?} {again:?}");
    }
    assert!(read > 500, "{read}");
}

/// Kafka's own checksums keep damage away; the counts in a note find nearly all of it as well.
#[test]
fn a_damaged_note_hardly_ever_says_that_more_is_done() {
    let mut random = Random::new(9);
    let (mut damaged, mut believed) = (0, 0);
    for _ in 0..20_000 {
        let note = drawn(&mut random, 50);
        let text = note.text(50, NOW);
        let other = String::from_utf8_lossy(&random.damage(text.as_bytes())).into_owned();
        damaged += usize::from(other != text);
        let Ok(read) = Note::read(50, &other) else { continue };
        let is_done = |at: i64| note.done.iter().any(|(start, after)| (*start..*after).contains(&at));
        believed +=
            usize::from(read.done.iter().any(|(start, after)| (*start..*after).any(|at| !is_done(at))));
    }
    assert!(damaged > 10_000 && believed * 100 < damaged, "{believed} of {damaged}");
}
