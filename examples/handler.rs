//! A consumer whose handler is a function. What it fails at is tried again, and then stored as a dead letter.

use point_to_point::adapter::AdapterSettings;
use point_to_point::channel::puller::Received;
use point_to_point::channel::receiver::Receiver;
use point_to_point::config;
use point_to_point::message::Message;
use point_to_point::programs::base::Base;
use point_to_point::stop::Stop;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = config::load(None, &[])?;
    let stop = Stop::on_signals()?;
    let base = Base::start(&settings, AdapterSettings::in_process(&settings))?;
    let receiver = Receiver::new(&settings, base.adapter().endpoint(), "example", stop)?;
    let handler = |message: &Received<'_>| {
        let order = Message::from_json(message.value.unwrap_or_default()).map_err(|e| e.to_string())?;
        let shown = order.one_line();
        println!("attempt {} at offset {}: {shown}", message.attempt, message.offset);
        if shown.contains("fail") { Err(format!("I do not like {shown}")) } else { Ok(()) }
    };
    let outcome = receiver.start(handler).and_then(|running| running.wait());
    base.stop();
    Ok(outcome?)
}
