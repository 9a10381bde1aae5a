//! CPU time from the scheduler's clocks, in nanoseconds.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// CPU used so far, user and system, by all threads, ended ones too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    pub own: Duration,
    /// Of the server, if it is known.
    pub server: Option<Duration>,
}

impl Clocks {
    /// Reads both clocks.
    ///
    /// # Errors
    ///
    /// The server's process is gone.
    pub fn read(server: Option<i32>) -> Result<Clocks, String> {
        let read = |clock: ClockId| clock_gettime(clock).map(Duration::from);
        let own = read(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_err(|error| format!("own clock: {error}"))?;
        let server = server
            .map(|pid| ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).and_then(read))
            .transpose()
            .map_err(|error| format!("the server's clock: {error}"))?;
        Ok(Clocks { own, server })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_this_and_of_another_process() {
        let clocks = Clocks::read(Some(std::process::id() as i32)).unwrap();
        assert!(clocks.own > Duration::ZERO && clocks.server.unwrap() >= clocks.own);
        // Linux numbers no process above 2^22.
        assert!(Clocks::read(Some((1 << 22) + 1)).is_err());
    }
}
