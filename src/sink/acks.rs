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
//! One wake per thread and batch: the waiters of a thread share one channel to the committer, and
//! whichever of them is woken wakes the others, which costs no system call.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::task::{Context, Poll, Waker};

use crossbeam_queue::SegQueue;
use futures_channel::oneshot;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Durable,
    /// It may be on the disk or not.
    Unknown,
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
    wakers: Vec<Waker>,
    /// Raised whenever the wakers are taken out to be woken.
    round: u64,
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
        if self.durable.load(Ordering::Acquire) >= ticket {
            return Some(Outcome::Durable);
        }
        (self.settled.load(Ordering::Acquire) >= ticket).then_some(Outcome::Unknown)
    }

    /// Resolves once the batch of `ticket` is settled.
    pub fn wait(&self, ticket: u64) -> Wait<'_> {
        Wait { acks: self, ticket, place: None }
    }
}

/// See [`Acks::wait`].
pub struct Wait<'a> {
    acks: &'a Acks,
    ticket: u64,
    /// Where its waker stands among those of the thread, and in which round; `None` if it never waited
    /// or has nothing more to wait for.
    place: Option<(u64, usize)>,
}

impl Future for Wait<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        if let Some(outcome) = self.acks.outcome(self.ticket) {
            return self.done(outcome, context);
        }
        let fired = HERE.with_borrow_mut(|here| here.listen(self.acks, context));
        if fired {
            // The one wake of this thread. Others may have waited for that batch.
            wake_all(Some(context.waker()));
        }
        self.place = Some(HERE.with_borrow_mut(|here| here.enlist(self.place, context.waker())));
        // Entered: from here on a batch that settles is a wake. One that settled just before is not.
        fence(Ordering::SeqCst);
        match self.acks.outcome(self.ticket) {
            None => Poll::Pending,
            Some(outcome) => self.done(outcome, context),
        }
    }
}

impl Wait<'_> {
    fn done(&mut self, outcome: Outcome, context: &Context<'_>) -> Poll<Outcome> {
        self.place = None;
        wake_all(Some(context.waker()));
        Poll::Ready(outcome)
    }
}

impl Drop for Wait<'_> {
    /// This may be the waiter that the channel wakes, or has just woken, so the others look again.
    fn drop(&mut self) {
        if self.place.is_some() {
            wake_all(None);
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
    fn enlist(&mut self, place: Option<(u64, usize)>, waker: &Waker) -> (u64, usize) {
        match place {
            Some((round, at)) if round == self.round => {
                self.wakers[at].clone_from(waker);
                (round, at)
            }
            _ => {
                self.wakers.push(waker.clone());
                (self.round, self.wakers.len() - 1)
            }
        }
    }
}

/// Wakes the waiters of this thread but for the one that is running.
fn wake_all(running: Option<&Waker>) {
    // Taken out first: waking may run anything. A thread that is being torn down has no waiters left.
    let wakers = HERE.try_with(|here| {
        let mut here = here.borrow_mut();
        here.round += 1;
        std::mem::take(&mut here.wakers)
    });
    for waker in wakers.into_iter().flatten() {
        if !running.is_some_and(|running| waker.will_wake(running)) {
            waker.wake();
        }
    }
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

    struct Waiter<'a> {
        wait: Wait<'a>,
        wakes: Arc<Counted>,
    }

    impl<'a> Waiter<'a> {
        fn new(acks: &'a Acks) -> Waiter<'a> {
            Waiter { wait: acks.wait(acks.ticket()), wakes: Arc::default() }
        }

        fn poll(&mut self) -> Poll<Outcome> {
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
        assert_eq!(stays.wakes(), 1, "it must take the place of the one that went");
        assert!(stays.poll().is_pending());
        acks.settle(acks.begin(), Outcome::Durable);
        assert_eq!(stays.wakes(), 2);
    }
}
