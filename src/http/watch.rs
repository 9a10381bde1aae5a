//! One worker's connections and their deadlines.
//!
//! A timer per read would cost more than the read. Instead each connection has a slot that says what it
//! waits for and until when, and one sweep per worker shuts down the sockets that are past it: a pending
//! read then ends with nothing, a pending write with an error, and the connection finds in its slot that
//! it was timed out. The sweep also keeps the worker's clock and `Date`, so serving a request reads
//! neither.

use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::ops::Deref;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::gateway::Lease;
use crate::model::Limit;

/// How often a worker sweeps; deadlines are kept to within this.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// Length of an HTTP date.
pub const DATE_BYTES: usize = 29;

/// All connections of one worker.
pub struct Watch {
    now: Cell<Instant>,
    date: Cell<[u8; DATE_BYTES]>,
    date_second: Cell<u64>,
    stopping: Cell<bool>,
    /// Waits begun so far: it orders them where the clock is too coarse.
    waits: Cell<u64>,
    /// Connections that are writing parts of an answer, turn by turn.
    sharing: Cell<usize>,
    slots: RefCell<Slots>,
}

/// A connection's share of what the worker writes in a turn of its loop, given back when dropped.
pub struct TurnShare<'w> {
    watch: &'w Watch,
}

impl TurnShare<'_> {
    /// How many connections share a turn at present.
    pub fn shared_by(&self) -> usize {
        self.watch.sharing.get()
    }
}

impl Drop for TurnShare<'_> {
    fn drop(&mut self) {
        self.watch.sharing.set(self.watch.sharing.get() - 1);
    }
}

#[derive(Default)]
struct Slots {
    all: Vec<Option<Rc<Slot>>>,
    free: Vec<usize>,
}

/// What one connection waits for.
pub struct Slot {
    fd: RawFd,
    phase: Cell<Phase>,
    deadline: Cell<Instant>,
    /// Which wait of the watch this is.
    turn: Cell<u64>,
    expired: Cell<bool>,
    /// What the answer being written holds in memory.
    lease: RefCell<Option<Arc<Lease>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// For the first byte of a request.
    Idle,
    /// For the rest of a head or body.
    Reading,
    /// For the client to take the answer.
    Writing,
    /// For the client to agree on keys.
    Handshake,
    /// For the client to read the last answer and to close.
    Lingering,
    /// For ourselves: no deadline.
    Working,
}

impl Phase {
    /// The limit on waits of which the client is told nothing when they end.
    fn silent_limit(self) -> Option<Limit> {
        match self {
            Phase::Idle => Some(Limit::IdleDeadline),
            Phase::Writing => Some(Limit::WriteDeadline),
            Phase::Handshake => Some(Limit::HeadDeadline),
            Phase::Reading | Phase::Lingering | Phase::Working => None,
        }
    }

    /// Whether the connection can go without an answer being lost that somebody waits for.
    fn is_dispensable(self) -> bool {
        matches!(self, Phase::Idle | Phase::Lingering)
    }
}

/// A connection's place in the watch, given back when dropped. It must be dropped before the socket.
pub struct Registration {
    watch: Rc<Watch>,
    position: usize,
    slot: Rc<Slot>,
}

impl Watch {
    pub fn new() -> Rc<Watch> {
        let watch = Watch {
            now: Cell::new(Instant::now()),
            date: Cell::new([b' '; DATE_BYTES]),
            date_second: Cell::new(u64::MAX),
            stopping: Cell::new(false),
            waits: Cell::new(0),
            sharing: Cell::new(0),
            slots: RefCell::default(),
        };
        watch.read_clocks();
        Rc::new(watch)
    }

