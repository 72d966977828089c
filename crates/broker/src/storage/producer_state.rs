//! Sequence checks of idempotent producers, for each producer id and partition.
//!
//! Source: KIP-98, "Idempotent Producer", and KIP-360 (producers that the broker has forgotten).

use protocol::error_code::ErrorCode;

/// Remembered batches of a producer: as many as it may have in flight.
const REMEMBERED: usize = 5;

/// The sequences of one stored batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredSequence {
    pub first: i32,
    pub last: i32,
    /// Its base offset.
    pub base_offset: i64,
}

/// The state of a producer in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProducerState {
    pub epoch: i16,
    /// The time of its last batch, ms since 1970.
    pub used: i64,
    /// Its last batches, oldest first, at most five, all of this epoch.
    pub batches: Vec<StoredSequence>,
}

/// Producer id, epoch and sequences in the header of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchSequence {
    pub producer: i64,
    pub epoch: i16,
    pub first: i32,
    pub last: i32,
}

impl BatchSequence {
    /// A batch of `count` records (at least one); sequences go on at 0 after the largest.
    pub(super) fn new(producer: i64, epoch: i16, first: i32, count: i32) -> BatchSequence {
        let last = (i64::from(first) + i64::from(count) - 1) % (i64::from(i32::MAX) + 1);
        BatchSequence { producer, epoch, first, last: i32::try_from(last).unwrap_or(first) }
    }
}

/// Checks whether a batch is the next of its producer.
///
/// `Some` is the base offset of a stored batch that this one repeats.
///
/// # Errors
/// INVALID_PRODUCER_EPOCH for an older epoch of the producer, OUT_OF_ORDER_SEQUENCE_NUMBER if batches between
/// are missing.
pub(super) fn check(known: Option<&ProducerState>, batch: &BatchSequence) -> Result<Option<i64>, ErrorCode> {
    let Some(known) = known else { return Ok(None) };
    if batch.epoch < known.epoch {
        return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
    }
    if batch.epoch > known.epoch {
        return if batch.first == 0 { Ok(None) } else { Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER) };
    }
    let repeated = known.batches.iter().find(|b| (b.first, b.last) == (batch.first, batch.last));
    if let Some(repeated) = repeated {
        return Ok(Some(repeated.base_offset));
    }
    let follows = known.batches.last().is_none_or(|last| match last.last {
        i32::MAX => batch.first == 0,
        last => batch.first == last + 1,
    });
    if follows { Ok(None) } else { Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER) }
}

/// The producer after its batch was stored at `base_offset`.
pub(super) fn record(
    known: Option<&ProducerState>,
    batch: &BatchSequence,
    base_offset: i64,
    now: i64,
) -> ProducerState {
    let mut batches = match known {
        Some(known) if known.epoch == batch.epoch => known.batches.clone(),
        _ => Vec::new(),
    };
    if batches.len() >= REMEMBERED {
        batches.drain(..=batches.len() - REMEMBERED);
    }
    batches.push(StoredSequence { first: batch.first, last: batch.last, base_offset });
    ProducerState { epoch: batch.epoch, used: now, batches }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(batches: &[(i16, i32, i32)]) -> Option<ProducerState> {
        let mut producer = None;
        for (offset, &(epoch, first, count)) in batches.iter().enumerate() {
            let batch = BatchSequence::new(1, epoch, first, count);
            assert_eq!(check(producer.as_ref(), &batch), Ok(None));
            producer = Some(record(producer.as_ref(), &batch, offset as i64, 0));
        }
        producer
    }

    fn ask(
        producer: &Option<ProducerState>,
        epoch: i16,
        first: i32,
        count: i32,
    ) -> Result<Option<i64>, ErrorCode> {
        check(producer.as_ref(), &BatchSequence::new(1, epoch, first, count))
    }

    #[test]
    fn one_of_the_last_five_batches_is_recognised_and_an_older_one_is_out_of_order() {
        let producer = after(&[(0, 0, 2), (0, 2, 1), (0, 3, 3), (0, 6, 1), (0, 7, 1), (0, 8, 2)]);
        assert_eq!(ask(&producer, 0, 8, 2), Ok(Some(5)));
        assert_eq!(ask(&producer, 0, 2, 1), Ok(Some(1)));
        assert_eq!(ask(&producer, 0, 0, 2), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        assert_eq!(ask(&producer, 0, 8, 1), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        assert_eq!(ask(&producer, 0, 10, 4), Ok(None));
        assert_eq!(ask(&producer, 0, 11, 1), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    }

    #[test]
    fn sequences_go_on_at_zero_after_the_largest() {
        let producer = after(&[(0, i32::MAX - 1, 2)]);
        assert_eq!(ask(&producer, 0, 0, 1), Ok(None));
        assert_eq!(ask(&producer, 0, 1, 1), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        assert_eq!(BatchSequence::new(1, 0, i32::MAX, 3).last, 1);
        let producer = after(&[(0, i32::MAX, 3)]);
        assert_eq!(ask(&producer, 0, 2, 1), Ok(None));
    }

    #[test]
    fn an_older_epoch_is_refused_and_a_newer_one_begins_at_zero() {
        let producer = after(&[(3, 0, 5)]);
        assert_eq!(ask(&producer, 2, 5, 1), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
        assert_eq!(ask(&producer, 4, 5, 1), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        assert_eq!(ask(&producer, 4, 0, 1), Ok(None));
        let producer = after(&[(3, 0, 5), (4, 0, 1)]);
        assert_eq!(ask(&producer, 3, 0, 5), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
        assert_eq!(ask(&producer, 4, 1, 1), Ok(None));
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere() {
        assert_eq!(ask(&None, 7, 1234, 1), Ok(None));
    }
}
