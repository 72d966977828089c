//! The default program: the endpoint and two consumers as child processes, on the adapter (and the embedded
//! broker) of this process. The supervisor reports a consumer's end to the adapter, so that its partitions
//! move at once.

use std::cell::Cell;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::service::Service;
use super::{
    adapter, consumer, consumer_pull, consumer_push, dead_letters, groups, health, peek, producer,
    producer_api, queue, status, topics, users,
};
use crate::cli::{AFTER_HELP, Invocation, Program, SettingsOptions, USAGE};
use crate::config::{ConsumerSection, ProducerApiSettings, Settings};
use crate::consumer::BUSY_GRACE;
use crate::error::{Error, Result};
use crate::http::ANSWER_GRACE;
use crate::logging::{self, JSON_START, LogFormat};
use crate::runtime::Runtime;
use crate::supervisor::child::Role;
use crate::supervisor::output::{Output, Style};
use crate::supervisor::{self, Callbacks, Plan};
use clap::{Args, Subcommand};
use client::coordinator::Coordinator;
use net::stop::Stop;
use platform::outputs::RawOutput;

/// The prefix of this program's own lines.
const NAME: &str = "point-to-point";

/// The command line.
#[derive(Debug, Args)]
#[command(
    about = "The whole channel: the HTTP endpoint and two consumers, on the embedded broker unless another is named"
)]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsOptions,
    #[command(subcommand)]
    subcommand: Option<Part>,
}

/// The roles, which are also programs of their own, and then what an administrator does.
#[derive(Debug, Subcommand)]
enum Part {
    #[command(alias = "producer_api", after_help = AFTER_HELP)]
    ProducerApi(producer_api::Arguments),
    #[command(after_help = AFTER_HELP)]
    Producer(Box<producer::Arguments>),
    #[command(after_help = AFTER_HELP)]
    Consumer(consumer::Arguments),
    #[command(alias = "consumer_pull", after_help = AFTER_HELP)]
    ConsumerPull(consumer_pull::Arguments),
    #[command(alias = "consumer_push", after_help = AFTER_HELP)]
    ConsumerPush(consumer_push::Arguments),
    #[command(after_help = AFTER_HELP)]
    Adapter(adapter::Arguments),
    #[command(after_help = AFTER_HELP)]
    Status(status::Arguments),
    #[command(after_help = AFTER_HELP)]
    Health(health::Arguments),
    #[command(after_help = AFTER_HELP)]
    Peek(peek::Arguments),
    #[command(after_help = AFTER_HELP)]
    DeadLetters(dead_letters::Arguments),
    #[command(after_help = AFTER_HELP)]
    Queue(queue::Arguments),
    #[command(after_help = AFTER_HELP)]
    Topics(topics::Arguments),
    #[command(after_help = AFTER_HELP)]
    Groups(groups::Arguments),
    #[command(after_help = AFTER_HELP)]
    Users(users::Arguments),
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn subcommand(&self) -> Option<(&'static str, &dyn Program)> {
        self.subcommand.as_ref().map(|part| -> (_, &dyn Program) {
            match part {
                // A role has the name, and so the client id, of its own program.
                Part::ProducerApi(endpoint) => ("producer_api", endpoint),
                Part::Producer(producer) => ("producer", &**producer),
                Part::Consumer(consumer) => ("consumer", consumer),
                Part::ConsumerPull(consumer) => ("consumer_pull", consumer),
                Part::ConsumerPush(consumer) => ("consumer_push", consumer),
                Part::Adapter(adapter) => ("adapter", adapter),
                Part::Status(status) => ("status", status),
                Part::Health(health) => ("health", health),
                Part::Peek(peek) => ("peek", peek),
                Part::DeadLetters(dead_letters) => ("dead-letters", dead_letters),
                Part::Queue(queue) => ("queue", queue),
                Part::Topics(topics) => ("topics", topics),
                Part::Groups(groups) => ("groups", groups),
                Part::Users(users) => ("users", users),
            }
        })
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        run(invocation)
    }
}

/// The consumers' names.
const CONSUMERS: [&str; 2] = ["consumer1", "consumer2"];
/// The time that a child needs to stop besides its open work.
const STOP_MARGIN: Duration = Duration::from_secs(2);
/// The time limit for taking a killed consumer out of its group.
const LEAVE: Duration = Duration::from_secs(2);
/// The time limit for writing the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

fn run(invocation: &Invocation) -> Result<()> {
    let stop = crate::signals::stop()?;
    let is_json = invocation.settings.log.format == LogFormat::Json;
    let (on_terminal, bare) = (io::stdout().is_terminal(), is_json.then_some(JSON_START));
    let style = Style { on_terminal, coloured: wants_colours(), bare };
    let output = RawOutput::stdout()
        .and_then(|out| Output::start(out, style, stop.clone()))
        .map_err(|e| Error::new("standard output cannot be shared with the children").caused_by(e))?;
    let logging = logging::start_on(&invocation.settings.log, NAME, || Box::new(output.own_log(NAME, 0)));
    let outcome = logging.and_then(|()| {
        invocation.warn();
        supervise(invocation, &output, &stop)
    });
    log::logger().flush();
    output.finish(Instant::now() + LAST_LINES);
    match output.failure() {
        Some(reason) => Err(Error::new("standard output is broken").caused_by(reason)),
        None => outcome,
    }
}

