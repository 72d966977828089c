//! Questions about the cluster, asked by a thread of their own, so that the handlers' one thread waits for no
//! broker. Answers are remembered for a moment: a flood of requests is no flood to Kafka.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// An answer is given again until it is as old as this.
const FRESH: Duration = Duration::from_secs(1);

/// The most questions that wait.
const MAX_WAITING: usize = 256;

/// The most answers that are remembered.
const MAX_KNOWN: usize = 1_024;

/// Somebody who asks the cluster, and waits for its answer. Topics that are asked for are not created, but for
/// the channel's own where the settings say so.
pub trait Directory: Send + 'static {
    /// The names of all topics but Kafka's own, in order.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    fn topics(&self, deadline: Instant) -> Result<Vec<String>>;

    /// The topic of this name; `None` if there is none.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    fn topic(&self, name: &str, deadline: Instant) -> Result<Option<Topic>>;

    /// The ids of all brokers, in order.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    fn brokers(&self, deadline: Instant) -> Result<Vec<i32>>;
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// It is one of Kafka's own.
    pub internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<Partition>,
}

impl Topic {
    /// Whether it has a partition.
    pub(super) fn has(&self, number: i32) -> bool {
        self.partitions.iter().any(|partition| partition.number == number)
    }
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub number: i32,
    /// The broker that leads it, if any does.
    pub leader: Option<i32>,
    /// The brokers that hold it.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub in_sync: Vec<i32>,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// [`Directory::topics`].
    Topics,
    /// [`Directory::topic`].
    Topic(String),
    /// [`Directory::brokers`].
    Brokers,
}

/// What the cluster answered.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// To [`Question::Topics`].
    Topics(Arc<Vec<String>>),
    /// To [`Question::Topic`].
    Topic(Option<Arc<Topic>>),
    /// To [`Question::Brokers`].
    Brokers(Arc<Vec<i32>>),
}

/// The answer, or a part of a sentence that says why there is none.
pub(super) type Found = Result<Known, Arc<str>>;

/// What is done with an answer; must be quick. It is dropped without a call if the endpoint stops.
pub(super) type Then = Box<dyn FnOnce(Found) + Send>;

/// Too much waits already.
#[derive(Debug)]
pub(super) struct Full;

struct Job {
    question: Question,
    weight: usize,
    deadline: Instant,
    then: Then,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// The jobs' together.
    weight: usize,
    known: HashMap<Question, (Instant, Found)>,
    stopping: bool,
}

/// The questions under way.
pub(super) struct LookUps {
    state: Mutex<State>,
    work: Condvar,
    most_weight: usize,
}

