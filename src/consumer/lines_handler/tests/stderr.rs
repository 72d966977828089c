//! What kept programs write on standard error.

use super::*;

/// What a failure says that the program wrote on standard error, and of how many messages that is.
fn stderr(outcome: &Result<(), Failure>) -> Option<(String, usize)> {
    let cause = match outcome {
        Err(Failure::Failed(cause) | Failure::WorkerDied(cause) | Failure::TryLater { cause, .. }) => cause,
        other => panic!("{other:?}"),
    };
    let stderr = cause.stderr.as_ref()?;
    Some((String::from_utf8(stderr.bytes.clone()).unwrap(), stderr.messages))
}

#[test]
fn a_failure_has_what_the_program_wrote_on_standard_error_while_it_had_the_message() {
    let mut handler = obedient(60_000, 1);
    let refused = r#""answer":{"ok":false}"#;
    assert!(handler.handle(&message(r#"{"complain":"of the first"}"#)).is_ok());
    let second = handler.handle(&message(&format!(r#"{{"complain":"of the second",{refused}}}"#)));
    assert_eq!(stderr(&second), Some(("of the second\n".to_owned(), 1)));
    let quiet = handler.handle(&message(&format!("{{{refused}}}")));
    assert_eq!(stderr(&quiet), None);
    let died = handler.handle(&message(r#"{"complain":"the end","exit":3}"#));
    assert_eq!(stderr(&died), Some(("the end\n".to_owned(), 1)));
}

#[test]
fn what_is_written_while_a_batch_is_in_hand_may_be_about_each_of_its_messages() {
    let mut handler = obedient(60_000, 3);
    let of_one = r#"{"complain":"of one","answer":{"ok":false}}"#;
    let outcomes = handler.handle_batch(&messages(["1", of_one, r#"{"answer":{"ok":false}}"#]));
    assert!(outcomes[0].is_ok());
    for outcome in &outcomes[1..] {
        assert_eq!(stderr(outcome), Some(("of one\n".to_owned(), 3)));
    }
}
