//! The default program: the endpoint and two consumers as child processes, on the adapter (and the embedded broker)
//! of this one. The adapter hears of a consumer's end at once, so that its partitions move at once.

use std::cell::Cell;
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
        roles: roles(),
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

fn roles() -> Vec<Role> {
    let role = |name, arguments: &[&str], says_ready| Role {
        name,
        arguments: arguments.iter().chain(&["--supervised"]).map(Into::into).collect(),
        says_ready,
    };
    let consumer = |name| role(name, &["consumer", "--name", name], false);
    std::iter::once(role("producer_api", &["producer_api"], true)).chain(CONSUMERS.map(consumer)).collect()
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
