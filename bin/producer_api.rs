//! The HTTP endpoint: what is posted to it is stored in the topic.

use std::process::ExitCode;
use std::time::Instant;

use point_to_point::adapter::{Adapter, AdapterSettings};
use point_to_point::channel::sender::Sender;
use point_to_point::cli;
use point_to_point::config::Settings;
use point_to_point::error::{Error, Result};
use point_to_point::http::{ANSWER_GRACE, HttpServer};
use point_to_point::stop::Stop;

fn main() -> ExitCode {
    cli::program("producer_api", "Stores what is posted to /enviar in the topic", run)
}

fn run(settings: &Settings, stop: Stop) -> Result<()> {
    let adapter = Adapter::start(AdapterSettings::in_process(settings))
        .map_err(|e| Error::new("the adapter cannot be started").caused_by(e))?;
    let sender = Sender::start(settings, adapter.endpoint())?;
    let server = HttpServer::start(&settings.producer_api, sender.clone());
    let outcome = server.map(|server| {
        log::info!("listening on http://{}", server.address());
        stop.wait();
        // Every message that was taken has its answer by then.
        server.stop(Instant::now() + settings.producer_api.answer_timeout() + ANSWER_GRACE);
    });
    sender.close(Instant::now());
    adapter.stop();
    outcome
}
