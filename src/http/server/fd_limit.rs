//! The limit of open files, and the number of connections that it leaves room for: the connections to Kafka
//! need file descriptors, too.

/// The least number of descriptors that are kept free of clients: for logs, the private socket, the adapter
/// and its connections to brokers. Of a high limit, the share [`RESERVED_SHARE`] is kept, as each topic that
/// is sent to needs some.
const RESERVED: usize = 64;
/// Of this many descriptors, one is kept free of clients.
const RESERVED_SHARE: usize = 6;

/// The number of clients that are accepted also under a low limit.
const MIN_CONNECTIONS: usize = 16;

/// The number of connections, `wanted` at most, for which the limit of open files (`ulimit -n`) leaves room;
/// a lower number is logged as a warning. It is `wanted` where the system does not tell the limit.
pub(crate) fn max_connections(wanted: usize) -> usize {
    let Some(limit) = std::fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(soft_limit)
    else {
        return wanted;
    };
    let most = within(limit, wanted);
    if most < wanted {
        log::warn!(
            "at most {most} connections are served at a time instead of producer_api.max_connections = \
             {wanted}: the process may have {limit} files open (ulimit -n)"
        );
    }
    most
}

fn within(limit: usize, wanted: usize) -> usize {
    let reserved = RESERVED.max(limit / RESERVED_SHARE);
    wanted.min(limit.saturating_sub(reserved).max(MIN_CONNECTIONS))
}

/// The soft limit of open files in Linux's `/proc/PID/limits` (proc_pid_limits(5)); `None` if there is none.
fn soft_limit(limits: &str) -> Option<usize> {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read_where_there_is_one() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             63432                63432                processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(
            soft_limit("Max open files            unlimited            unlimited            files"),
            None
        );
        assert_eq!(soft_limit(""), None);
    }

    #[test]
    fn clients_leave_descriptors_for_the_channel() {
        assert_eq!((within(1024, 4096), within(1_000_000, 4096)), (854, 4096));
        assert_eq!(within(1024, 100), 100);
        assert_eq!((within(20, 4096), within(20, 5)), (16, 5));
    }
}