    /// Takes a connection in. `fd` must stay open until the registration is dropped.
    pub fn register(self: &Rc<Watch>, fd: RawFd) -> Registration {
        let slot = Rc::new(Slot {
            fd,
            phase: Cell::new(Phase::Working),
            deadline: Cell::new(self.now.get()),
            turn: Cell::new(0),
            expired: Cell::new(false),
            lease: RefCell::default(),
        });
        let mut slots = self.slots.borrow_mut();
        let position = slots.free.pop().unwrap_or_else(|| {
            slots.all.push(None);
            slots.all.len() - 1
        });
        slots.all[position] = Some(slot.clone());
        Registration { watch: self.clone(), position, slot }
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        let slots = self.slots.borrow();
        slots.all.len() - slots.free.len()
    }

    /// Begins a wait of `slot` that may last for `limit`.
    pub fn wait(&self, slot: &Slot, phase: Phase, limit: Duration) {
        self.waits.set(self.waits.get() + 1);
        slot.turn.set(self.waits.get());
        slot.phase.set(phase);
        slot.deadline.set(self.now.get() + limit);
        slot.expired.set(false);
    }

    /// Takes a share of each turn for a connection that has much to write.
    pub fn share_turn(&self) -> TurnShare<'_> {
        self.sharing.set(self.sharing.get() + 1);
        TurnShare { watch: self }
    }

    /// The worker's clock: as old as the last sweep at most.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// The current time as an HTTP date (RFC 9110 section 5.6.7).
    pub fn date(&self) -> [u8; DATE_BYTES] {
        self.date.get()
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Reads the clocks and ends every wait that is past its deadline. `limited` hears of those that
    /// nobody will be answered about.
    pub fn sweep(&self, limited: impl Fn(Limit)) {
        self.read_clocks();
        let now = self.now.get();
        for slot in self.slots.borrow().all.iter().flatten() {
            let late = slot.phase.get() != Phase::Working && slot.deadline.get() <= now;
            if late || slot.is_revoked() {
                if late && !slot.is_expired() {
                    slot.phase.get().silent_limit().into_iter().for_each(&limited);
                }
                slot.expire();
            }
        }
    }

    /// From now on every answer is a connection's last, and quiet connections are ended.
    pub fn stop(&self) {
        self.stopping.set(true);
        for slot in self.slots.borrow().all.iter().flatten() {
            if slot.phase.get() == Phase::Idle {
                slot.expire();
            }
        }
    }

    /// Ends every connection, whatever it does.
    pub fn end_all(&self) {
        for slot in self.slots.borrow().all.iter().flatten() {
            slot.expired.set(true);
            slot.shut(Shutdown::Both);
        }
    }

    /// Makes room by ending the connection that was quiet for longest; false if none is quiet.
    pub fn end_oldest_idle(&self) -> bool {
        let slots = self.slots.borrow();
        let oldest = slots
            .all
            .iter()
            .flatten()
            .filter(|slot| slot.phase.get().is_dispensable() && !slot.expired.get())
            .min_by_key(|slot| slot.turn.get());
        oldest.inspect(|slot| slot.expire()).is_some()
    }

    fn read_clocks(&self) {
        self.now.set(Instant::now());
        let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.date_second.replace(second) != second {
            self.date.set(http_date(second));
        }
    }
}

impl Slot {
    /// Ends the wait: what follows is our own work.
    pub fn work(&self) {
        self.phase.set(Phase::Working);
    }

    /// Lets the wait that is under way last longer.
    pub fn prolong(&self, time: Duration) {
        self.deadline.set(self.deadline.get() + time);
    }

    /// Takes the lease of the answer about to be written; `None` gives it back.
    pub fn hold(&self, lease: Option<Arc<Lease>>) {
        self.lease.replace(lease);
    }

    /// Notes that the client took so many bytes of the answer.
    pub fn note_taken(&self, bytes: usize) {
        if let Some(lease) = &*self.lease.borrow() {
            lease.note_taken(bytes);
        }
    }

    fn is_revoked(&self) -> bool {
        let writing = self.phase.get() == Phase::Writing;
        writing && self.lease.borrow().as_ref().is_some_and(|lease| lease.is_revoked())
    }

