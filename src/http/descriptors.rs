//! How many connections the process may have open: each is a file descriptor, and the way to Kafka needs
//! some, too.

/// Descriptors that are not for clients: logs, the private socket, the adapter and its connections to brokers. Where
/// there are many, it is one of [`RESERVED_SHARE`], as each topic that is sent to takes some.
const RESERVED: usize = 64;
/// See [`RESERVED`].
const RESERVED_SHARE: usize = 6;

/// Clients that are let in however few descriptors there are.
const MIN_CONNECTIONS: usize = 16;

/// What is left of `wanted` connections under this process's limit of open files (`ulimit -n`); a warning says
/// so where it is less. Where the system does not tell that limit, it is `wanted`.
pub(super) fn affordable(wanted: usize) -> usize {
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
    fn clients_leave_descriptors_for_the_rest() {
        assert_eq!((within(1024, 4096), within(1_000_000, 4096)), (854, 4096));
        assert_eq!(within(1024, 100), 100);
        assert_eq!((within(20, 4096), within(20, 5)), (16, 5));
    }
}
