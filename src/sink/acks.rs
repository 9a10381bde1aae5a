//! Waiting for the disk: who waits for which batch, and who is woken when it is settled.
//!
//! # Protocol
//!
//! Batches are numbered. A pusher publishes its state, notes it on the feed, and then asks for a
//! [`ticket`](Acks::ticket): the number of the next batch to begin. Whoever commits raises the number
//! *before* taking the feed. Both touch it by read-modify-write, so a batch that begins after the ticket
//! was given sees what was noted before.
//!
//! A batch settles by being durable or by having failed. Every batch holds the newest state of all
//! groups that changed since the last one that held, so a later durable batch covers an earlier failed
//! one.
//!
//! # Waking
//!
//! One wake per thread and batch, either way. The first waiter of a thread lets whoever else is ready on
//! it go first and then calls the committer for all of them. And the waiters of a thread share one channel
//! from the committer: whichever of them is woken wakes the others, which costs no system call. So all
//! waiters of a thread wait for the same committer.
//!
//! # Deadlines
//!
//! A committer that is stuck in the disk settles nothing. A thread that [`tick`]s lets its waiters give up.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crossbeam_queue::SegQueue;
use futures_channel::oneshot;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Durable,
    /// It may be on the disk or not.
    Unknown,
    /// The batch was not settled in time.
    Late,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Acks {
    begun: AtomicU64,
    /// Batches up to this one are durable or have failed.
    settled: AtomicU64,
    /// Everything up to this batch is durable.
    durable: AtomicU64,
    /// One for each thread that has waiters.
    threads: SegQueue<oneshot::Sender<()>>,
}

thread_local! {
    static HERE: RefCell<Here> = RefCell::default();
}

/// The waiters of one thread.
#[derive(Default)]
struct Here {
    signal: Option<oneshot::Receiver<()>>,
    /// `None` for waiters that have gone.
    wakers: Vec<Option<Waker>>,
    /// Raised whenever the wakers are taken out to be woken.
    round: u64,
    /// Whether a waiter is about to call the committer.
    is_gathering: bool,
    /// As of the last tick; `None` on threads that do not tick.
    now: Option<Instant>,
    /// Since when the one of the wakers that has waited longest does.
    oldest: Option<Instant>,
}

/// Tells the waiters of this thread what time it is; those that have waited for `limit` give up.
pub fn tick(now: Instant, limit: Duration) {
    let is_late = HERE.with_borrow_mut(|here| {
        here.now = Some(now);
        here.oldest.is_some_and(|since| now.saturating_duration_since(since) >= limit)
    });
    if is_late {
        wake_all();
    }
}

impl Acks {
    /// The batch that will hold everything this thread has noted so far.
    pub fn ticket(&self) -> u64 {
        self.begun.fetch_add(0, Ordering::AcqRel) + 1
    }

    /// Begins a batch; take the feed after this call. Returns its number.
    pub fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Settles `batch` and wakes whoever waits. Only one thread settles.
    pub fn settle(&self, batch: u64, outcome: Outcome) {
        if outcome == Outcome::Durable {
            self.durable.store(batch, Ordering::Release);
        }
        self.settled.store(batch, Ordering::Release);
        // A waiter enters its channel, then looks here once more; we store, then empty the queue. One
        // of the two sees the other.
        fence(Ordering::SeqCst);
        for _ in 0..self.threads.len() {
            let Some(thread) = self.threads.pop() else { break };
            // A thread without waiters needs no wake.
            let _ = thread.send(());
        }
    }

    fn outcome(&self, ticket: u64) -> Option<Outcome> {
        // In this order: whoever sees a batch settled sees whether it is durable, since that is stored
        // first. The other way round a batch that becomes durable in between looks failed.
        let settled = self.settled.load(Ordering::Acquire) >= ticket;
        if self.durable.load(Ordering::Acquire) >= ticket {
            return Some(Outcome::Durable);
        }
        settled.then_some(Outcome::Unknown)
    }

