//! What the system and the allocator know about this process, read from `/proc` at a scrape.
//!
//! Names and meanings are those of the Prometheus client libraries. A figure that the system does not
//! give is left out.

use std::fs;
use std::sync::OnceLock;

/// Clock ticks a second in `/proc`, the same on every Linux whatever the kernel's own rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// All figures in bytes or seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    pub cpu_seconds: Option<f64>,
    pub max_fds: Option<f64>,
    pub open_fds: Option<f64>,
    pub resident_bytes: Option<f64>,
    pub virtual_bytes: Option<f64>,
    pub virtual_max_bytes: Option<f64>,
    pub start_seconds: Option<f64>,
    pub received_bytes: Option<f64>,
    pub sent_bytes: Option<f64>,
}

impl Process {
    pub fn read() -> Process {
        let file = |name: &str| fs::read_to_string(name).unwrap_or_default();
        let stat = file("/proc/self/stat");
        let stat = Stat::parse(&stat);
        let limits = file("/proc/self/limits");
        let netstat = file("/proc/self/net/netstat");
        Process {
            cpu_seconds: stat.as_ref().map(|stat| stat.cpu_ticks / TICKS_PER_SECOND),
            max_fds: soft_limit(&limits, "Max open files"),
            open_fds: open_fds(),
            resident_bytes: resident_bytes(&file("/proc/self/status")),
            virtual_bytes: stat.as_ref().map(|stat| stat.virtual_bytes),
            virtual_max_bytes: soft_limit(&limits, "Max address space"),
            start_seconds: stat.and_then(|stat| start_seconds(stat.start_ticks)),
            received_bytes: network_bytes(&netstat, "InOctets"),
            sent_bytes: network_bytes(&netstat, "OutOctets"),
        }
    }
}

struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
    virtual_bytes: f64,
}

impl Stat {
    /// Reads the line of `/proc/self/stat`. The program's name comes second, in parentheses that it may
    /// itself contain.
    fn parse(line: &str) -> Option<Stat> {
        let (_, after_name) = line.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        // Numbered as in proc(5), where the first of these is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Stat { cpu_ticks: field(14)? + field(15)?, start_ticks: field(22)?, virtual_bytes: field(23)? })
    }
}

/// The soft limit on the line of `/proc/self/limits` that begins with `name`. No limit reads as the
/// largest 64-bit number, as in the client libraries.
fn soft_limit(limits: &str, name: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX as f64),
        number => number.parse().ok(),
    }
}

/// Since Linux 6.2 the size of the directory is the number of open files; before, it is zero.
fn open_fds() -> Option<f64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64),
        open => Some(open as f64),
    }
}

fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// Start in seconds since 1970. Read once: `/proc/stat`, which has the boot time, is long on large
/// machines, and the answer does not change.
fn start_seconds(start_ticks: f64) -> Option<f64> {
    static BOOTED: OnceLock<Option<f64>> = OnceLock::new();
    let booted = BOOTED.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
    });
    Some((*booted)? + start_ticks / TICKS_PER_SECOND)
}

/// The counter `name` of the group `IpExt`, which has a line of names and then a line of numbers. It
/// counts for the whole network namespace, as it does in the client libraries.
fn network_bytes(netstat: &str, name: &str) -> Option<f64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let names = lines.next()?.split_whitespace();
    let numbers = lines.next()?.split_whitespace();
    names.zip(numbers).find(|(found, _)| *found == name)?.1.parse().ok()
}

/// Bytes in use and bytes held from the system, as the allocator counts them.
#[derive(Clone, Copy, Debug)]
pub struct Allocator {
    pub allocated_bytes: f64,
    pub resident_bytes: f64,
}

impl Allocator {
    #[cfg(not(miri))]
    pub fn read() -> Option<Allocator> {
        use tikv_jemalloc_ctl::{epoch, stats};
        // The statistics are those of the last time the epoch advanced.
        epoch::advance().ok()?;
        Some(Allocator {
            allocated_bytes: stats::allocated::read().ok()? as f64,
            resident_bytes: stats::resident::read().ok()? as f64,
        })
    }

    #[cfg(miri)]
    pub fn read() -> Option<Allocator> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_of_a_program_with_a_difficult_name() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 4 0 12345 4096000 99 1844";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.cpu_ticks, stat.start_ticks, stat.virtual_bytes), (400.0, 12345.0, 4096000.0));
        assert!(Stat::parse("7 (a) S 1").is_none());
        assert!(Stat::parse("").is_none());
    }

    #[test]
    fn limits() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max open files            1024                 524288               files     \n\
                    Max address space         unlimited            unlimited            bytes     \n";
        assert_eq!(soft_limit(text, "Max open files"), Some(1024.0));
        assert_eq!(soft_limit(text, "Max address space"), Some(18446744073709551615.0));
        assert_eq!(soft_limit(text, "Max nothing"), None);
    }

    #[test]
    fn memory_and_network() {
        assert_eq!(resident_bytes("VmHWM:\t  9 kB\nVmRSS:\t    3 kB\n"), Some(3072.0));
        let netstat = "TcpExt: A B\nTcpExt: 1 2\nIpExt: InNoRoutes InOctets OutOctets\nIpExt: 0 55 66\n";
        assert_eq!(network_bytes(netstat, "InOctets"), Some(55.0));
        assert_eq!(network_bytes(netstat, "OutOctets"), Some(66.0));
        assert_eq!(network_bytes("IpExt: InOctets\n", "InOctets"), None);
    }

    #[test]
    #[cfg(not(miri))]
    fn the_allocator_counts_and_purges_on_threads_of_its_own() {
        assert!(Allocator::read().unwrap().resident_bytes > 0.0);
        assert!(tikv_jemalloc_ctl::background_thread::read().unwrap());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process() {
        let process = Process::read();
        assert!(process.open_fds.unwrap() >= 3.0);
        assert!(process.resident_bytes.unwrap() > 0.0);
        assert!(process.virtual_bytes.unwrap() > process.resident_bytes.unwrap());
        assert!(process.start_seconds.unwrap() > 1.5e9);
        assert!(process.cpu_seconds.is_some() && process.max_fds.is_some());
    }
}
