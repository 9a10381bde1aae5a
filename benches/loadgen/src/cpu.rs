//! CPU time from the scheduler's clocks, in nanoseconds.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// CPU used so far, user and system, by all threads, ended ones too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    pub own: Duration,
    /// Of the server's processes together, if they are known.
    pub server: Option<Duration>,
}

impl Clocks {
    /// Reads all clocks.
    ///
    /// # Errors
    ///
    /// A process of the server is gone.
    pub fn read(server: &[i32]) -> Result<Clocks, String> {
        let read = |clock: ClockId| clock_gettime(clock).map(Duration::from);
        let own = read(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_err(|error| format!("own clock: {error}"))?;
        let of = |pid: &i32| ClockId::pid_cpu_clock_id(Pid::from_raw(*pid)).and_then(read);
        let all: Result<Duration, _> = server.iter().map(of).sum();
        let all = all.map_err(|error| format!("the server's clock: {error}"))?;
        Ok(Clocks { own, server: (!server.is_empty()).then_some(all) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_this_and_of_another_process() {
        let me = std::process::id() as i32;
        let clocks = Clocks::read(&[me]).unwrap();
        assert!(clocks.own > Duration::ZERO && clocks.server.unwrap() >= clocks.own);
        assert!(Clocks::read(&[me, me]).unwrap().server.unwrap() >= clocks.own * 2);
        assert!(Clocks::read(&[]).unwrap().server.is_none());
        // Linux numbers no process above 2^22.
        assert!(Clocks::read(&[me, (1 << 22) + 1]).is_err());
    }
}