impl LookUps {
    /// Starts the thread that asks. Jobs that wait weigh at most `most_weight` together, or it is one alone.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(directory: Box<dyn Directory>, most_weight: usize) -> Result<Arc<LookUps>> {
        let look_ups = Arc::new(LookUps { state: Mutex::default(), work: Condvar::new(), most_weight });
        let its = Arc::clone(&look_ups);
        let thread = thread::Builder::new().name("http-look-ups".to_owned());
        let started = thread.spawn(move || its.run(directory.as_ref()));
        started.map_err(|error| Error::new("no thread for questions to the cluster").caused_by(error))?;
        Ok(look_ups)
    }

    /// Asks, and calls `then` with the answer: at once on this thread if it is known, else later on another
    /// one, without an answer if none has come by `deadline`. `weight` is that of what waits with it, in
    /// bytes.
    pub(super) fn ask(
        &self,
        question: Question,
        weight: usize,
        deadline: Instant,
        then: Then,
    ) -> Result<(), Full> {
        let mut state = self.lock();
        if let Some(found) = state.fresh(&question) {
            drop(state);
            then(found);
            return Ok(());
        }
        let sum = state.weight.saturating_add(weight);
        let heavy = !state.jobs.is_empty() && sum > self.most_weight;
        if state.stopping || heavy || state.jobs.len() >= MAX_WAITING {
            return Err(Full);
        }
        state.weight = sum;
        state.jobs.push_back(Job { question, weight, deadline, then });
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Lets the thread end, once an answer that it waits for has come or is overdue.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        state.jobs.clear();
        drop(state);
        self.work.notify_one();
    }

    fn run(&self, directory: &dyn Directory) {
        while let Some(job) = self.next() {
            let done = catch_unwind(AssertUnwindSafe(|| {
                let found = self.find(directory, &job.question, job.deadline);
                (job.then)(found);
            }));
            if done.is_err() {
                log::error!("a question to the cluster has failed; see the message on standard error");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let idle = |state: &mut State| state.jobs.is_empty() && !state.stopping;
        let mut state = self.work.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let job = state.jobs.pop_front()?;
        state.weight -= job.weight;
        Some(job)
    }

    fn find(&self, directory: &dyn Directory, question: &Question, deadline: Instant) -> Found {
        if let Some(found) = self.lock().fresh(question) {
            return found;
        }
        if Instant::now() >= deadline {
            return Err("no broker has answered in time".into());
        }
        let found = match question {
            Question::Topics => directory.topics(deadline).map(|names| Known::Topics(Arc::new(names))),
            Question::Topic(name) => {
                directory.topic(name, deadline).map(|topic| Known::Topic(topic.map(Arc::new)))
            }
            Question::Brokers => directory.brokers(deadline).map(|ids| Known::Brokers(Arc::new(ids))),
        };
        let found = found.map_err(|error| Arc::from(error.to_string()));
        self.lock().remember(question.clone(), found.clone());
        found
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fresh(&self, question: &Question) -> Option<Found> {
        let (since, found) = self.known.get(question)?;
        (since.elapsed() < FRESH).then(|| found.clone())
    }

    fn remember(&mut self, question: Question, found: Found) {
        if self.known.len() >= MAX_KNOWN {
            self.known.retain(|_, (since, _)| since.elapsed() < FRESH);
        }
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(question, (Instant::now(), found));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Answers when it is let; counts how often it is asked.
    struct Slow {
        asked: Arc<AtomicUsize>,
        begun: Sender<()>,
        go_on: Receiver<()>,
    }

    impl Directory for Slow {
        fn topics(&self, _: Instant) -> Result<Vec<String>> {
            panic!("on purpose");
        }

        fn topic(&self, name: &str, _: Instant) -> Result<Option<Topic>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.begun.send(()).unwrap();
            self.go_on.recv().unwrap();
            if name == "silent" {
                return Err(Error::new("no broker"));
            }
            Ok((name == "there").then(|| Topic { internal: false, partitions: Vec::new() }))
        }

        fn brokers(&self, _: Instant) -> Result<Vec<i32>> {
            Ok(vec![1])
        }
    }

    struct Bench {
        look_ups: Arc<LookUps>,
        asked: Arc<AtomicUsize>,
        begun: Receiver<()>,
        go_on: Sender<()>,
        tell: Sender<Found>,
        told: Receiver<Found>,
    }

    fn bench() -> Bench {
        let asked = Arc::new(AtomicUsize::new(0));
        let ((begin, begun), (go_on, gone_on), (tell, told)) =
            (mpsc::channel(), mpsc::channel(), mpsc::channel());
        let slow = Slow { asked: asked.clone(), begun: begin, go_on: gone_on };
        let look_ups = LookUps::start(Box::new(slow), 100).unwrap();
        Bench { look_ups, asked, begun, go_on, tell, told }
    }

    impl Bench {
        fn ask(&self, question: Question, weight: usize, time: Duration) -> Result<(), Full> {
            let tell = self.tell.clone();
            let then = Box::new(move |found| drop(tell.send(found)));
            self.look_ups.ask(question, weight, Instant::now() + time, then)
        }

        fn topic(&self, name: &str) {
            self.ask(Question::Topic(name.to_owned()), 0, LONG).unwrap();
        }
    }

    #[test]
    fn many_who_ask_the_same_are_one_question() {
        let bench = bench();
        (0..100).for_each(|_| bench.topic("there"));
        bench.begun.recv_timeout(LONG).unwrap();
        bench.go_on.send(()).unwrap();
        for _ in 0..100 {
            assert!(matches!(bench.told.recv_timeout(LONG), Ok(Ok(Known::Topic(Some(_))))));
        }
        assert_eq!(bench.asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_comes_too_late_or_fails_has_no_answer_but_a_reason() {
        let bench = bench();
        bench.topic("silent");
        bench.begun.recv_timeout(LONG).unwrap();
        bench.ask(Question::Brokers, 0, Duration::ZERO).unwrap();
        bench.go_on.send(()).unwrap();
        for reason in ["no broker", "no broker has answered in time"] {
            let found = bench.told.recv_timeout(LONG).unwrap();
            assert_eq!(found.err().as_deref(), Some(reason));
        }
        bench.topic("other");
        bench.begun.recv_timeout(LONG).unwrap();
        bench.go_on.send(()).unwrap();
        assert!(matches!(bench.told.recv_timeout(LONG), Ok(Ok(Known::Topic(None)))));
    }

    #[test]
    fn what_waits_is_limited_in_number_and_weight() {
        let bench = bench();
        bench.topic("there");
        bench.begun.recv_timeout(LONG).unwrap();
        bench.ask(Question::Brokers, 1_000, LONG).unwrap();
        assert!(bench.ask(Question::Brokers, 1, LONG).is_err(), "one alone may be heavier");
        for _ in 1..MAX_WAITING {
            bench.ask(Question::Topics, 0, LONG).err();
        }
        bench.go_on.send(()).unwrap();
        bench.told.recv_timeout(LONG).unwrap().unwrap();
        bench.told.recv_timeout(LONG).unwrap().unwrap();
        assert!(bench.look_ups.lock().weight == 0);
    }

    #[test]
    fn a_failure_while_it_asks_is_not_its_end() {
        let bench = bench();
        bench.ask(Question::Topics, 0, LONG).unwrap();
        bench.ask(Question::Brokers, 0, LONG).unwrap();
        assert!(matches!(bench.told.recv_timeout(LONG), Ok(Ok(Known::Brokers(_)))));
        bench.look_ups.stop();
        assert!(bench.ask(Question::Topics, 0, LONG).is_err());
    }
}
