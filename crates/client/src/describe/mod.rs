//! A cluster as an observer outside of its groups sees it: brokers, topics, replicas, groups and their
//! progress.

pub mod groups;
mod topics;

pub use topics::{Description, PartitionDescription, TopicDescription};
