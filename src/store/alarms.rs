//! When groups end, without looking at all of them: each that will has one alarm, and only the nearest
//! alarms are looked at.
//!
//! # Protocol
//!
//! A group's mark holds the time of its one live alarm. A push publishes its state and then lowers the
//! mark to the new end; only if that made it lower is an alarm queued, so a steady pusher, whose end
//! moves away, queues nothing. The housekeeper takes an alarm, clears the mark and only *then* loads the
//! state; if its end is not there yet, the alarm is set anew. Both touch the mark by read-modify-write, so
//! one of the two holds: the push came first and the housekeeper sees its state, or the housekeeper came
//! first and the push finds the mark clear.
//!
//! An alarm whose time is not its group's mark was overtaken by a nearer one and means nothing. Such
//! alarms, and those of groups that are gone, are thrown out before they are more than the groups.

use std::cmp::{Ordering as Order, Reverse};
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use crossbeam_queue::SegQueue;

use super::Store;
use super::group::{Group, GroupState};
use super::life::Life;
use crate::clock::Running;

/// The mark of a group without an alarm.
const CLEAR: u64 = u64::MAX;

/// Alarms that are never worth sorting out.
const ALARMS_FEW: usize = 1024;

/// A group's live alarm.
#[derive(Debug)]
pub(super) struct Mark(AtomicU64);

impl Default for Mark {
    fn default() -> Mark {
        Mark(AtomicU64::new(CLEAR))
    }
}

/// An alarm: the nearest is the greatest.
struct Alarm {
    at: Running,
    group: Arc<Group>,
}

impl Alarm {
    fn is_live(&self) -> bool {
        self.group.alarm.0.load(Ordering::Relaxed) == self.at.0 && self.group.state.read(|_, sealed| !sealed)
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Alarm) -> bool {
        self.at == other.at
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Alarm) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Alarm) -> Order {
        Reverse(self.at).cmp(&Reverse(other.at))
    }
}

/// Between pushes and the housekeeper.
#[derive(Default)]
pub(super) struct Alarms {
    set: SegQueue<Alarm>,
    /// Whether there ever was one.
    used: AtomicBool,
    /// Who waits for alarms, and until when it sleeps: an alarm before that wakes it.
    sleeper: OnceLock<Thread>,
    sleeps_until: AtomicU64,
}

impl Alarms {
    /// Sees to it that the housekeeper learns of the end of `group`, which was just published.
    pub(super) fn set(&self, group: &Arc<Group>, life: Life) {
        let Some(at) = life.alarm() else { return };
        if group.alarm.0.fetch_min(at.0, Ordering::AcqRel) <= at.0 {
            return;
        }
        self.used.store(true, Ordering::Relaxed);
        self.set.push(Alarm { at, group: group.clone() });
        // Pairs with the one in `may_sleep`: either it sees the alarm, or this sees that it sleeps.
        fence(Ordering::SeqCst);
        if at.0 < self.sleeps_until.load(Ordering::Relaxed)
            && let Some(sleeper) = self.sleeper.get()
        {
            sleeper.unpark();
        }
    }
}

/// The housekeeper's alarms.
#[derive(Default)]
pub struct Timer {
    alarms: BinaryHeap<Alarm>,
}

impl Timer {
    /// When the next alarm rings.
    pub fn next(&self) -> Option<Running> {
        self.alarms.peek().map(|alarm| alarm.at)
    }
}

impl Store {
    /// Whether any group ever had a lifetime that ends.
    pub fn has_lifetimes(&self) -> bool {
        self.alarms.used.load(Ordering::Relaxed)
    }

    /// The calling thread is woken from now on when an alarm is set that rings before it wakes by itself.
    pub fn wake_me_for_alarms(&self) {
        // Two housekeepers would be a fault; the first one stays.
        let _ = self.alarms.sleeper.set(std::thread::current());
    }

    /// Whether the housekeeper may sleep until `until` (`None`: until it is woken).
    pub fn may_sleep(&self, until: Option<Running>) -> bool {
        self.alarms.sleeps_until.store(until.map_or(u64::MAX, |until| until.0), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.alarms.set.is_empty()
    }

    /// A group whose end has come at `now`, with the state that says so.
    pub fn next_due(&self, timer: &mut Timer, now: Running) -> Option<(Arc<Group>, GroupState)> {
        self.alarms.sleeps_until.store(0, Ordering::Relaxed);
        while let Some(alarm) = self.alarms.set.pop() {
            timer.alarms.push(alarm);
        }
        if timer.alarms.len() > ALARMS_FEW + 2 * self.groups_count() as usize {
            timer.alarms.retain(Alarm::is_live);
            timer.alarms.shrink_to_fit();
        }
        while timer.next().is_some_and(|at| at <= now) {
            let Some(Alarm { at, group }) = timer.alarms.pop() else { break };
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            if group.alarm.0.compare_exchange(at.0, CLEAR, success, failure).is_err() {
                continue;
            }
            let Some(state) = group.load() else { continue };
            let Some(due) = state.life.alarm() else { continue };
            if due <= now {
                return Some((group, state));
            }
            if group.alarm.0.fetch_min(due.0, Ordering::AcqRel) > due.0 {
                timer.alarms.push(Alarm { at: due, group });
            }
        }
        None
    }
}
