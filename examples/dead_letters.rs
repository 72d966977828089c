//! Shows the dead letters of a topic, and sends all of them back.

use point_to_point::{Channel, DeadLetterFilter, ReplayAction, ReplayRequest, Result, signals};

fn main() -> Result<()> {
    let channel = Channel::builder().topic("orders").environment().open()?;
    let letters = channel.dead_letters();
    for letter in letters.letters(&DeadLetterFilter::default(), None)? {
        let letter = letter?;
        println!("{}: {}", letter.id, letter.message().unwrap_or_default());
    }
    let all = ReplayRequest { filter: DeadLetterFilter::default(), max: None, deadline: None };
    let done = letters.replay(ReplayAction::Replay, &all, &signals::stop()?, &mut |_, _| {})?;
    println!("replayed {}, left {}", done.done, done.left);
    Ok(())
}
