//! The embedded broker as the node of a cluster: a process of ours that hosts it. Several of them share one
//! folder and one address; the first that comes serves, the others stand by.

use std::path::Path;
use std::process::Command;

use super::node::Node;
use super::ports::free_port;
use super::program::binary;

/// Processes that host one embedded broker, in turn. The program `adapter` does nothing else of its own
/// accord. `settings` are further ones, each `key=value`.
pub fn nodes(count: usize, folder: &Path, settings: &'static [&'static str]) -> Vec<Node> {
    let (port, data) = (free_port(), folder.join("data"));
    (1..=count)
        .map(|id| {
            let data = data.clone();
            Node::new(id, port, &folder.join(format!("node{id}")), move || host(port, &data, settings))
        })
        .collect()
}

fn host(port: u16, data: &Path, settings: &[&str]) -> Command {
    let mut command = Command::new(binary("adapter"));
    for setting in [
        "kafka.bootstrap_servers=[]".to_owned(),
        format!("embedded.listen=127.0.0.1:{port}"),
        format!("embedded.data_dir={}", data.display()),
        "adapter.listen=127.0.0.1:0".to_owned(),
        "log.file=".to_owned(),
    ] {
        command.args(["--set", &setting]);
    }
    settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
    command.current_dir(data.parent().expect("a folder of the test"));
    command
}
