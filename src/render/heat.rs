//! How often a group changes, counted in scrapes.

/// A group is hot when it changed in several scrape intervals on end, and cools when it was quiet for
/// some.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heat {
    last_round: u32,
    /// Rounds with a change, with no longer pause than one round between them.
    streak: u8,
    hot: bool,
}

/// Rounds with changes after which a group is worth moving.
const STREAK_MIN: u8 = 3;

impl Heat {
    /// Rounds without a change after which a group is quiet again.
    pub const COOLING_ROUNDS: u32 = 16;

    /// Notes a change in `round`; true if it is the first one there.
    pub fn change(&mut self, round: u32) -> bool {
        if self.streak > 0 && self.last_round == round {
            return false;
        }
        let goes_on = round.wrapping_sub(self.last_round) <= 2;
        self.streak = if goes_on { self.streak.saturating_add(1) } else { 1 };
        self.last_round = round;
        true
    }

    /// Whether the group changes often and is not among its like yet.
    pub fn wants_to_move(self, round: u32) -> bool {
        !self.hot && self.last_round == round && self.streak >= STREAK_MIN
    }

    pub fn has_cooled(self, round: u32) -> bool {
        round.wrapping_sub(self.last_round) > Heat::COOLING_ROUNDS
    }

    pub fn is_hot(self) -> bool {
        self.hot
    }

    pub fn moved(&mut self, hot: bool) {
        self.hot = hot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_changes_every_time_becomes_hot_and_cools() {
        let mut heat = Heat::default();
        for round in 10..13 {
            assert!(!heat.wants_to_move(round));
            assert!(heat.change(round));
            assert!(!heat.change(round), "once a round");
        }
        assert!(heat.wants_to_move(12));
        heat.moved(true);
        assert!(!heat.wants_to_move(12) && heat.is_hot());
        assert!(!heat.has_cooled(12 + Heat::COOLING_ROUNDS) && heat.has_cooled(13 + Heat::COOLING_ROUNDS));
    }

    #[test]
    fn a_group_that_changes_now_and_then_does_not() {
        let mut heat = Heat::default();
        for round in (0..100).step_by(5) {
            heat.change(round);
            assert!(!heat.wants_to_move(round));
        }
    }
}
