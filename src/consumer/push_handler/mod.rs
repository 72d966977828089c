//! The handler that sends each message to a URL. The status of the answer says whether it is handled.
//!
//! - [`request`]: the header fields of a message; [`signature`]: its signature
//! - [`outcome`]: what an answer means
//! - [`window`]: how many messages are on their way at a time

mod outcome;
mod request;
mod signature;
pub mod window;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ureq::Agent;
use ureq::http::{Request, Response, Uri};

use super::handler::{Failure, FailureCause, Handler};
use super::print_handler::PrintHandler;
use super::{ConsumerRecord, Payload};
use crate::error::{Error, Result};
use crate::http_client::{self, Connect, LONGEST_HEAD, Lookup};
use outcome::{Answer, PushFailed};
use signature::Signer;
use window::Window;

/// An answer's body is read up to here, so that its connection can be used again.
const MOST_READ: u64 = 64 * 1024;
/// So much of it is kept.
const KEPT: usize = 1_024;
/// What a connection keeps at least for a request: no line of its head may be longer.
const OUTPUT: usize = 8 * 1024;
/// A connection that was not used for so long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// Where messages are sent, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushSettings {
    /// An `http` or `https` URL.
    pub url: String,
    /// `ce-source`; unset: `/topics/` and the topic.
    pub source: Option<String>,
    /// `ce-type`.
    pub kind: String,
    /// The file of secrets that requests are signed with.
    pub secret_file: Option<PathBuf>,
    /// Statuses beside 410 with which a message is a dead letter at once.
    pub dead_statuses: Vec<u16>,
    /// Targets may be of the local network.
    pub private: bool,
    /// Authorities, in PEM, that are trusted beside those of the system.
    pub tls_ca: Option<PathBuf>,
    /// The longest look-up of the host, and the longest time until there is a connection.
    pub connect_timeout: Duration,
    /// The longest sending of a request.
    pub send_timeout: Duration,
    /// The longest time from the beginning to the end of the answer.
    pub timeout: Duration,
    /// The most messages on their way at a time.
    pub most: u32,
    /// Which messages come: all that come are JSON, unless any may.
    pub payload: Payload,
}

/// Checks that `url` can be pushed to.
///
/// # Errors
/// What is wrong with it.
pub fn check_url(url: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|_| "is no URL".to_owned())?;
    let Some(authority) = uri.authority() else { return Err("has no host".to_owned()) };
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err("begins neither with http:// nor with https://".to_owned()),
    }
    if authority.as_str().contains('@') {
        return Err("has a user name, which does not belong into settings".to_owned());
    }
    if authority.host().is_empty() || authority.port_u16() == Some(0) {
        return Err("has no host, or port 0".to_owned());
    }
    Ok(())
}

/// Sends each message to a URL.
pub struct PushHandler {
    pusher: Arc<Pusher>,
    printer: PrintHandler<Box<dyn Write + Send>>,
}

/// What the handlers of all workers share.
struct Pusher {
    settings: PushSettings,
    agent: Agent,
    signer: Option<Signer>,
    window: Window,
}

impl PushHandler {
    /// Sends to what the settings name.
    ///
    /// # Errors
    /// A file that they name cannot be used, or there is no TLS for an `https` URL.
    pub fn new(settings: PushSettings) -> Result<PushHandler> {
        let signer = settings.secret_file.as_deref().map(Signer::new).transpose()?;
        let tls = if settings.url.to_ascii_lowercase().starts_with("https:") {
            let names = tls::SettingNames { ca: "consumer.push_tls_ca", ..tls::SettingNames::KAFKA };
            let ca = settings.tls_ca.clone();
            let wanted = tls::ConnectorSettings { ca, system_too: true, names, ..Default::default() };
            Some(tls::Connector::new(wanted).map_err(|error| Error::new(error.to_string()))?)
        } else {
            None
        };
        let most = usize::try_from(settings.most).unwrap_or(usize::MAX);
        let config = http_client::config()
            .accept("*/*")
            .max_idle_connections(most)
            .max_idle_connections_per_host(most)
            .max_idle_age(IDLE)
            .input_buffer_size(8 * 1024)
            .output_buffer_size(OUTPUT)
            .max_response_header_size(LONGEST_HEAD)
            .timeout_resolve(Some(settings.connect_timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_send_request(Some(settings.send_timeout))
            .timeout_send_body(Some(settings.send_timeout))
            .timeout_global(Some(settings.timeout))
            .build();
        let lookup = Lookup::new(settings.private);
        let agent = Agent::with_parts(config, Connect { tls }, lookup);
        let window = Window::new(settings.most);
        let pusher = Arc::new(Pusher { settings, agent, signer, window });
        Ok(PushHandler { pusher, printer: PrintHandler::on(Box::new(io::stdout())) })
    }

    /// The same, which shares connections and prints to `out` that it waits for messages.
    pub fn printing_to(&self, out: impl Write + Send + 'static) -> PushHandler {
        PushHandler { pusher: self.pusher.clone(), printer: PrintHandler::on(Box::new(out)) }
    }

    /// How many messages may be on their way at a time, as the target lets it.
    pub fn window(&self) -> Window {
        self.pusher.window.clone()
    }
}

impl Pusher {
    fn push(&self, message: &ConsumerRecord<'_>) -> Result<(), Failure> {
        let request = self.request(message)?;
        // A request with a longer line has a connection of its own.
        let output = request::longest_line(&request).max(OUTPUT);
        let request = self.agent.configure_request(request).output_buffer_size(output).build();
        match self.agent.run(request).map(answer) {
            Ok(answer) => {
                match answer.refusal(SystemTime::now()) {
                    Some((why, wait)) => self.window.refused(&why, wait),
                    None => self.window.taken(),
                }
                answer.outcome(&self.settings.dead_statuses, SystemTime::now())
            }
            Err(error) => {
                self.window.refused(&error.to_string(), None);
                Err(outcome::failure(&error))
            }
        }
    }

    fn request<'a>(&self, message: &ConsumerRecord<'a>) -> Result<Request<&'a [u8]>, Failure> {
        let dead = |why: String| Failure::Dead(FailureCause::of(&PushFailed::new(why)));
        let body = message.value.unwrap_or_default();
        let fields = request::fields(message, &self.settings)
            .ok_or_else(|| dead("its headers are too long for a request".to_owned()))?;
        let mut request = Request::post(&self.settings.url);
        for (name, value) in fields {
            request = request.header(name, value);
        }
        if let Some(signer) = &self.signer {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let id = request::id(message);
            request = request
                .header("webhook-signature", signer.sign(&id, now, body))
                .header("webhook-timestamp", now.to_string())
                .header("webhook-id", id);
        }
        request.body(body).map_err(|error| dead(format!("no request can be made of it: {error}")))
    }
}

/// Reads an answer. A body that is longer, cut or slow ends its connection; the status has come, and counts.
fn answer(response: Response<ureq::Body>) -> Answer {
    let field = |name: &str| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let (status, retry_after, location) =
        (response.status().as_u16(), field("retry-after"), field("location"));
    let mut body = Vec::new();
    let _ = response.into_body().into_reader().take(MOST_READ).read_to_end(&mut body);
    body.truncate(KEPT);
    Answer { status, retry_after, location, body }
}

impl Handler for PushHandler {
    fn joined(&mut self) -> Result<()> {
        self.printer.joined()
    }

    fn handle(&mut self, message: &ConsumerRecord<'_>) -> Result<(), Failure> {
        self.pusher.push(message)
    }
}
