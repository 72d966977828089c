//! One partition, with clients that ask and commit.

use super::*;

fn chunk(offsets: &[i64], next_offset: i64) -> Chunk {
    let mut chunk = Chunk { next_offset, ..Chunk::default() };
    for offset in offsets {
        chunk.bytes.extend_from_slice(&offset.to_be_bytes());
        chunk.messages.push((*offset, chunk.bytes.len()));
    }
    chunk
}

fn begun_at(offset: i64) -> OwnedPartition {
    OwnedPartition::new(None, Some(Committed::new(offset, "")), false)
}

fn offsets(bytes: &[u8]) -> Vec<i64> {
    bytes.chunks(8).map(|b| i64::from_be_bytes(b.try_into().unwrap())).collect()
}

fn serve(owned: &mut OwnedPartition, limit: usize) -> Vec<i64> {
    let mut out = Vec::new();
    owned.serve(limit, &mut out);
    offsets(&out)
}

#[test]
fn serving_keeps_to_the_limit_over_chunks_and_always_serves_one() {
    let mut owned = begun_at(5);
    owned.ask(5).unwrap();
    owned.add(owned.version, 5, chunk(&[5, 6, 8], 9));
    owned.add(owned.version, 9, chunk(&[9], 12));
    assert_eq!(serve(&mut owned, 1), [5]);
    assert_eq!(serve(&mut owned, 16), [6, 8]);
    assert_eq!(serve(&mut owned, 100), [9]);
    assert_eq!((owned.buffered, owned.fetch_from, owned.ceiling), (0, 12, 10));
    assert!(serve(&mut owned, 100).is_empty());
}

#[test]
fn a_gap_does_not_look_like_a_seek() {
    let mut owned = begun_at(0);
    owned.ask(0).unwrap();
    owned.add(owned.version, 0, chunk(&[0], 10));
    assert_eq!(serve(&mut owned, 100), [0]);
    owned.ask(1).unwrap();
    assert_eq!(owned.fetch_from, 10);
}

#[test]
fn an_answer_that_was_lost_is_served_again() {
    let mut owned = begun_at(0);
    owned.ask(0).unwrap();
    owned.add(owned.version, 0, chunk(&[0, 1], 2));
    assert_eq!(serve(&mut owned, 100), [0, 1]);
    let before = owned.version;
    owned.ask(0).unwrap();
    assert_eq!(owned.fetch_from, 0);
    owned.add(before, 2, chunk(&[2], 3));
    assert_eq!(owned.fetch_from, 0, "records fetched for the old position are dropped");
}