    /// Resolves once the batch of `ticket` is settled, or `limit` is over. `call` wakes the committer.
    pub fn wait<C: Fn()>(&self, ticket: u64, limit: Duration, call: C) -> Wait<'_, C> {
        Wait { acks: self, ticket, limit, call, stage: Stage::New, since: None }
    }
}

/// See [`Acks::wait`].
pub struct Wait<'a, C: Fn()> {
    acks: &'a Acks,
    ticket: u64,
    limit: Duration,
    call: C,
    stage: Stage,
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    /// To call the committer when it is polled next.
    Gathering,
    /// Its waker stands in this place among those of this round.
    Listening {
        round: u64,
        at: usize,
    },
    /// It has nothing more to wait for.
    Done,
}

impl<C: Fn() + Unpin> Future for Wait<'_, C> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        match self.stage {
            Stage::New if HERE.with_borrow_mut(|here| !std::mem::replace(&mut here.is_gathering, true)) => {
                self.stage = Stage::Gathering;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Stage::Gathering => self.call_committer(),
            _ => {}
        }
        if let Some(outcome) = self.acks.outcome(self.ticket) {
            return self.done(outcome);
        }
        if HERE.with_borrow_mut(|here| here.listen(self.acks, context)) {
            // The one wake of this thread. Others may have waited for that batch.
            wake_all();
        }
        let is_late = HERE.with_borrow_mut(|here| {
            self.since = self.since.or(here.now);
            self.stage = here.enlist(self.stage, self.since, context.waker());
            let waited = here.now.zip(self.since).map(|(now, since)| now.saturating_duration_since(since));
            waited.is_some_and(|waited| waited >= self.limit)
        });
        // Entered: from here on a batch that settles is a wake. One that settled just before is not.
        fence(Ordering::SeqCst);
        match self.acks.outcome(self.ticket) {
            Some(outcome) => self.done(outcome),
            None if is_late => self.done(Outcome::Late),
            None => Poll::Pending,
        }
    }
}

impl<C: Fn()> Wait<'_, C> {
    fn call_committer(&mut self) {
        HERE.with_borrow_mut(|here| here.is_gathering = false);
        self.stage = Stage::New;
        (self.call)();
    }

    fn done(&mut self, outcome: Outcome) -> Poll<Outcome> {
        self.leave();
        Poll::Ready(outcome)
    }

    /// This may be the waiter that the channel wakes, or has just woken; another takes its place.
    fn leave(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        // A thread that is being torn down has no waiters left.
        let fired = HERE.try_with(|here| here.borrow_mut().leave(stage));
        if fired.unwrap_or(false) {
            wake_all();
        }
    }
}

impl<C: Fn()> Drop for Wait<'_, C> {
    fn drop(&mut self) {
        match self.stage {
            // Others count on it.
            Stage::Gathering => self.call_committer(),
            Stage::Listening { .. } => self.leave(),
            Stage::New | Stage::Done => {}
        }
    }
}

impl Here {
    /// Has the channel wake whoever is running; true if it had a wake to tell of.
    fn listen(&mut self, acks: &Acks, context: &mut Context<'_>) -> bool {
        let mut fired = false;
        loop {
            let signal = self.signal.get_or_insert_with(|| {
                let (sender, receiver) = oneshot::channel();
                acks.threads.push(sender);
                receiver
            });
            // The last one to poll the channel is the one it wakes.
            if Pin::new(signal).poll(context).is_pending() {
                return fired;
            }
            self.signal = None;
            fired = true;
        }
    }

    /// Keeps a waker, in the place that it has already if it has one.
    fn enlist(&mut self, stage: Stage, since: Option<Instant>, waker: &Waker) -> Stage {
        self.oldest = self.oldest.into_iter().chain(since).min();
        match stage {
            Stage::Listening { round, at } if round == self.round => {
                self.wakers[at] = Some(waker.clone());
                stage
            }
            _ => {
                self.wakers.push(Some(waker.clone()));
                Stage::Listening { round: self.round, at: self.wakers.len() - 1 }
            }
        }
    }

