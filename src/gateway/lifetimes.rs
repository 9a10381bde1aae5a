//! For how long groups live, and that they end.

use std::sync::Arc;

use crate::clock::{Now, UnixNanos};
use crate::lifetimes::Lifetimes;
use crate::model::{GroupingKey, Lifetime, Term};
use crate::store::life::Life;
use crate::store::view::GroupView;

use super::{Ending, Gateway};

impl Gateway {
    /// Asks `lifetimes` for how long groups live. Groups of which nothing was ever said, as those of a time
    /// before lifetimes were asked for, live from now.
    #[must_use]
    pub fn with_lifetimes(self, lifetimes: Arc<Lifetimes>) -> Gateway {
        self.telemetry.enable_lifetimes();
        let gateway = Gateway { lifetimes: Some(lifetimes), ..self };
        let now = gateway.store.now();
        for group in gateway.store.groups() {
            let Some(state) = group.load().filter(|state| state.life.term().is_none()) else { continue };
            let life = gateway.life(&group.key, None, None, now);
            if life.term().is_some() {
                gateway.store.outlive(&group, &state, life);
            }
        }
        gateway
    }

    /// Ends groups at the end of their lifetime from here on, on a thread of its own. To be called when
    /// everything else is set.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn keep_house(&self) -> std::io::Result<()> {
        self.housekeeper.start()
    }

    /// Ends every group that is due now.
    pub fn tend(&self) {
        self.housekeeper.tend();
    }

    /// The life that a push at `now` gives the group `key`.
    pub(super) fn life(
        &self,
        key: &GroupingKey,
        push: Option<Lifetime>,
        plugin: Option<Lifetime>,
        now: Now,
    ) -> Life {
        let term = match &self.lifetimes {
            None => plugin.or(push).map(|lifetime| Term { lifetime, ..Term::default() }),
            Some(lifetimes) => lifetimes.term(key, push, plugin),
        };
        // Most pushes end here; the others need to know the time.
        term.map_or_else(Life::default, |term| Life::new(term, self.store.running_at(now)))
    }

    /// When a group ends, if it does.
    pub fn ending(&self, group: &GroupView, now: Now) -> Option<Ending> {
        let life = group.life();
        let (due, running) = (life.due()?, self.store.running_at(now));
        let left = running.until(due).as_nanos() as u64;
        let gone = due.until(running).as_nanos() as u64;
        let at = UnixNanos(now.wall.0.saturating_add(left).saturating_sub(gone));
        Some(Ending { lifetime: life.term()?.lifetime, at, overdue: life.is_overdue() })
    }
}
