//! Offsets without a letter, which are settled with what is around them.

use super::progress::ReplayProgress;

/// Offsets of a partition at which there is no record, as the markers of transactions and compaction leave
/// them: the first one, and the one after the last.
pub(super) type Gap = (i64, i64);

/// The progress in a partition that begins at `start`, over those of the gaps before which all is settled or
/// gone, if there are any: so they add no range to the note. The gaps are in order of their offsets; those that
/// `progress` has already are taken out.
pub(super) fn over(gaps: &mut Vec<Gap>, start: i64, progress: &ReplayProgress) -> Option<ReplayProgress> {
    gaps.retain(|(first, _)| !progress.contains(*first));
    let mut wider = progress.clone();
    let is_at_start = gaps.first().is_some_and(|(first, _)| *first == start);
    if is_at_start {
        wider.insert(0, start);
    }
    for (first, after) in gaps.iter() {
        if wider.contains(first - 1) {
            wider.insert(*first, *after);
        }
    }
    (wider != *progress && wider.fits()).then_some(wider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_settled_behind_what_is_settled_and_make_no_range_of_their_own() {
        let mut progress = ReplayProgress::before(5);
        progress.insert(6, 8);
        progress.insert(20, 21);
        let mut gaps = vec![(2, 3), (5, 6), (8, 9), (9, 10), (15, 16)];
        let wider = over(&mut gaps, 0, &progress).unwrap();
        assert_eq!((wider.next(), wider.contains(15), wider.contains(20)), (10, false, true));
        assert_eq!(over(&mut gaps, 0, &wider), None, "nothing is wider");
        assert_eq!(gaps, [(15, 16)]);
    }

    #[test]
    fn a_gap_at_the_beginning_of_the_log_is_settled() {
        let nothing = ReplayProgress::default();
        assert_eq!(over(&mut vec![(7, 9)], 7, &nothing).map(|wider| wider.next()), Some(9));
        assert_eq!(over(&mut vec![(8, 9)], 7, &nothing), None, "a letter is before it");
    }
}
