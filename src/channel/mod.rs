//! The Point-to-Point Channel over the `kafka` crate: a [`sender`] that batches what many clients post, and (to come in
//! this module) the receiver, one of the group's Competing Consumers.

pub mod sender;
