//! The time of samples: that of the machine's clock, which goes on evenly also where that clock is set by a
//! little.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// By how much the machine's clock may differ. Where it differs by more, the machine slept, or its clock was
/// wrong.
const MOST_DIFFERENCE: Duration = Duration::from_secs(15);

/// A clock that was the machine's when it began.
#[derive(Debug)]
pub(super) struct SampleClock {
    /// What the machine's clock showed, as the time since 1970, ...
    shown: Duration,
    /// ... and when that was.
    at: Instant,
}

impl SampleClock {
    pub(super) fn new() -> SampleClock {
        SampleClock { shown: machine(), at: Instant::now() }
    }

    /// The time now, in ms since 1970.
    pub(super) fn now(&mut self) -> i64 {
        self.at(Instant::now(), machine())
    }

    fn at(&mut self, now: Instant, machine: Duration) -> i64 {
        let even = self.shown.saturating_add(now.saturating_duration_since(self.at));
        if even.abs_diff(machine) > MOST_DIFFERENCE {
            (self.shown, self.at) = (machine, now);
            return milliseconds(machine);
        }
        milliseconds(even)
    }
}

fn machine() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_by_seconds_makes_no_step_longer_and_one_that_is_set_by_more_is_followed() {
        let begin = Instant::now();
        let mut clock = SampleClock { shown: Duration::from_secs(1_000), at: begin };
        let mut at = |passed, machine| {
            clock.at(begin + Duration::from_secs(passed), Duration::from_secs(machine)) / 1_000
        };
        assert_eq!([at(10, 1_010), at(20, 1_025), at(30, 1_024)], [1_010, 1_020, 1_030]);
        assert_eq!([at(40, 5_000), at(50, 5_010)], [5_000, 5_010], "the machine slept");
        assert_eq!([at(60, 2_000), at(70, 2_010)], [2_000, 2_010]);
    }
}
