//! The default program: the endpoint and two consumers as child processes, on the adapter (and the embedded broker)
//! of this one. The adapter hears of a consumer's end at once, so that its partitions move at once.

use std::cell::Cell;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::base::Base;
use super::{consumer, dead_letters, producer_api, status};
use crate::adapter::AdapterSettings;
use crate::channel::running::BUSY_GRACE;
use crate::cli::{Given, Program};
use crate::config::{self, ProducerApiSettings, Settings};
use crate::error::{Error, Result};
use crate::http::ANSWER_GRACE;
use crate::logging;
use crate::stop::Stop;
use crate::supervisor::child::Role;
use crate::supervisor::output::Output;
use crate::supervisor::{self, Plan, Watchers};

/// `point-to-point`.
pub const PROGRAM: Program = Program {
    name: "point-to-point",
    about: "The whole channel: the HTTP endpoint and two consumers, on the embedded broker unless another is named",
    options: &[],
    subcommands: &[
        consumer::named("consumer"),
        producer_api::PROGRAM,
        status::PROGRAM,
        dead_letters::PROGRAM,
    ],
    run,
};

/// The consumers' names.
const CONSUMERS: [&str; 2] = ["consumer1", "consumer2"];
/// What a child needs to stop besides the work in hand.
const STOP_MARGIN: Duration = Duration::from_secs(2);
/// How long the last lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

fn run(given: &Given) -> Result<()> {
    let stop = Stop::on_signals()?;
    let output = Output::start(io::stdout(), wants_colours(), stop.clone())
        .map_err(|e| Error::new("no thread for standard output").caused_by(e))?;
    logging::start_on(&given.settings.log, || Box::new(output.log_of(PROGRAM.name, 0)))?;
    let outcome = supervise(given, &output, &stop);
    log::logger().flush();
    output.finish(Instant::now() + LAST_LINES);
    match output.broken() {
        Some(reason) => Err(Error::new("standard output is broken").caused_by(reason)),
        None => outcome,
    }
}

fn supervise(given: &Given, output: &Output, stop: &Stop) -> Result<()> {
    let settings = &given.settings;
    let program = std::env::current_exe()
        .map_err(|e| Error::new("this program does not find its own file").caused_by(e))?;
    let base = Base::start(settings, AdapterSettings::in_process(settings))?;
    let plan = Plan {
        program,
        roles: roles(settings)?,
        options: given.options.clone(),
        first_line: base.adapter().endpoint().to_line(),
        grace: grace(settings),
    };
    let told = Cell::new(None);
    let watchers = Watchers {
        ended: &|name| base.adapter().program_ended(name),
        ready: &|address| {
            if told.replace(Some(address)) != Some(address) {
                output.plain(&example(&settings.producer_api, address));
            }
        },
    };
    let outcome = supervisor::run(plan, output, stop, &watchers);
    base.stop();
    outcome
}

fn roles(settings: &Settings) -> Result<Vec<Role>> {
    let role = |name, arguments: &[&str], says_ready| Role {
        name,
        arguments: arguments.iter().chain(&["--supervised"]).map(Into::into).collect(),
        options: Vec::new(),
        says_ready,
    };
    let mut roles = vec![role("producer_api", &["producer_api"], true)];
    for (index, name) in (0..).zip(CONSUMERS) {
        let options = metrics_listen(settings.consumer.metrics_listen.as_deref(), index)?;
        roles.push(Role { options, ..role(name, &["consumer", "--name", name], false) });
    }
    Ok(roles)
}

/// Where consumer number `index` (from 0) tells its metrics: each at a port of its own, from the one in the
/// settings on. With port 0 the system chooses.
fn metrics_listen(listen: Option<&str>, index: u16) -> Result<Vec<OsString>> {
    let Some((host, port)) = listen.and_then(|listen| listen.rsplit_once(':')) else { return Ok(Vec::new()) };
    let next = |port: u16| if port == 0 { Some(0) } else { port.checked_add(index) };
    let port = port.parse().ok().and_then(next).ok_or_else(|| {
        let why = "leaves no port for every consumer; choose a lower one";
        Error::new(format!("consumer.metrics_listen: {host}:{port} {why}")).about_settings()
    })?;
    Ok(vec!["--set".into(), format!("consumer.metrics_listen={host}:{port}").into()])
}

/// As long as the endpoint's open requests, or a consumer's message in hand, may take.
fn grace(settings: &Settings) -> Duration {
    let endpoint = settings.producer_api.answer_timeout() + ANSWER_GRACE;
    endpoint.max(BUSY_GRACE) + STOP_MARGIN
}

/// A command that sends a first message to the endpoint.
fn example(settings: &ProducerApiSettings, address: SocketAddr) -> String {
    let address = config::connectable(address);
    let scheme = if settings.tls_certificate.is_some() { "https" } else { "http" };
    let guarded = settings.token.is_some() || settings.token_file.is_some();
    let token = if guarded { " -H 'Authorization: Bearer TOKEN'" } else { "" };
    format!(
        "curl -X POST {scheme}://{address}/enviar{token} -H 'Content-Type: application/json' \
         -d '{{\"contenido\":\"hola\"}}'"
    )
}

/// Names are coloured on a terminal that shows colours, unless the user wants none (no-color.org).
fn wants_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    io::stdout().is_terminal() && !unwanted && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_consumer_tells_its_metrics_at_a_port_of_its_own() {
        let of = |listen, index| {
            metrics_listen(listen, index).map(|options| options.last().cloned()).map_err(|e| e.to_string())
        };
        assert_eq!(of(None, 1), Ok(None));
        assert_eq!(of(Some("127.0.0.1:9100"), 1), Ok(Some("consumer.metrics_listen=127.0.0.1:9101".into())));
        assert_eq!(of(Some("[::1]:0"), 1), Ok(Some("consumer.metrics_listen=[::1]:0".into())));
        let error =
            "consumer.metrics_listen: localhost:65535 leaves no port for every consumer; choose a lower one";
        assert_eq!(of(Some("localhost:65535"), 1), Err(error.to_owned()));
    }

    #[test]
    fn the_example_can_be_used_as_it_stands_also_where_the_endpoint_listens_everywhere() {
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 5000));
        let line = example(&ProducerApiSettings::default(), everywhere);
        let expected = "curl -X POST http://127.0.0.1:5000/enviar -H 'Content-Type: application/json' \
                        -d '{\"contenido\":\"hola\"}'";
        assert_eq!(line, expected);
        let token = Some("token".into());
        let guarded = ProducerApiSettings { token_file: token, ..ProducerApiSettings::default() };
        assert!(example(&guarded, everywhere).contains(" -H 'Authorization: Bearer TOKEN' "));
    }
}
