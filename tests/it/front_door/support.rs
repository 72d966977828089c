//! A server in this process with a channel that keeps what it is given, and a client that speaks in raw
//! bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use point_to_point::config::{ProducerApiSettings, Settings};
use point_to_point::dead_letters::{DeadLetterFilter, DeadLetterId, ReplayAction};
use point_to_point::error::Result as Asked;
use point_to_point::http::{
    Ask, ChangeRequest, DashboardSource, DeadLettersView, EndpointSettings, GroupState, HttpServer,
    LeasedQueueState, MessagePlace, MessageSearch, MessageSource, Monitoring, NoMessages, OnChanged,
    PartitionOffsets, PlaceOfMessage, QueueCounts, QueueName, Queues, Readiness, ReceiptOutcome,
    SearchedMessages, Services, Settled, Submit, SubmitTo, Topic, TopicDirectory, WaitingWorker,
};
use point_to_point::producer::{
    DeliveryCallback, DeliveryReport, NotStoredKind, ProducerRecord, SubmitError,
};

use crate::support::http::{self, RawClient};

/// Longer than anything here takes; only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A channel that remembers every message. What becomes of one is said by its key; without one it is stored.
#[derive(Clone)]
pub struct Channel {
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
    held: Arc<Mutex<Vec<DeliveryCallback>>>,
    worker: mpsc::Sender<(DeliveryCallback, DeliveryReport)>,
    offset: Arc<AtomicI64>,
}

impl Channel {
    pub fn new() -> Channel {
        let (worker, work) = mpsc::channel::<(DeliveryCallback, DeliveryReport)>();
        thread::spawn(move || work.into_iter().for_each(|(done, delivery)| done(delivery)));
        Channel { taken: Arc::default(), held: Arc::default(), worker, offset: Arc::new(AtomicI64::new(0)) }
    }

    /// The bodies that were handed over.
    pub fn taken(&self) -> Vec<Vec<u8>> {
        self.taken.lock().unwrap().clone()
    }

    /// How many messages with the key `held` wait.
    pub fn held(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    /// Stores the messages that wait.
    pub fn release(&self) {
        for done in self.held.lock().unwrap().drain(..) {
            self.worker.send((done, self.stored())).unwrap();
        }
    }

    fn stored(&self) -> DeliveryReport {
        let offset = self.offset.fetch_add(1, Ordering::Relaxed);
        DeliveryReport::Stored { topic: "mi-topico".into(), partition: 3, offset }
    }
}

impl Submit for Channel {
    fn submit(&self, message: ProducerRecord, done: DeliveryCallback) -> Result<(), SubmitError> {
        let reason = || "the reason".to_owned();
        let delivery = match message.key.as_deref() {
            Some(b"full") => return Err(SubmitError::QueueFull),
            Some(b"held") => {
                self.taken.lock().unwrap().extend(message.value);
                self.held.lock().unwrap().push(done);
                return Ok(());
            }
            Some(b"no broker") => {
                DeliveryReport::NotStored { kind: NotStoredKind::NoBroker, reason: reason(), retry: true }
            }
            Some(b"refused") => {
                DeliveryReport::NotStored { kind: NotStoredKind::Refused, reason: reason(), retry: false }
            }
            Some(b"unknown") => DeliveryReport::Unknown { reason: reason() },
            Some(b"panic") => panic!("the channel fails on purpose"),
            _ => self.stored(),
        };
        self.taken.lock().unwrap().extend(message.value);
        self.worker.send((done, delivery)).unwrap();
        Ok(())
    }
}

impl SubmitTo for Channel {
    fn submit(
        &self,
        _: &str,
        messages: Vec<(ProducerRecord, DeliveryCallback)>,
    ) -> Vec<Result<(), SubmitError>> {
        messages.into_iter().map(|(message, done)| Submit::submit(self, message, done)).collect()
    }
}

/// A cluster without a topic.
struct Nothing;

impl TopicDirectory for Nothing {
    fn topics(&self, _: Instant) -> Asked<Vec<String>> {
        Ok(Vec::new())
    }

    fn topic(&self, _: &str, _: Instant) -> Asked<Option<Topic>> {
        Ok(None)
    }

    fn topic_for_records(&self, _: &str, _: Instant) -> Asked<Option<Topic>> {
        Ok(None)
    }

    fn configs(&self, _: &str, _: Instant) -> Asked<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }

    fn offsets(&self, _: &str, _: i32, _: Instant) -> Asked<PartitionOffsets> {
        Ok(PartitionOffsets { beginning: 0, end: 0 })
    }

    fn brokers(&self, _: Instant) -> Asked<Vec<i32>> {
        Ok(Vec::new())
    }
}

/// Its group has no members; its dead letters are replayed unless they are in partition 9.
impl DashboardSource for Nothing {
    fn group(&self, _: Instant) -> Asked<GroupState> {
        let (group, state) = ("grupo".to_owned(), "Empty".to_owned());
        Ok(GroupState { group, state, members: Some(Vec::new()), partitions: Vec::new() })
    }

    fn letters_of(
        &self,
        _: &BTreeSet<MessagePlace>,
        _: i64,
        _: Instant,
    ) -> BTreeMap<MessagePlace, Option<DeadLetterId>> {
        BTreeMap::new()
    }

    fn dead_letters(&self, _: &DeadLetterFilter, _: usize, _: Instant) -> Asked<DeadLettersView> {
        Ok(DeadLettersView { complete: true, ..DeadLettersView::default() })
    }

    fn settle(&self, _: ReplayAction, letters: &[DeadLetterId], _: Instant) -> Asked<Vec<Settled>> {
        let replayed = |letter: &DeadLetterId| {
            let error = (letter.partition == 9).then(|| "it is not there".to_owned());
            Settled { letter: *letter, error }
        };
        Ok(letters.iter().map(replayed).collect())
    }

