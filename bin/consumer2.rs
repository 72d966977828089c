//! A consumer of the group: prints each message once and then commits it.

use std::process::ExitCode;

use point_to_point::adapter::{Adapter, AdapterSettings};
use point_to_point::channel::print::Printer;
use point_to_point::channel::receiver::Receiver;
use point_to_point::cli;
use point_to_point::error::Error;

fn main() -> ExitCode {
    cli::consumer(
        "consumer2",
        "Prints the messages that this member of the group gets",
        |settings, name, stop| {
            let adapter = Adapter::start(AdapterSettings::in_process(settings))
                .map_err(|e| Error::new("the adapter cannot be started").caused_by(e))?;
            let receiver =
                Receiver::new(settings, adapter.endpoint(), name, stop)?.start(Printer::on_stdout())?;
            let outcome = receiver.wait();
            adapter.stop();
            outcome
        },
    )
}
