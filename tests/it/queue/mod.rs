//! The work queue: many messages under way at a time, in order by key, with retries that hold up nobody. The
//! handlers are shell scripts that write down what they are given; what became of a message is seen in what
//! they wrote, in the dead letters and in what the group has committed. [`chaos`] kills and freezes whatever
//! there is meanwhile, and [`mixed`] has members of others in the group.

mod attempts;
mod bounds;
mod chaos;
mod closures;
mod concurrency;
mod handing_over;
mod history;
mod load;
mod mixed;
mod notes;
mod outcomes;
mod payloads;
pub mod scene;
mod topics;
mod waiting;
