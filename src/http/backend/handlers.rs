//! `tiny_http` behind the server: on a private socket, with one thread for all handlers.
//!
//! It is one thread, because responses leave a connection in the order of its requests: a second thread with
//! the next response would only wait for the first. It never waits for a broker, see
//! [`responder`](crate::http::responder).

use std::io::{self, Write};
use std::sync::Arc;

use net::stop::Stop;
use net::sync::Worker;
use tiny_http::{Header, Request, Server};

use super::private_socket::{BackendAddress, PrivateListener};
use super::router::Router;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::response::Response;

/// The deferred reply: [`DEFERRED_STATUS`](crate::http::responder::DEFERRED_STATUS) and nothing else.
const DEFERRED: &[u8] = b"HTTP/1.1 299 Held\r\nContent-Length: 0\r\n\r\n";

/// `tiny_http` and the handlers' thread.
pub(crate) struct Backend {
    server: Arc<Server>,
    thread: Option<Worker>,
    listener: PrivateListener,
    secret: Arc<str>,
}

impl Backend {
    /// Starts `tiny_http` on a socket of its own.
    ///
    /// # Errors
    /// The socket cannot be created, or the system gives no thread.
    pub(crate) fn start(router: Router) -> Result<Backend> {
        let failed = |error: io::Error| Error::new("the HTTP handlers cannot be set up").caused_by(error);
        let (listener, sockets) = PrivateListener::open()?;
        let server = Server::from_listener(sockets, None)
            .map_err(|error| Error::new("tiny_http cannot be started").caused_by(error))?;
        let server = Arc::new(server);
        let secret = router.secret();
        let its_server = Arc::clone(&server);
        let thread = Worker::start("http-handlers", move |stop| serve(&its_server, stop, &router));
        Ok(Backend { server, thread: Some(thread.map_err(failed)?), listener, secret })
    }

    /// The address for the server.
    pub(crate) fn address(&self) -> BackendAddress {
        BackendAddress { socket: self.listener.socket(), secret: Arc::clone(&self.secret) }
    }

    /// Ends the thread; the server must be closed before.
    pub(crate) fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.stop().ask();
            self.server.unblock();
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Answers requests until stopped. Deferred replies are sent together, as soon as no request waits; so are
/// the log lines about them.
fn serve(server: &Server, stop: &Stop, router: &Router) {
    let mut unsent: Option<Box<dyn Write + Send>> = None;
    loop {
        let request = match server.try_recv() {
            Ok(Some(request)) => Ok(request),
            Ok(None) => {
                if let Some(Err(error)) = unsent.take().map(|mut writer| writer.flush()) {
                    log::debug!("responses could not be sent to the server: {error}");
                }
                log::logger().flush();
                if stop.is_asked() {
                    return;
                }
                server.recv()
            }
            Err(error) => Err(error),
        };
        match request {
            Ok(request) => unsent = answer(request, router, unsent),
            Err(_) if stop.is_asked() => return,
            Err(error) => log::error!("tiny_http takes no more connections: {error}"),
        }
    }
}

/// Answers one request. The writer that is returned holds written bytes that are not sent yet.
fn answer(
    mut request: Request,
    router: &Router,
    unsent: Option<Box<dyn Write + Send>>,
) -> Option<Box<dyn Write + Send>> {
    let reply = Reply::of(|| router.handle(&mut request));
    drop(unsent); // `tiny_http` lets the next response be written only now
    let result = match reply {
        Reply::Deferred => {
            let mut writer = request.into_writer();
            match writer.write_all(DEFERRED) {
                Ok(()) => return Some(writer),
                Err(error) => Err(error),
            }
        }
        Reply::Immediate(response) => request.respond(converted(response)),
    };
    if let Err(error) = result {
        log::debug!("a response could not be sent to the server: {error}");
    }
    None
}

/// A response in the form of `tiny_http`; never chunked, so that the server sees its length.
fn converted(response: Response) -> tiny_http::Response<io::Cursor<Vec<u8>>> {
    let headers = response.headers.lines().filter_map(|line| line.parse::<Header>().ok());
    let converted = tiny_http::Response::from_data(response.body).with_status_code(response.status);
    headers.fold(converted.with_chunked_threshold(usize::MAX), tiny_http::Response::with_header)
}
