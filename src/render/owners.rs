//! Who shows a series, where several groups hold it.
//!
//! Only needed while pushes are not checked against other groups. The group that held the series first
//! shows it; the others come to the fore, in turn, when it goes. A number identifies a series: the hash
//! of its family's name and whole label set.

use std::collections::HashMap;

use smallvec::SmallVec;

#[derive(Debug, Default)]
pub struct Owners {
    holders: HashMap<u64, SmallVec<[u32; 1]>>,
    hidden: usize,
}

impl Owners {
    /// Notes that `group` holds `series`.
    pub fn add(&mut self, series: u64, group: u32) {
        let holders = self.holders.entry(series).or_default();
        holders.push(group);
        self.hidden += usize::from(holders.len() > 1);
    }

    /// Notes that `group` holds `series` no more; returns the group that shows it from now on, if
    /// that is another one than before.
    pub fn remove(&mut self, series: u64, group: u32) -> Option<u32> {
        let holders = self.holders.get_mut(&series)?;
        let at = holders.iter().position(|holder| *holder == group)?;
        self.hidden -= usize::from(holders.len() > 1);
        holders.remove(at);
        if holders.is_empty() {
            self.holders.remove(&series);
            return None;
        }
        (at == 0).then(|| holders[0])
    }

    /// Whether `group` is the one that shows `series`.
    pub fn shows(&self, series: u64, group: u32) -> bool {
        self.holders.get(&series).is_some_and(|holders| holders[0] == group)
    }

    /// How many series are hidden behind another group's.
    pub fn hidden(&self) -> usize {
        self.hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_holder_shows_a_series_until_it_goes() {
        let mut owners = Owners::default();
        owners.add(7, 1);
        owners.add(7, 2);
        owners.add(7, 3);
        assert!(owners.shows(7, 1) && !owners.shows(7, 2));
        assert_eq!(owners.hidden(), 2);
        assert_eq!(owners.remove(7, 2), None);
        assert_eq!(owners.remove(7, 1), Some(3));
        assert!(owners.shows(7, 3));
        assert_eq!(owners.remove(7, 3), None);
        assert_eq!((owners.hidden(), owners.shows(7, 3)), (0, false));
    }
}
