//! Comparing passwords off the workers, in turn.
//!
//! bcrypt takes tens of milliseconds by design, so whoever sends wrong passwords could keep everybody
//! waiting. Addresses take turns, few comparisons wait per address, and one thread makes them, only when no
//! other thread wants to run: an attack takes one core, and that only while nobody needs it. Requests with
//! the same credentials wait for one comparison together, so that a fleet that logs in at once is not held
//! for an attack.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use futures_channel::oneshot;

use super::address::network;
use super::auth::{CredentialsKey, Rules};
use crate::limits::{PASSWORDS_WAITING_MAX, PASSWORDS_WAITING_PER_ADDRESS_MAX};

/// How the thread's priority stands below that of the workers (a difference in nice values) where the kernel
/// has no better.
const NICE: i32 = 19;

/// A comparison to be made.
pub struct Job {
    pub rules: Arc<Rules>,
    pub credentials: Vec<u8>,
    pub key: CredentialsKey,
}

/// The thread and what waits for it. It lasts as long as the process.
#[derive(Default)]
pub struct Hasher {
    queue: Mutex<Queue>,
    ready: Condvar,
}

/// The same credentials under the same rules.
type JobKey = (u64, CredentialsKey);

#[derive(Default)]
struct Queue {
    lines: HashMap<IpAddr, VecDeque<Job>>,
    /// The addresses with a line, the next one first.
    turns: VecDeque<IpAddr>,
    length: usize,
    /// Who waits for a comparison, queued or under way.
    waiting: HashMap<JobKey, Vec<oneshot::Sender<bool>>>,
}

impl Hasher {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start() -> std::io::Result<Arc<Hasher>> {
        let hasher = Arc::new(Hasher::default());
        let working = hasher.clone();
        std::thread::Builder::new().name("hasher".into()).spawn(move || {
            stand_back();
            loop {
                working.work();
            }
        })?;
        Ok(hasher)
    }

    /// Puts a comparison into the line of `peer`; none if too many wait already.
    pub fn ask(&self, job: Job, peer: IpAddr) -> Option<oneshot::Receiver<bool>> {
        let receiver = self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(job, peer)?;
        self.ready.notify_one();
        Some(receiver)
    }

    fn work(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ready.wait_while(queue, |queue| queue.turns.is_empty());
        let Some(job) = waited.unwrap_or_else(PoisonError::into_inner).pop() else { return };
        // A fault of ours in one comparison must not end the thread.
        let compare = AssertUnwindSafe(|| job.rules.compare(&job.credentials, job.key));
        let right = catch_unwind(compare).unwrap_or(false);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        for waiting in queue.waiting.remove(&(job.rules.generation, job.key)).unwrap_or_default() {
            // A client that has gone needs no answer.
            let _ = waiting.send(right);
        }
    }
}

/// From now on this thread runs when no other wants to (SCHED_IDLE of sched(7)): unlike the lowest ordinary
/// priority that makes way at once for a worker that wakes up.
fn stand_back() {
    let priority: libc::c_int = 0;
    // SAFETY: of this call the kernel only reads the `sched_param`, which is one int; 0 is this thread.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_IDLE, &raw const priority) };
    if result != 0 {
        // Without the lower priority it only takes more of the workers' time.
        let _ = rustix::process::nice(NICE);
    }
}

impl Queue {
    fn push(&mut self, job: Job, peer: IpAddr) -> Option<oneshot::Receiver<bool>> {
        let (sender, receiver) = oneshot::channel();
        let key = (job.rules.generation, job.key);
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.push(sender);
            return Some(receiver);
        }
        let address = network(peer);
        let line_length = self.lines.get(&address).map_or(0, VecDeque::len);
        if self.length >= PASSWORDS_WAITING_MAX || line_length >= PASSWORDS_WAITING_PER_ADDRESS_MAX {
            return None;
        }
        if line_length == 0 {
            self.turns.push_back(address);
        }
        self.lines.entry(address).or_default().push_back(job);
        self.length += 1;
        self.waiting.insert(key, vec![sender]);
        Some(receiver)
    }

    /// The next comparison: the first of the address whose turn it is.
    fn pop(&mut self) -> Option<Job> {
        let address = self.turns.pop_front()?;
        let line = self.lines.get_mut(&address)?;
        let job = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&address);
        } else {
            self.turns.push_back(address);
        }
        self.length -= 1;
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::web_config::WebConfig;

    fn job(number: u8) -> Job {
        let rules = Arc::new(Rules::new(
            &WebConfig::default(),
            None,
            &ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"test"),
            0,
        ));
        Job { rules, credentials: vec![number], key: [number; 32] }
    }

    /// The scheduling policies of the threads of this process that compare passwords.
    fn policies() -> Vec<i32> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok());
        stats
            .filter(|stat| stat.contains("(hasher)"))
            // Field 41 of proc_pid_stat(5); the third is the first behind the name.
            .map(|stat| stat.rsplit(") ").next().unwrap().split(' ').nth(41 - 3).unwrap().parse().unwrap())
            .collect()
    }

    #[test]
    #[cfg(not(miri))]
    fn the_thread_runs_only_when_no_other_wants_to() {
        let _hasher = Hasher::start().unwrap();
        let begun = std::time::Instant::now();
        while policies().is_empty() || policies().iter().any(|policy| *policy != libc::SCHED_IDLE) {
            assert!(begun.elapsed().as_secs() < 20, "{:?}", policies());
            std::thread::yield_now();
        }
    }

    #[test]
    fn addresses_take_turns_and_have_bounds() {
        let mut queue = Queue::default();
        let (noisy, quiet) = (IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2]));
        let mut receivers = Vec::new();
        for number in 0..PASSWORDS_WAITING_PER_ADDRESS_MAX as u8 {
            receivers.push(queue.push(job(number), noisy).unwrap());
        }
        assert!(queue.push(job(200), noisy).is_none());
        // The same credentials wait with those that are there.
        assert!(queue.push(job(0), noisy).is_some());
        assert!(queue.push(job(100), quiet).is_some());
        let order: Vec<u8> = std::iter::from_fn(|| queue.pop()).map(|job| job.key[0]).take(4).collect();
        assert_eq!(order, [0, 100, 1, 2]);
    }
}