    /// Strikes a waiter off, and has the channel wake another; true if it has fired already.
    fn leave(&mut self, stage: Stage) -> bool {
        if let Stage::Listening { round, at } = stage
            && round == self.round
        {
            self.wakers[at] = None;
        }
        let Some(signal) = &mut self.signal else { return false };
        let other = self.wakers.iter().rev().flatten().next().unwrap_or(Waker::noop());
        let fired = Pin::new(signal).poll(&mut Context::from_waker(other)).is_ready();
        if fired {
            self.signal = None;
        }
        fired
    }
}

/// Wakes the waiters of this thread.
fn wake_all() {
    // Taken out first: waking may run anything. A thread that is being torn down has no waiters left.
    let wakers = HERE.try_with(|here| {
        let mut here = here.borrow_mut();
        here.round += 1;
        here.oldest = None;
        std::mem::take(&mut here.wakers)
    });
    wakers.into_iter().flatten().flatten().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    const LIMIT: Duration = Duration::from_secs(10);

    type Call = Box<dyn Fn()>;

    struct Waiter<'a> {
        wait: Wait<'a, Call>,
        wakes: Arc<Counted>,
        calls: Arc<Counted>,
    }

    impl<'a> Waiter<'a> {
        fn new(acks: &'a Acks) -> Waiter<'a> {
            let calls = Arc::<Counted>::default();
            let counted = calls.clone();
            let call: Call = Box::new(move || counted.clone().wake());
            Waiter { wait: acks.wait(acks.ticket(), LIMIT, call), wakes: Arc::default(), calls }
        }

        /// Polls until it is its turn to wait; the wakes by which it let others go first do not count.
        fn poll(&mut self) -> Poll<Outcome> {
            let outcome = self.poll_once();
            if self.wait.stage == Stage::Gathering {
                self.wakes.0.fetch_sub(1, Ordering::SeqCst);
                return self.poll_once();
            }
            outcome
        }

        fn poll_once(&mut self) -> Poll<Outcome> {
            let waker = self.wakes.clone().into();
            Pin::new(&mut self.wait).poll(&mut Context::from_waker(&waker))
        }

        fn wakes(&self) -> usize {
            self.wakes.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn one_wake_from_outside_reaches_every_waiter_of_the_thread() {
        let acks = Acks::default();
        let mut waiters: Vec<Waiter<'_>> = (0..5).map(|_| Waiter::new(&acks)).collect();
        for waiter in &mut waiters {
            assert!(waiter.poll().is_pending());
        }
        let batch = acks.begin();
        std::thread::scope(|scope| scope.spawn(|| acks.settle(batch, Outcome::Durable)).join().unwrap());
        assert_eq!(waiters.iter().map(Waiter::wakes).sum::<usize>(), 1);
        let woken = waiters.iter().position(|waiter| waiter.wakes() == 1).unwrap();
        assert_eq!(waiters[woken].poll(), Poll::Ready(Outcome::Durable));
        assert!(waiters.iter().all(|waiter| waiter.wakes() == 1));
        for waiter in &mut waiters {
            assert_eq!(waiter.poll(), Poll::Ready(Outcome::Durable));
        }
    }

    #[test]
    fn a_batch_under_way_is_not_enough() {
        let acks = Acks::default();
        let first = acks.begin();
        let mut late = Waiter::new(&acks);
        acks.settle(first, Outcome::Durable);
        assert!(late.poll().is_pending());
        acks.settle(acks.begin(), Outcome::Durable);
        assert_eq!(late.wakes(), 1);
        assert_eq!(late.poll(), Poll::Ready(Outcome::Durable));
    }

    #[test]
    fn whoever_waits_for_a_later_batch_passes_the_wake_on() {
        let acks = Acks::default();
        let mut early = Waiter::new(&acks);
        assert!(early.poll().is_pending());
        let batch = acks.begin();
        let mut late = Waiter::new(&acks);
        assert!(late.poll().is_pending());
        acks.settle(batch, Outcome::Durable);
        assert_eq!((early.wakes(), late.wakes()), (0, 1));
        assert!(late.poll().is_pending());
        assert_eq!(early.wakes(), 1);
        assert_eq!(early.poll(), Poll::Ready(Outcome::Durable));
        acks.settle(acks.begin(), Outcome::Durable);
        assert_eq!(late.poll(), Poll::Ready(Outcome::Durable));
    }

    #[test]
    fn failures_are_told_and_later_success_covers_them() {
        let acks = Acks::default();
        let (mut quick, mut slow) = (Waiter::new(&acks), Waiter::new(&acks));
        acks.settle(acks.begin(), Outcome::Unknown);
        assert_eq!(quick.poll(), Poll::Ready(Outcome::Unknown));
        acks.settle(acks.begin(), Outcome::Durable);
        assert_eq!(slow.poll(), Poll::Ready(Outcome::Durable));
    }

    #[test]
    fn a_waiter_that_goes_leaves_nobody_asleep() {
        let acks = Acks::default();
        let (mut stays, mut goes) = (Waiter::new(&acks), Waiter::new(&acks));
        assert!(stays.poll().is_pending() && goes.poll().is_pending());
        drop(goes);
        acks.settle(acks.begin(), Outcome::Durable);
        assert_eq!(stays.wakes(), 1, "it must take the place of the one that went");
        let (mut woken, mut other) = (Waiter::new(&acks), Waiter::new(&acks));
        assert!(other.poll().is_pending() && woken.poll().is_pending());
        acks.settle(acks.begin(), Outcome::Durable);
        assert_eq!((woken.wakes(), other.wakes()), (1, 0));
        drop(woken);
        assert_eq!(other.wakes(), 1, "the one that went kept the wake to itself");
    }

    #[test]
    fn the_committer_is_called_once_for_all_that_are_ready() {
        let acks = Acks::default();
        let mut waiters: Vec<Waiter<'_>> = (0..4).map(|_| Waiter::new(&acks)).collect();
        let calls = |waiters: &[Waiter<'_>]| -> usize {
            waiters.iter().map(|waiter| waiter.calls.0.load(Ordering::SeqCst)).sum()
        };
        for waiter in &mut waiters {
            assert!(waiter.poll_once().is_pending());
        }
        assert_eq!((waiters[0].wakes(), calls(&waiters)), (1, 0));
        assert!(waiters[0].poll_once().is_pending());
        assert_eq!(calls(&waiters), 1);
        // The next turn calls again; and who goes away before it called, calls.
        let mut late = Waiter::new(&acks);
        assert!(late.poll_once().is_pending());
        let called = late.calls.clone();
        drop(late);
        assert_eq!(called.0.load(Ordering::SeqCst), 1);
        acks.settle(acks.begin(), Outcome::Durable);
        for waiter in &mut waiters {
            assert_eq!(waiter.poll(), Poll::Ready(Outcome::Durable));
        }
    }

    #[test]
    fn whoever_waits_too_long_gives_up() {
        let acks = Acks::default();
        let begun = Instant::now();
        tick(begun, LIMIT);
        let mut early = Waiter::new(&acks);
        assert!(early.poll().is_pending());
        tick(begun + LIMIT / 2, LIMIT);
        let mut late = Waiter::new(&acks);
        assert!(late.poll().is_pending());
        assert_eq!((early.wakes(), late.wakes()), (0, 0));
        tick(begun + LIMIT, LIMIT);
        assert_eq!(early.poll(), Poll::Ready(Outcome::Late));
        assert!(late.poll().is_pending());
        acks.settle(acks.begin(), Outcome::Durable);
        assert_eq!(late.poll(), Poll::Ready(Outcome::Durable));
    }
}
