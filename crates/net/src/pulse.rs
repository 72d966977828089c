//! The pulse of a loop: whether it still goes round.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sync::{Mutex, lock};

/// The pulse of one loop. The loop calls [`Pulse::beat`] in every round, and who watches it [`Pulse::ask`]
/// now and then. A clone is of the same loop.
#[derive(Clone, Default)]
pub struct Pulse(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The loop has not gone round since it was asked.
    is_asked: AtomicBool,
    wake: Mutex<Option<Wake>>,
}

type Wake = Arc<dyn Fn() + Send + Sync>;

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pulse").field(&self.0.is_asked).finish()
    }
}

impl Pulse {
    /// For a loop that may sleep for long: `wake` has it go round at once.
    pub fn woken_by(&self, wake: impl Fn() + Send + Sync + 'static) {
        *lock(&self.0.wake) = Some(Arc::new(wake));
    }

    /// For the loop, in every round: it goes round. Where nobody asks, this is one look at a flag.
    pub fn beat(&self) {
        if self.0.is_asked.load(Ordering::Relaxed) {
            self.0.is_asked.store(false, Ordering::Relaxed);
        }
    }

    /// For the watcher: whether the loop has gone round since this was called last (the first time: yes). It
    /// is asked, and woken, anew.
    pub fn ask(&self) -> bool {
        let is_silent = self.0.is_asked.swap(true, Ordering::Relaxed);
        let wake = lock(&self.0.wake).clone();
        wake.into_iter().for_each(|wake| wake());
        !is_silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_loop_that_stands_still_has_no_pulse_and_one_that_goes_on_has_it_again() {
        let pulse = Pulse::default();
        assert!(pulse.ask());
        assert!(!pulse.ask() && !pulse.ask());
        pulse.clone().beat();
        assert!(pulse.ask());
        assert!(!pulse.ask());
    }

    #[test]
    fn a_loop_that_sleeps_is_woken_each_time_it_is_asked() {
        let (sender, woken) = mpsc::channel();
        let pulse = Pulse::default();
        pulse.woken_by(move || sender.send(()).unwrap());
        pulse.ask();
        pulse.ask();
        assert_eq!(woken.try_iter().count(), 2);
    }
}
