//! What is in the cluster.

use crate::cli::{Given, Program};
use crate::error::Result;

/// `status`.
pub const PROGRAM: Program = Program {
    name: "status",
    about: "Shows topics, groups, their members, and what they have still to do",
    options: &[],
    run,
};

fn run(_given: &Given) -> Result<()> {
    Ok(())
}
