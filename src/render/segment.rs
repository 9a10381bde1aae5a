//! A run of fragments of one family, and their bytes as long as nothing in them changed.

use bytes::Bytes;

use super::negotiate::Form;

/// Where a new fragment no longer fits. Large enough that a scrape of a million series is a few
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
    /// How many fragments are exotic.
    exotic: usize,
    /// What it renders to, by form; emptied when anything changes.
    rendered: Vec<(Form, Bytes)>,
}

impl Segment {
    /// Whether it shows nothing. A family pushed without series has a fragment, but nothing to show.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub fn has_room(&self) -> bool {
        self.bytes < SEGMENT_BYTES
    }

    pub fn add(&mut self, fragment: Fragment) {
        self.bytes += fragment.bytes as usize;
        self.exotic += usize::from(fragment.exotic);
        self.fragments.push(fragment);
        self.touch();
    }

    /// Takes out the fragment of `group`.
    pub fn remove(&mut self, group: u32) {
        let at = self.fragments.iter().position(|fragment| fragment.group == group);
        let fragment = self.fragments.swap_remove(at.expect("the index knows where its fragments are"));
        self.bytes -= fragment.bytes as usize;
        self.exotic -= usize::from(fragment.exotic);
        self.touch();
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

    /// Forgets its bytes: something in it changed.
    pub fn touch(&mut self) {
        self.rendered.clear();
    }

    /// Its bytes in `form`, made by `render` if they are not there. Without exotic names every
    /// escaping gives the same bytes, which are then kept once.
    pub fn rendered(
        &mut self,
        form: Form,
        header_exotic: bool,
        render: impl FnOnce(&[Fragment]) -> Bytes,
    ) -> Bytes {
        let form = if self.exotic == 0 && !header_exotic { form.unescaped() } else { form };
        if let Some((_, bytes)) = self.rendered.iter().find(|(known, _)| *known == form) {
            return bytes.clone();
        }
        let bytes = render(&self.fragments);
        self.rendered.push((form, bytes.clone()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(group: u32, bytes: u32) -> Fragment {
        Fragment { group, block: 0, family: 0, bytes, exotic: false }
    }

    #[test]
    fn bytes_are_kept_until_something_changes() {
        let form = Form::TEXT;
        let mut segment = Segment::default();
        segment.add(fragment(1, 10));
        assert_eq!(segment.rendered(form, false, |_| "one".into()), "one");
        assert_eq!(segment.rendered(form, false, |_| unreachable!("kept")), "one");
        segment.replace(fragment(1, SEGMENT_BYTES as u32));
        assert!(!segment.has_room());
        assert_eq!(segment.rendered(form, false, |_| "two".into()), "two");
        segment.remove(1);
        assert!(segment.has_room() && segment.fragments.is_empty() && segment.bytes == 0);
    }
}
