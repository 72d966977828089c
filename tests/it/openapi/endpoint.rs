//! The endpoint that is asked.

use crate::support::metrics::get;
use crate::support::ports::free_port;
use crate::support::program::{Program, Start};
use crate::support::watchdog::Folder;
use crate::support::{PATIENCE, eventually};

/// `producer_api` with a broker of its own, ready to store, and with its topic made.
pub struct Endpoint {
    /// The program.
    pub program: Program,
    /// Of the broker's data.
    _folder: Folder,
}

impl Endpoint {
    /// Starts it.
    pub fn start() -> Endpoint {
        let folder = Folder::new("openapi");
        let start = Start::program("producer_api")
            .set("log.level", "warn")
            .set("embedded.listen", &format!("127.0.0.1:{}", free_port()))
            .set("embedded.data_dir", &folder.path().join("data").display().to_string());
        let program = Program::producer_with(start);
        let is_ready = || get(program.address(), "/readyz").status == 200;
        eventually("it is ready", PATIENCE, || is_ready().then_some(()));
        assert_eq!(program.post("/enviar", "{}").status, 200);
        Endpoint { program, _folder: folder }
    }
}
