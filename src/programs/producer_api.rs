//! The HTTP endpoint: what is posted to it is stored in the topic, or in the one that a request names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::base::Footing;
use super::directory::ClusterDirectory;
use super::onlooker::Onlooker;
use super::readiness::CanStore;
use crate::channel::sender::Sender;
use crate::channel::senders::Senders;
use crate::cli::{Given, Program, ProgramOption};
use crate::error::Result;
use crate::http::{ANSWER_GRACE, Backing, HttpServer, Monitoring};
use crate::metrics::SenderMetrics;
use crate::supervisor::supervised;

/// `producer_api`.
pub const PROGRAM: Program = Program {
    name: "producer_api",
    about: "Stores what is posted to /enviar in the topic, and to /topics/NAME in that one",
    options: &[ProgramOption::Supervised],
    subcommands: &[],
    run,
};

fn run(given: &Given) -> Result<()> {
    let stop = given.begin()?;
    let footing = Footing::find(given, &stop)?;
    let settings = &given.settings;
    let metrics = SenderMetrics::default();
    let (topic, endpoint) = (&settings.kafka.topic, footing.endpoint());
    let sender = Sender::start_counted(settings, topic, endpoint, PROGRAM.name, metrics.clone());
    let outcome = sender.and_then(|sender| {
        let topics = Arc::new(Senders::new(sender.clone(), settings, footing.endpoint(), PROGRAM.name));
        let backing = Backing {
            channel: Box::new(sender.clone()),
            topics: topics.clone(),
            directory: Box::new(ClusterDirectory::new(settings)),
            onlooker: Arc::new(Onlooker::new(settings)),
        };
        let ready = CanStore::start(settings, sender.clone(), stop.clone());
        let server = ready.and_then(|ready| {
            let monitoring = Monitoring::new(&[&metrics], Some(Box::new(ready)));
            HttpServer::start(&settings.producer_api, backing, monitoring)
        });
        let outcome = server.map(|server| {
            log::info!("listening on {}; a page for browsers is at {}", server.address(), server.url());
            if given.supervised {
                supervised::say_ready(server.address());
            }
            stop.wait();
            // Every message that was taken has its answer by then.
            let patience = settings.producer_api.answer_timeout() + ANSWER_GRACE;
            server.stop(Instant::now() + if footing.is_lost() { Duration::ZERO } else { patience });
        });
        topics.close(Instant::now());
        sender.close(Instant::now());
        outcome
    });
    footing.stop();
    outcome
}