#[test]
fn a_client_that_remembers_more_than_is_committed_is_told() {
    assert_eq!(begun_at(3).ask(7), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(begun_at(3).ask(2), Ok(()));
}

#[test]
fn without_a_committed_offset_the_client_says_where_it_starts() {
    let mut owned = OwnedPartition::new(None, None, false);
    owned.ask(42).unwrap();
    assert_eq!((owned.floor, owned.fetch_from), (Some(42), 42));
}

#[test]
fn a_client_that_knows_no_offset_leaves_the_start_to_the_policy() {
    let mut owned = OwnedPartition::new(None, None, false);
    owned.ask(-1).unwrap();
    assert_eq!((owned.floor, owned.by_policy), (None, true));
    owned.reset(9);
    owned.ask(-1).unwrap();
    assert_eq!(owned.fetch_from, 9);
}

#[test]
fn a_log_that_became_shorter_is_begun_where_the_client_asks_or_the_client_is_told() {
    let mut fallen = begun_at(5000);
    fallen.ask(7).unwrap();
    fallen.fall_back(0, 7);
    assert_eq!((fallen.ask(7), fallen.fetch_from), (Ok(()), 7));
    let mut remembering = begun_at(5000);
    remembering.ask(5000).unwrap();
    remembering.fall_back(0, 7);
    assert_eq!(remembering.ask(5000), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
}

#[test]
fn what_the_log_has_lost_is_passed_when_all_before_it_is_committed() {
    let mut owned = begun_at(0);
    owned.ask(0).unwrap();
    owned.add(owned.version, 0, chunk(&[0, 1], 2));
    assert_eq!(owned.skip_to(10), 8);
    assert_eq!((owned.fetch_from, owned.passable()), (10, None));
    assert_eq!(serve(&mut owned, 100), [0, 1], "it was fetched in time");
    owned.committed(1, "");
    assert_eq!(owned.passable(), None);
    owned.committed(2, "");
    assert_eq!(owned.passable(), Some(10));
    owned.passed(10);
    assert_eq!((owned.floor, owned.passable(), owned.awaits_commit()), (Some(10), None, false));
    owned.ask(2).unwrap();
    assert_eq!((owned.fetch_from, owned.skip_to(10)), (10, 0), "that is known");
}

#[test]
fn a_gap_is_passed_by_what_is_committed_behind_it() {
    let mut owned = begun_at(0);
    owned.ask(0).unwrap();
    assert_eq!((owned.skip_to(10), owned.passable()), (10, Some(10)));
    owned.add(owned.version, 10, chunk(&[10], 11));
    assert_eq!(serve(&mut owned, 100), [10]);
    owned.accept(11);
    assert_eq!(owned.passable(), None, "a further commit is on its way");
    owned.committed(11, "");
    owned.passed(10);
    assert_eq!((owned.floor, owned.passable()), (Some(11), None));
}

#[test]
fn a_commit_lies_between_the_last_one_and_what_was_served() {
    let mut owned = begun_at(10);
    owned.ask(10).unwrap();
    owned.add(owned.version, 10, chunk(&[10, 11, 12], 13));
    serve(&mut owned, 16);
    let admitted: Vec<i64> = (8..15).filter(|o| owned.admits(*o)).collect();
    assert_eq!(admitted, [10, 11, 12]);
    owned.committed(11, "");
    assert!(owned.awaits_commit());
    owned.committed(12, "");
    assert!(!owned.admits(11), "a committed offset never moves backwards");
    assert!(owned.admits(12) && !owned.awaits_commit());
}

#[test]
fn what_a_reader_is_done_with_may_be_committed_and_is_not_fetched() {
    let mut owned = begun_at(10);
    assert!(owned.hand_over_to(owned.version, 10, 12));
    owned.handed_over(owned.version, 500);
    assert_eq!((owned.fetch_from, owned.admits(500), owned.admits(501)), (500, true, false));
    let before = owned.version;
    owned.reset(0);
    owned.handed_over(before, 700);
    assert_eq!((owned.fetch_from, owned.admits(1)), (0, false), "it has begun anew");
}

#[test]
fn an_accepted_commit_counts_until_it_is_stored() {
    let mut owned = begun_at(10);
    owned.ask(10).unwrap();
    owned.add(owned.version, 10, chunk(&[10, 11, 12], 13));
    serve(&mut owned, 100);
    owned.accept(11);
    owned.accept(13);
    assert_eq!((owned.floor, owned.ahead_by()), (Some(10), 3));
    assert!(!owned.accepts(12) && owned.accepts(13) && !owned.accepts(14));
    assert!(!owned.awaits_commit(), "the client has committed all that was served");
    owned.committed(11, "");
    assert_eq!((owned.accepted(), owned.ahead_by()), (Some(13), 2));
    owned.committed(13, "");
    assert_eq!((owned.accepted(), owned.ahead_by()), (None, 0));
    owned.accept(13);
    assert_eq!(owned.accepted(), None, "Kafka has it already");
}

#[test]
fn a_span_that_begins_anew_has_nothing_on_its_way() {
    let mut owned = begun_at(0);
    owned.ask(0).unwrap();
    owned.add(owned.version, 0, chunk(&[0, 1, 2], 3));
    serve(&mut owned, 100);
    owned.accept(2);
    owned.rewind(Some(Committed::new(1, "")));
    assert_eq!((owned.accepted(), owned.ahead_by()), (None, 0));
}

#[test]
fn a_client_that_begins_anew_gets_what_is_not_committed_again() {
    let mut owned = begun_at(0);
    owned.ask(0).unwrap();
    owned.add(owned.version, 0, chunk(&[0, 1, 2], 3));
    serve(&mut owned, 100);
    owned.committed(1, "");
    owned.rewind(Some(Committed::new(1, "")));
    owned.ask(1).unwrap();
    assert_eq!((owned.fetch_from, owned.ceiling), (1, 1));
}

#[test]
fn a_topic_that_is_made_anew_begins_at_its_beginning_whatever_was_committed() {
    let (old, new) = (TopicId::of(1), TopicId::of(2));
    let of_old = || Some(Committed { topic_id: old, ..Committed::new(5, "") });
    let mut owned = OwnedPartition::new(new, of_old(), false);
    assert_eq!((owned.topic_id, owned.floor), (old, Some(5)), "what is committed tells its topic");
    owned.ask(5).unwrap();
    owned.add(owned.version, 5, chunk(&[5], 6));
    assert_eq!(serve(&mut owned, 1), [5]);
    let (before, span) = (owned.version, owned.span);
    owned.begin_anew(new);
    assert!(owned.topic_id == new && owned.span != span && !owned.admits(6));
    owned.add(before, 6, chunk(&[6], 7));
    assert_eq!(owned.ask(6), Err(ErrorCode::OFFSET_OUT_OF_RANGE), "a plain client begins anew");
    assert!(owned.ask(0).is_ok() && serve(&mut owned, 1).is_empty());

    let mut owned = OwnedPartition::new(new, of_old(), true);
    owned.begin_anew(new);
    owned.rewind(of_old());
    assert_eq!((owned.floor, owned.is_anew), (None, true), "what is committed is the former topic's");
    owned.reset(0);
    owned.rewind(of_old());
    assert_eq!((owned.floor, owned.is_anew), (Some(0), false));
    owned.rewind(Some(Committed { topic_id: new, ..Committed::new(3, "") }));
    assert_eq!(owned.floor, Some(3));
}

#[test]
fn behind_the_last_message_it_is_committed_to_where_the_log_goes_on() {
    let mut owned = begun_at(5);
    owned.ask(5).unwrap();
    owned.add(owned.version, 5, chunk(&[5, 6], 8));
    assert_eq!(serve(&mut owned, 100), [5, 6]);
    owned.committed(6, "");
    assert_eq!(owned.passable(), None, "the last message is not committed");
    owned.committed(7, "");
    assert_eq!(owned.passable(), Some(8));
    owned.add(owned.version, 8, chunk(&[], 10));
    assert_eq!(owned.passable(), Some(10), "one marker behind the other");
    owned.passed(10);
    assert_eq!((owned.floor, owned.passable()), (Some(10), None));
    owned.ask(7).unwrap();
    assert_eq!(owned.fetch_from, 10, "the client asks behind its last message");
    owned.add(owned.version, 10, chunk(&[10], 11));
    assert_eq!(serve(&mut owned, 100), [10]);
    owned.committed(11, "");
    assert_eq!((owned.floor, owned.passable()), (Some(11), None));
}

#[test]
fn a_broker_that_lags_behind_brings_no_topic_back_twice() {
    let (old, new) = (TopicId::of(1), TopicId::of(2));
    let mut owned = OwnedPartition::new(old, Some(Committed::new(5, "")), true);
    assert_eq!((owned.other_id(old), owned.other_id(None), owned.other_id(new)), (None, None, new));
    assert!(!new.is_some_and(|new| owned.returns_to(new)), "it never was of that");
    owned.begin_anew(new);
    owned.reset(0);
    let span = owned.span;
    for told in [old, new, old] {
        assert_eq!(owned.other_id(told), told);
        assert!(told.is_some_and(|told| owned.returns_to(told)));
        assert_eq!((owned.topic_id, owned.span), (told, span));
    }
}
