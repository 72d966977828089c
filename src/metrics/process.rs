//! What is known of the process itself: the standard metrics that clients of Prometheus tell, by their names
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>), and the build.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The clock ticks of a second in `/proc`: `USER_HZ`, which is the same wherever Rust's Linux targets run.
const TICKS: f64 = 100.0;

/// The metrics of this process, looked up in `/proc` when they are shown. Where there is none, as on other
/// systems than Linux, and where no descriptor is left to look, they are missing.
#[derive(Debug)]
pub(super) struct ProcessMetrics;

impl ProcessMetrics {
    /// Shows them in `registry`, whose metrics have no prefix.
    pub(super) fn register(registry: &mut Registry) {
        registry.sub_registry_with_prefix("process").register_collector(Box::new(ProcessMetrics));
    }
}

/// Shows the program's version in `registry`.
pub(super) fn register_build(registry: &mut Registry) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    registry.register("build", "The program's version", Info::new(version));
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (usage, started) = (usage(), started());
        if let Some(Usage { cpu_seconds, .. }) = usage {
            let cpu = ConstCounter::new(cpu_seconds);
            let help = "Processor time that the process has used";
            cpu.encode(encoder.encode_descriptor("cpu", help, Some(&Unit::Seconds), cpu.metric_type())?)?;
        }
        for (name, help, unit, value) in [
            ("start_time", "When the process was started, since 1970", Some(&Unit::Seconds), started),
            ("resident_memory", "Resident memory", Some(&Unit::Bytes), resident_bytes()),
            ("open_fds", "Open file descriptors", None, open_descriptors()),
            ("max_fds", "File descriptors that may be open", None, most_descriptors()),
            ("threads", "Threads of the process", None, usage.map(|usage| usage.threads)),
        ] {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// What `/proc/self/stat` says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Usage {
    cpu_seconds: f64,
    threads: f64,
    /// When it was started, after the system.
    start_seconds: f64,
}

fn usage() -> Option<Usage> {
    usage_in(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// The name, the second field, is in brackets and may have any characters (proc_pid_stat(5)).
fn usage_in(stat: &str) -> Option<Usage> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some(Usage {
        cpu_seconds: (number(14)? + number(15)?) / TICKS,
        threads: number(20)?,
        start_seconds: number(22)? / TICKS,
    })
}

/// In seconds since 1970.
fn started() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + usage()?.start_seconds)
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
}

fn open_descriptors() -> Option<f64> {
    // One of them is that of the look.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn most_descriptors() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    soft.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_does_not_move_the_fields_behind_it() {
        let stat = "7 (a) S 1) S 1 7 7 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 12 0 4200 1 2 3\n";
        let usage = Usage { cpu_seconds: 3.0, threads: 12.0, start_seconds: 42.0 };
        assert_eq!(usage_in(stat), Some(usage));
        assert_eq!(usage_in("7 (a) S 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_started_before_now_and_opens_one_descriptor_more_with_a_file() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let started = started().unwrap();
        assert!(started <= now + 1.0 && started > now - 86_400.0, "{started} {now}");
        assert!(resident_bytes().unwrap() > 1e6);
        assert!(open_descriptors().unwrap() >= 3.0);
        assert!(most_descriptors().unwrap() >= open_descriptors().unwrap());
    }
}
