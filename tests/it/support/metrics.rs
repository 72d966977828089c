//! What `/metrics` tells, as Prometheus' own client for Python reads it.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::Stdio;

use super::http::{Answer, Connection};
use super::python::python;

/// One scrape.
#[derive(Debug)]
pub struct Scrape {
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
    /// The type of each family by its name.
    pub types: BTreeMap<String, String>,
}

/// A GET on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Answer {
    let answer = Connection::open(address).and_then(|mut connection| connection.get(path));
    answer.unwrap_or_else(|error| panic!("GET {path} at {address}: {error}"))
}

impl Scrape {
    /// Scrapes the endpoint at `address`.
    pub fn of(address: SocketAddr) -> Scrape {
        let answer = get(address, "/metrics");
        let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(media_type)));
        let mut reader = python("read_metrics.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        reader.stdin.take().expect("a pipe").write_all(&answer.body).expect("Python reads");
        let read = reader.wait_with_output().expect("Python ends");
        assert!(read.status.success(), "unreadable: {}", String::from_utf8_lossy(&answer.body));
        let (samples, types) = serde_json::from_slice(&read.stdout).expect("what the script prints");
        Scrape { samples, types }
    }

    /// The value of a sample by its name and exactly these labels; 0 where there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |(sample, has, _): &&(String, BTreeMap<String, String>, f64)| {
            let same = |(label, value): &(&str, &str)| has.get(*label).is_some_and(|has| has == value);
            sample == name && has.len() == labels.len() && labels.iter().all(same)
        };
        self.samples.iter().find(fits).map_or(0.0, |(_, _, value)| *value)
    }

    /// The values of all samples with this name.
    pub fn values(&self, name: &str) -> Vec<f64> {
        self.samples.iter().filter(|(sample, _, _)| sample == name).map(|(_, _, value)| *value).collect()
    }
}