    fn leased_queues(&self) -> Vec<LeasedQueueState> {
        Vec::new()
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn stop(&self) {}
}

/// Settings for a port of the test's own.
pub fn settings() -> ProducerApiSettings {
    ProducerApiSettings { listen: "127.0.0.1:0".to_owned(), ..ProducerApiSettings::default() }
}

/// Says that all is well.
struct Ready;

impl Readiness for Ready {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// What a server of the tests tells of itself.
pub fn monitoring() -> Monitoring {
    Monitoring::new(&[], Some(Box::new(Ready)))
}

/// It has no topic to look into.
impl MessageSource for Nothing {
    fn search(&self, _: &MessageSearch, _: Instant) -> Result<SearchedMessages, NoMessages> {
        Err(NoMessages::NoTopic)
    }

    fn message(&self, _: &PlaceOfMessage, _: bool, _: usize, _: Instant) -> Result<Vec<u8>, NoMessages> {
        Err(NoMessages::NoTopic)
    }

    fn stop(&self) {}
}

/// No queue has messages.
struct NoQueues;

impl Queues for NoQueues {
    fn listens_at(&self, _: SocketAddr) {}

    fn is_open(&self, _: &QueueName) -> bool {
        true
    }

    fn receive(&self, _: &QueueName, _: Ask, worker: Box<dyn WaitingWorker>) {
        worker.answer(Ok(Vec::new()));
    }

    fn change(&self, request: ChangeRequest, reply: OnChanged) {
        reply(vec![ReceiptOutcome::Unknown; request.receipts.len()]);
    }

    fn counts(&self, _: &QueueName) -> Option<QueueCounts> {
        None
    }
}

/// A channel for `/enviar` and one for all topics, of a cluster that has none.
pub fn backing(one: Box<dyn Submit>, any: &Channel) -> Services {
    let (topics, directory, dashboard) = (Arc::new(any.clone()), Box::new(Nothing), Arc::new(Nothing));
    let (messages, queues) = (Arc::new(Nothing), Arc::new(NoQueues));
    Services { channel: one, topics, directory, messages, dashboard, queues }
}

/// An endpoint of these settings.
pub fn endpoint_of(settings: &ProducerApiSettings) -> EndpointSettings {
    Settings { producer_api: settings.clone(), ..Settings::default() }.endpoint()
}

/// A server and its channel.
pub fn start(settings: &ProducerApiSettings) -> (HttpServer, Channel) {
    let channel = Channel::new();
    let backing = backing(Box::new(channel.clone()), &channel);
    (HttpServer::start(&endpoint_of(settings), backing, monitoring()).unwrap(), channel)
}

/// A connection to the server.
pub struct Client(RawClient<TcpStream>);

/// An answer with a body of text.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    pub body: String,
}

impl From<http::Answer> for Answer {
    fn from(http::Answer { status, head, body, .. }: http::Answer) -> Answer {
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }
}

impl Answer {
    /// The error's code.
    pub fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert!(body["error"]["message"].as_str().is_some_and(|message| message.ends_with('.')), "{body}");
        body["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(RawClient::new(stream))
    }

    /// A connection from an address of this machine.
    pub fn connect_from(own: Ipv4Addr, address: SocketAddr) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((own, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(RawClient::new(stream))
    }

    /// A connection whose system takes little from the server until it is read.
    pub fn connect_narrow(address: SocketAddr) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(RawClient::new(stream))
    }

    /// Whether the server has closed the connection, unless something unread stands before that.
    pub fn was_dropped(&mut self) -> bool {
        // Nobody else writes on it, so a write is refused only once the other side is gone.
        self.0.stream.write_all(b"x").is_err()
    }

    /// Sends bytes; that the server may have closed already is no failure.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _closed = self.0.stream.write_all(bytes.as_ref());
    }

    /// From now on a write that the sockets' buffers cannot take gives up.
    pub fn limit_writes(&mut self) {
        self.0.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    }

    /// Sends bytes; `false`: the buffers are full.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.0.stream.write_all(bytes).is_ok()
    }

    pub fn half_close(&mut self) {
        self.0.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Leaves without a word: the connection is reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.0.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The next answer; `head_only`: to a `HEAD`, or the head of a stream.
    pub fn answer_to(&mut self, head_only: bool) -> Answer {
        let answer = if head_only { self.0.read_head() } else { self.0.read_answer() };
        answer.unwrap_or_else(|error| panic!("no whole answer: {error}")).into()
    }

    pub fn answer(&mut self) -> Answer {
        self.answer_to(false)
    }

    /// Sends a request and returns its answer.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request);
        self.answer()
    }

    /// Whether bytes, or the end, have come.
    pub fn has_input(&mut self) -> bool {
        self.0.stream.set_nonblocking(true).unwrap();
        let result = self.0.stream.peek(&mut [0]);
        self.0.stream.set_nonblocking(false).unwrap();
        !matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the server closes the connection without another byte.
    pub fn is_closed(&mut self) -> bool {
        let is_end = |result: io::Result<usize>| match result {
            Ok(count) => count == 0,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
                true
            }
        };
        self.0.unread().is_empty() && is_end(self.0.read())
    }

    /// Reads until the input holds `text`, and takes it out up to there.
    pub fn read_until(&mut self, text: &str) -> String {
        self.0.read_until(text).unwrap_or_else(|error| panic!("closed before {text:?}: {error}"))
    }
}

/// A good request.
pub fn post(query: &str, body: &str) -> String {
    format!("POST /enviar{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "still not: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
