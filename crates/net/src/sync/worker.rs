//! A thread with a name and an end.

use std::io;
use std::thread::{self, JoinHandle};

use crate::stop::Stop;

/// A thread that is asked to stop, and has ended, when this is dropped.
#[derive(Debug)]
pub struct Worker {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Runs `body` on a thread of this name; it ends soon after its `Stop` is asked.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(name: &str, body: impl FnOnce(&Stop) + Send + 'static) -> io::Result<Worker> {
        Worker::start_with(name, Stop::new(), body)
    }

    /// As [`Worker::start`], with a `stop` that others may ask, too.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start_with(
        name: &str,
        stop: Stop,
        body: impl FnOnce(&Stop) + Send + 'static,
    ) -> io::Result<Worker> {
        let own = stop.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || body(&own))?;
        Ok(Worker { stop, thread: Some(thread) })
    }

    /// The stop that the thread waits for.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until the thread ends by itself.
    pub fn join(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // The thread itself may drop the last handle on what owns it.
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.ask();
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_dropped_worker_is_asked_to_stop_and_has_ended() {
        let (tell, told) = mpsc::channel();
        let worker = Worker::start("a worker", move |stop| {
            let name = thread::current().name().map(str::to_owned);
            stop.wait();
            let _ = tell.send(name);
        });
        drop(worker.unwrap());
        assert_eq!(told.try_recv().unwrap().as_deref(), Some("a worker"));
    }

    #[test]
    fn a_worker_that_is_joined_ends_by_itself() {
        let (tell, told) = mpsc::channel();
        let worker = Worker::start("a worker", move |stop| {
            let _ = tell.send(stop.is_asked());
        });
        worker.unwrap().join();
        assert_eq!(told.try_recv(), Ok(false));
    }
}