    /// Whether the current wait was ended by the sweep.
    pub fn is_expired(&self) -> bool {
        self.expired.get()
    }

    fn expire(&self) {
        if !self.expired.replace(true) {
            // An answer may still be written after a read that came to nothing.
            let how = match self.phase.get() {
                Phase::Idle | Phase::Reading | Phase::Working => Shutdown::Read,
                Phase::Writing | Phase::Handshake | Phase::Lingering => Shutdown::Both,
            };
            self.shut(how);
        }
    }

    fn shut(&self, how: Shutdown) {
        if self.fd < 0 {
            return;
        }
        // SAFETY: a slot is in the watch only while its `Registration` lives, and that is dropped before
        // the socket, so the descriptor is open and is this connection's.
        let socket = unsafe { BorrowedFd::borrow_raw(self.fd) };
        // Fails only if the peer is gone already, and then the wait has ended as well.
        let _ = socket2::SockRef::from(&socket).shutdown(how);
    }
}

impl Deref for Registration {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.slot
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut slots = self.watch.slots.borrow_mut();
        slots.all[self.position] = None;
        slots.free.push(self.position);
    }
}

fn http_date(second: u64) -> [u8; DATE_BYTES] {
    let time = jiff::Timestamp::from_second(i64::try_from(second).unwrap_or(0)).unwrap_or_default();
    let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time);
    // Only a year past 9999 would have another length, and `jiff` has none.
    text.ok().and_then(|text| text.into_bytes().try_into().ok()).unwrap_or([b' '; DATE_BYTES])
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(&http_date(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&http_date(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn a_read_past_its_deadline_ends_and_says_so() {
        let (mut ours, _theirs) = UnixStream::pair().unwrap();
        let watch = Watch::new();
        let slot = watch.register(ours.as_raw_fd());
        watch.wait(&slot, Phase::Reading, Duration::from_secs(3600));
        watch.sweep(|_| ());
        assert!(!slot.is_expired());
        watch.wait(&slot, Phase::Reading, Duration::ZERO);
        watch.sweep(|_| ());
        assert!(slot.is_expired());
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
        drop(slot);
        assert_eq!(watch.connections(), 0);
    }

    #[test]
    fn an_answer_whose_lease_is_revoked_ends() {
        use crate::render::lease::Leases;
        let mut leases = Leases::default();
        let watch = Watch::new();
        let slot = watch.register(-1);
        let (home, _renderer) = std::sync::mpsc::channel();
        let grant =
            |leases: &mut Leases| leases.grant(vec![vec![b'x'].into()].into(), home.clone(), Instant::now());
        slot.hold(Some(grant(&mut leases)));
        let _newer = grant(&mut leases);
        watch.wait(&slot, Phase::Writing, Duration::from_secs(3600));
        watch.sweep(|_| ());
        assert!(!slot.is_expired());
        leases.shrink_to(1, Instant::now());
        watch.sweep(|_| ());
        assert!(slot.is_expired());
    }

    #[test]
    fn own_work_has_no_deadline() {
        let watch = Watch::new();
        let slot = watch.register(-1);
        watch.wait(&slot, Phase::Writing, Duration::ZERO);
        slot.work();
        watch.sweep(|_| ());
        assert!(!slot.is_expired());
    }

    #[test]
    fn stopping_and_shedding_pick_quiet_connections() {
        let watch = Watch::new();
        let (old, young, busy) = (watch.register(-1), watch.register(-1), watch.register(-1));
        watch.wait(&old, Phase::Idle, Duration::from_secs(50));
        watch.wait(&young, Phase::Idle, Duration::from_secs(60));
        watch.wait(&busy, Phase::Reading, Duration::from_secs(10));
        assert!(watch.end_oldest_idle());
        assert!(old.is_expired() && !young.is_expired());
        watch.stop();
        assert!(young.is_expired() && !busy.is_expired());
        assert!(!watch.end_oldest_idle());
    }
}
