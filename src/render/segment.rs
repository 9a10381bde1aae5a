//! A run of fragments of one family, and their bytes as long as nothing in them changed.

use bytes::Bytes;

use super::coding::Piece;
use super::negotiate::Wanted;

/// About the most it holds, as long as one fragment is smaller: what fits in that much memory. Large enough that a scrape of a million series is a few
/// thousand slices and that compressing one alone costs nothing; small enough that one changed group
/// makes little work.
pub const SEGMENT_BYTES: usize = 16 * 1024;

/// One family of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The group's number in the index.
    pub group: u32,
    /// Which block of the group's state, and which family of its shape.
    pub block: u32,
    pub family: u32,
    /// About how many bytes it renders to.
    pub bytes: u32,
    /// Whether its text depends on the escaping that a scraper asks for.
    pub exotic: bool,
}

#[derive(Debug, Default)]
pub struct Segment {
    pub fragments: Vec<Fragment>,
    /// Sum of the fragments' sizes.
    pub bytes: usize,
    /// Whether it gathers groups that change often.
    pub hot: bool,
    /// How many fragments are exotic.
    exotic: usize,
    /// What it renders to, by answer.
    kept: Vec<(Wanted, Piece)>,
    /// Set when anything changes: `kept` is then good only for its memory.
    is_stale: bool,
}

impl Segment {
    pub fn new(hot: bool) -> Segment {
        Segment { hot, ..Segment::default() }
    }

    /// Whether it shows nothing. A family pushed without series has a fragment, but nothing to show.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether another fragment like those in it fits.
    pub fn has_room(&self) -> bool {
        self.bytes + self.bytes / self.fragments.len().max(1) <= SEGMENT_BYTES
    }

    pub fn add(&mut self, fragment: Fragment) {
        self.bytes += fragment.bytes as usize;
        self.exotic += usize::from(fragment.exotic);
        self.fragments.push(fragment);
        self.touch();
    }

    /// Takes out the fragment of `group`.
    pub fn remove(&mut self, group: u32) -> Fragment {
        let at = self.fragments.iter().position(|fragment| fragment.group == group);
        let fragment = self.fragments.swap_remove(at.expect("the index knows where its fragments are"));
        self.bytes -= fragment.bytes as usize;
        self.exotic -= usize::from(fragment.exotic);
        self.touch();
        fragment
    }

    /// Puts `fragment` in the place of the one of the same group.
    pub fn replace(&mut self, fragment: Fragment) {
        let at = self.fragments.iter().position(|old| old.group == fragment.group);
        let old = &mut self.fragments[at.expect("the index knows where its fragments are")];
        self.bytes = self.bytes - old.bytes as usize + fragment.bytes as usize;
        self.exotic = self.exotic - usize::from(old.exotic) + usize::from(fragment.exotic);
        *old = fragment;
        self.touch();
    }

    /// Something in it changed, so that its bytes are no longer shown.
    pub fn touch(&mut self) {
        self.is_stale = true;
        if self.is_empty() {
            // It may never be rendered again.
            self.kept = Vec::new();
        }
    }

    /// Under which answer its bytes are kept. Without exotic names every escaping gives the same bytes,
    /// which are then kept once.
    pub fn kept_as(&self, wanted: Wanted, exotic_name: bool) -> Wanted {
        if self.exotic == 0 && !exotic_name { wanted.unescaped() } else { wanted }
    }

    pub fn kept(&self, wanted: Wanted) -> Option<&Piece> {
        let mut kept = self.kept.iter().filter(|_| !self.is_stale);
        kept.find(|(known, _)| *known == wanted).map(|(_, piece)| piece)
    }

    /// What it rendered to for `wanted` before it changed, for its memory; the other old pieces are freed.
    pub fn take_stale(&mut self, wanted: Wanted) -> Option<Bytes> {
        if !std::mem::take(&mut self.is_stale) {
            return None;
        }
        // Giving the allocation back matters: most segments are of one answer.
        let mut old = std::mem::take(&mut self.kept).into_iter();
        old.find(|(known, _)| *known == wanted).map(|(_, piece)| piece.bytes)
    }

    pub fn keep(&mut self, wanted: Wanted, piece: Piece) {
        self.kept.reserve_exact(1);
        self.kept.push((wanted, piece));
    }

    /// Forgets the bytes kept for answers that `stays` does not name.
    pub fn forget(&mut self, stays: impl Fn(Wanted) -> bool) {
        self.kept.retain(|(wanted, _)| stays(*wanted));
    }

    /// How many bytes are kept.
    pub fn kept_bytes(&self) -> usize {
        self.kept.iter().map(|(_, piece)| piece.bytes.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::coding::Coder;
    use super::super::negotiate::{Encoding, Form};
    use super::*;

    fn fragment(group: u32, bytes: u32) -> Fragment {
        Fragment { group, block: 0, family: 0, bytes, exotic: false }
    }

    #[test]
    fn bytes_are_kept_until_something_changes() {
        let wanted = Wanted { form: Form::TEXT, encoding: Encoding::Identity };
        let piece = || Coder::default().piece(b"one", Encoding::Identity, None);
        let mut segment = Segment::default();
        segment.add(fragment(1, 10));
        assert!(segment.kept(wanted).is_none() && segment.take_stale(wanted).is_none());
        segment.keep(wanted, piece());
        assert_eq!(segment.kept(wanted).unwrap().bytes, "one");
        assert_eq!(segment.kept_bytes(), 3);
        segment.replace(fragment(1, SEGMENT_BYTES as u32));
        assert!(!segment.has_room() && segment.kept(wanted).is_none());
        assert_eq!(segment.take_stale(wanted).unwrap(), "one");
        assert!(segment.take_stale(wanted).is_none());
        segment.keep(wanted, piece());
        segment.forget(|_| false);
        assert!(segment.kept(wanted).is_none());
        segment.keep(wanted, piece());
        segment.remove(1);
        assert!(segment.has_room() && segment.fragments.is_empty() && segment.bytes == 0);
        assert_eq!(segment.kept_bytes(), 0);
    }

    #[test]
    fn a_segment_closes_before_it_outgrows_its_memory() {
        let mut segment = Segment::default();
        while segment.has_room() {
            segment.add(fragment(1, 1000));
        }
        assert_eq!(segment.bytes, 16_000);
    }
}
