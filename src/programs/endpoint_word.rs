//! What the endpoint with the same settings says of itself: at `/readyz` for `status`, at `/healthz` for
//! `health`.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, Response};

use super::endpoint_client;
use crate::config::ProducerApiSettings;
use crate::http_client::{self, Lookup};

/// The time limit for the answer: connections that find no descriptor wait for a second.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer, in bytes.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// Why it is not ready, its warnings, or why it could not be asked: sentences without full stops. Nothing
/// where nobody listens: there need not be an endpoint.
pub(super) fn of(settings: &ProducerApiSettings) -> Vec<String> {
    let Some(address) = address(settings) else { return Vec::new() };
    match ask(settings, &address) {
        Ok(answer) => {
            sentences(&answer).into_iter().map(|said| format!("the endpoint {address}: {said}")).collect()
        }
        Err(why) => {
            log::debug!("the endpoint {address} says nothing: {why}");
            let is_there = accepts_connections(&address);
            let said = is_there.then(|| format!("the endpoint at {address} could not be asked: {why}"));
            said.into_iter().collect()
        }
    }
}

/// # Errors
/// Why nobody can say that it is alive, without a full stop.
pub(super) fn check_life(settings: &ProducerApiSettings) -> Result<(), String> {
    let address = address(settings).ok_or_else(|| {
        format!("producer_api.listen: {} is no address at which an endpoint can be asked", settings.listen)
    })?;
    let response = request(settings, &address, "/healthz");
    match response
        .map_err(|why| format!("the endpoint at {address} does not answer: {why}"))?
        .status()
        .as_u16()
    {
        200 => Ok(()),
        status => Err(format!("the endpoint at {address} answers {status}")),
    }
}

/// Whether somebody listens there.
fn accepts_connections(address: &str) -> bool {
    let address = address.parse().ok();
    address.is_some_and(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok())
}

/// Where a program on this machine reaches it.
fn address(settings: &ProducerApiSettings) -> Option<String> {
    use std::net::ToSocketAddrs;
    let address = settings.listen.to_socket_addrs().ok()?.next()?;
    (address.port() != 0).then(|| net::listener::connectable(address).to_string())
}

fn ask(settings: &ProducerApiSettings, address: &str) -> Result<Value, String> {
    read(request(settings, address, "/readyz")?)
}

fn request(
    settings: &ProducerApiSettings,
    address: &str,
    path: &str,
) -> Result<Response<ureq::Body>, String> {
    let certificate = settings.tls_certificate.as_deref();
    let (scheme, connect) = (endpoint_client::scheme(certificate), endpoint_client::connect(certificate)?);
    let config = http_client::config().timeout_global(Some(PATIENCE)).build();
    let agent = Agent::with_parts(config, connect, Lookup::new(true));
    let request = Request::get(format!("{scheme}://{address}{path}")).body(());
    agent.run(request.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}

fn read(response: Response<ureq::Body>) -> Result<Value, String> {
    let mut body = Vec::new();
    let reader = response.into_body().into_reader();
    reader.take(LONGEST_ANSWER).read_to_end(&mut body).map_err(|error| error.to_string())?;
    // What is no JSON is another program's.
    Ok(serde_json::from_slice(&body).unwrap_or_default())
}

/// What is wrong, in an answer of `/readyz`; nothing in any other's.
fn sentences(answer: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(|text| text.trim_end_matches('.').to_owned());
    if answer.pointer("/error/code").is_some_and(|code| code == "not_ready") {
        let reason = answer.pointer("/error/message").and_then(text);
        return reason.into_iter().map(|reason| format!("not ready: {reason}")).collect();
    }
    answer.get("warnings").and_then(Value::as_array).into_iter().flatten().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_is_taken_from_the_answer_of_readyz() {
        let none: [&str; 0] = [];
        let refused = json!({"error": {"code": "not_ready", "message": "No room."}, "message": "No room."});
        assert_eq!(sentences(&refused), ["not ready: No room"]);
        assert_eq!(sentences(&json!({"status": "ready"})), none);
        assert_eq!(sentences(&json!({"status": "ready", "warnings": ["a", "b"]})), ["a", "b"]);
        assert_eq!(sentences(&json!({"error": "of another program"})), none);
        assert_eq!(sentences(&json!([1])), none);
    }

    #[test]
    fn an_endpoint_that_listens_and_does_not_answer_is_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let hangs_up = std::thread::spawn(move || drop(listener.accept().map(|_| listener.accept())));
        let told = of(&ProducerApiSettings { listen: address.to_string(), ..ProducerApiSettings::default() });
        hangs_up.join().unwrap();
        let [told] = told.as_slice() else { panic!("{told:?}") };
        assert!(told.starts_with(&format!("the endpoint at {address} could not be asked: ")), "{told}");
    }

    #[test]
    fn what_does_not_answer_as_an_endpoint_does_is_not_alive() {
        let listen = |address: &str| ProducerApiSettings { listen: address.to_owned(), ..Default::default() };
        let nobody = check_life(&listen(&format!("127.0.0.1:{}", testing::free_port()))).unwrap_err();
        assert!(nobody.contains("does not answer"), "{nobody}");
        let anywhere = check_life(&listen("127.0.0.1:0")).unwrap_err();
        assert!(anywhere.contains("producer_api.listen: 127.0.0.1:0 is no address"), "{anywhere}");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let other = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            std::io::Write::write_all(&mut stream, b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n").unwrap();
        });
        assert!(check_life(&listen(&address)).unwrap_err().ends_with("answers 404"));
        other.join().unwrap();
    }

    #[test]
    fn where_no_endpoint_listens_nothing_is_said() {
        let port = testing::free_port();
        let listen = format!("127.0.0.1:{port}");
        assert!(of(&ProducerApiSettings { listen, ..ProducerApiSettings::default() }).is_empty());
    }
}
