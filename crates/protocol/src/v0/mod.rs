//! The protocol of Kafka 0.8 and 0.9, as the `kafka` crate 0.10 speaks it: seven requests, their responses
//! and the message sets inside.
//!
//! Source: "A Guide To The Kafka Protocol" (Kafka's wiki) and the version 0 to 2 schemas of the Kafka
//! protocol guide. A frame is a four-byte size and that many bytes; here a request comes without its size, a
//! response is made with it.

pub mod message_set;
pub mod remark;
pub mod request;
pub mod response;

#[cfg(test)]
mod crate_traffic;