fn supervise(invocation: &Invocation, output: &Output, stop: &Stop) -> Result<()> {
    let settings = &invocation.settings;
    check_topics(settings)?;
    let service = Service::begin(invocation, stop, stop_timeout(settings) + LAST_LINES);
    let teller = service.teller();
    let program = std::env::current_exe()
        .map_err(|e| Error::new("the path of this program's own file cannot be found").caused_by(e))?;
    let runtime = Runtime::start(settings.own_runtime())?;
    let group = settings.consumer.group.as_deref().unwrap_or(ConsumerSection::DEFAULT_GROUP);
    runtime.check_rights(&settings.intent(true, Some(group)))?;
    let plan = Plan {
        program,
        roles: roles(settings)?,
        options: invocation.options.clone(),
        parameters: runtime.adapter().endpoint().to_line(),
        usage_exit_code: USAGE,
        stop_timeout: stop_timeout(settings),
        watchdog: service.watchdog(),
    };
    let printed = Cell::new(None);
    let callbacks = Callbacks {
        on_exit: &|name, member| {
            runtime.adapter().program_ended(name);
            if let Some(member) = member {
                take_out(&runtime, group, name, member);
            }
        },
        on_ready: &|address| {
            if printed.replace(Some(address)) != Some(address) {
                output.print_line(&example(&settings.producer_api, address));
                service.ready();
            }
        },
        // The adapter is here, and perhaps the broker.
        warning: &net::descriptors::shortage,
        on_status: &|status| teller.status(status),
        alive: &|| service.alive(),
    };
    let outcome = supervisor::run(plan, output, stop, &callbacks);
    runtime.stop();
    outcome
}

/// The consumers get what the endpoint takes.
fn check_topics(settings: &Settings) -> Result<()> {
    let (topic, topics) = (&settings.kafka.topic, settings.kafka.consumed());
    if topics.has(topic) {
        return Ok(());
    }
    let what = format!(
        "kafka.topics: {topics} is without kafka.topic ({topic}), to which the endpoint of this program sends: set \
         kafka.topic to one of them, or start a consumer alone"
    );
    Err(Error::new(what).about_settings())
}

/// Takes a member out of its group whose process was killed, so that others have its partitions at once
/// instead of after the session timeout.
fn take_out(runtime: &Runtime, group: &str, name: &str, member: &str) {
    let cluster = Arc::new(runtime.cluster().share(runtime.cluster().settings().clone()));
    let (group, member) = (group.to_owned(), member.to_owned());
    let leave = move || {
        let mut coordinator = Coordinator::new(cluster, &group, NAME);
        match coordinator.leave(&member, Instant::now() + LEAVE) {
            Ok(()) => log::info!("took {member} out of {group}"),
            Err(error) => log::debug!("taking {member} out of {group}: {error}"),
        }
    };
    if let Err(error) = thread::Builder::new().name(format!("leave-{name}")).spawn(leave) {
        log::warn!("no thread to take {name} out of its group: {error}");
    }
}

fn roles(settings: &Settings) -> Result<Vec<Role>> {
    let role = |name, arguments: &[&str], is_server| Role {
        name,
        arguments: arguments.iter().chain(&["--supervised"]).map(Into::into).collect(),
        options: Vec::new(),
        is_server,
    };
    let mut roles = vec![role("producer_api", &["producer-api"], true)];
    for (index, name) in (0..).zip(CONSUMERS) {
        let options = metrics_listen(settings.consumer.metrics_listen.as_deref(), index)?;
        roles.push(Role { options, ..role(name, &["consumer", "--name", name], false) });
    }
    Ok(roles)
}

/// The option for the metrics address of consumer number `index` (from 0). Each consumer has a port of its
/// own, counted from the one in the settings. With port 0 the system chooses.
fn metrics_listen(listen: Option<&str>, index: u16) -> Result<Vec<OsString>> {
    let Some((host, port)) = listen.and_then(|listen| listen.rsplit_once(':')) else { return Ok(Vec::new()) };
    let next = |port: u16| if port == 0 { Some(0) } else { port.checked_add(index) };
    let port = port.parse().ok().and_then(next).ok_or_else(|| {
        let why = "leaves no port for every consumer; choose a lower one";
        Error::new(format!("consumer.metrics_listen: {host}:{port} {why}")).about_settings()
    })?;
    Ok(vec!["--set".into(), format!("consumer.metrics_listen={host}:{port}").into()])
}

/// The time that the endpoint's draining and open requests, or a consumer's current message, may take.
fn stop_timeout(settings: &Settings) -> Duration {
    let endpoint = settings.producer_api.drain() + settings.producer_api.answer_timeout() + ANSWER_GRACE;
    endpoint.max(BUSY_GRACE) + STOP_MARGIN
}

/// A command that sends a first message to the endpoint.
fn example(settings: &ProducerApiSettings, address: SocketAddr) -> String {
    let address = net::listener::connectable(address);
    let scheme = if settings.tls_certificate.is_some() { "https" } else { "http" };
    let guarded = settings.token.is_some() || settings.token_file.is_some() || settings.users_file.is_some();
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
    fn each_consumer_serves_its_metrics_at_a_port_of_its_own() {
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
