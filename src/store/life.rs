//! What a group's state knows of the group's end.
//!
//! It is part of the state, so that a push and the end of a group meet in one compare-and-swap: whoever
//! ends a group has judged exactly the state that the seal is put on.

use crate::clock::{Running, UnixNanos};
use crate::model::{AtEnd, Lifetime, Term};

/// Something was said about the lifetime, be it that there is no end.
const SAID: u64 = 1;
/// The group is flagged at its end, not removed.
const FLAG: u64 = 2;
/// Its end has come, and it was flagged.
const OVERDUE: u64 = 4;
/// The lifetime's milliseconds count from here up; ten years of them leave room.
const MILLIS: u32 = 3;

/// See the module. Nothing was said by default. In two words, since every state holds one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    word: u64,
    due: Running,
}

impl Life {
    /// A life that begins at `now`.
    pub fn new(term: Term, now: Running) -> Life {
        Life::restored(term, Running(now.0.saturating_add(term.lifetime.nanos())), false)
    }

    /// A life of which the end, and whether it has come, are known.
    pub fn restored(term: Term, due: Running, overdue: bool) -> Life {
        let flag = if term.action == AtEnd::Flag { FLAG } else { 0 };
        let word = term.lifetime.millis() << MILLIS | SAID | flag | if overdue { OVERDUE } else { 0 };
        let due = if term.lifetime.is_for_ever() { Running::default() } else { due };
        Life { word, due }
    }

    /// What was said; `None` if nothing was, so that the group lives for ever.
    pub fn term(self) -> Option<Term> {
        let lifetime = Lifetime::from_millis(self.word >> MILLIS).unwrap_or_default();
        let action = if self.word & FLAG != 0 { AtEnd::Flag } else { AtEnd::Remove };
        (self.word & SAID != 0).then_some(Term { lifetime, action })
    }

    /// When it ends, or has ended; `None` if it does not.
    pub fn due(self) -> Option<Running> {
        (self.word >> MILLIS != 0).then_some(self.due)
    }

    /// When something has to be done about its end; `None` if never.
    pub fn alarm(self) -> Option<Running> {
        self.due().filter(|_| !self.is_overdue())
    }

    /// Whether it is shown if the group is overdue.
    pub fn is_flagged(self) -> bool {
        self.word & FLAG != 0 && self.due().is_some()
    }

    pub fn is_overdue(self) -> bool {
        self.word & OVERDUE != 0
    }

    /// The same after its end has come.
    #[must_use]
    pub fn overdue(self) -> Life {
        Life { word: self.word | OVERDUE, ..self }
    }

    /// The same with the end that it has if it begins at `now`, should that be nearer.
    #[must_use]
    pub fn no_later_than(self, now: Running) -> Life {
        match self.term() {
            Some(term) => Life { due: self.due.min(Life::new(term, now).due), ..self },
            None => self,
        }
    }

    /// The same with another end.
    #[must_use]
    pub fn postponed(self, due: Running) -> Life {
        Life { due, ..self }
    }
}

/// When a push came, and what life it gives its group.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub at: UnixNanos,
    pub life: Life,
}

/// A push that says nothing about lifetimes.
impl From<UnixNanos> for Stamp {
    fn from(at: UnixNanos) -> Stamp {
        Stamp { at, life: Life::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_says_what_it_was_told() {
        let nothing = Life::default();
        assert_eq!((nothing.term(), nothing.due(), nothing.is_flagged()), (None, None, false));
        for action in [AtEnd::Remove, AtEnd::Flag] {
            let term = Term { lifetime: Lifetime::from_millis(5).unwrap(), action };
            let life = Life::new(term, Running(7));
            assert_eq!((life.term(), life.due()), (Some(term), Some(Running(5_000_007))));
            assert_eq!((life.is_flagged(), life.is_overdue()), (action == AtEnd::Flag, false));
            assert_eq!((life.overdue().alarm(), life.overdue().due()), (None, life.due()));
            let longest = Lifetime::from_millis(Lifetime::MILLIS_MAX).unwrap();
            let term = Term { lifetime: longest, action };
            assert_eq!(Life::new(term, Running(u64::MAX)).term(), Some(term));
            let term = Term { lifetime: Lifetime::FOR_EVER, action };
            let life = Life::new(term, Running(7));
            assert_eq!((life.term(), life.due(), life.is_flagged()), (Some(term), None, false));
        }
    }
}
