//! A page of groups: those that match a search, in an order, from a position on.
//!
//! Made for a person in front of a hundred thousand groups: what is looked at of a group that is not shown
//! is its key, its times and the names of its families, and only the groups of the page are sorted.
//! Takes milliseconds there, so it does not belong on a worker.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::Store;
use super::group::Held;
use super::shape::Shape;
use super::view::GroupView;

/// What to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub search: Search,
    pub sort: Sort,
    /// Groups to leave out at the front.
    pub offset: usize,
    /// Groups to show at most.
    pub limit: usize,
}

/// The order of groups; those that are equal in it come by grouping key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By grouping key.
    #[default]
    Key,
    /// The longest without a push first.
    Oldest,
    Newest,
    /// The most series first.
    Largest,
    /// Those whose last push failed first, the latest failure first among them.
    Failed,
}

/// Words that must all be found in a group, whatever their case: `NAME=TEXT` in the value of that grouping
/// label, any other word in a grouping label's value or a family's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    words: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    label: Option<String>,
    /// In lower case.
    text: String,
}

/// The page, and how much there is beside it.
pub struct Listing {
    /// All groups.
    pub total: usize,
    /// Those that match the search.
    pub matched: usize,
    pub groups: Vec<GroupView>,
}

impl Search {
    pub fn new(text: &str) -> Search {
        let word = |word: &str| match word.split_once('=') {
            Some((label, text)) if !label.is_empty() => {
                Word { label: Some(label.to_owned()), text: text.trim_matches('"').to_lowercase() }
            }
            _ => Word { label: None, text: word.to_lowercase() },
        };
        Search { words: text.split_whitespace().map(word).collect() }
    }
}

impl Store {
    /// The page of groups that `query` asks for.
    pub fn list(&self, query: &Query) -> Listing {
        let groups = self.groups();
        let mut names = NameSearch::new(&query.search);
        let mut found: Vec<GroupView> = groups
            .iter()
            .filter_map(|group| group.load().map(|state| GroupView::new(group.key.clone(), state)))
            .filter(|view| names.finds(view))
            .collect();
        let matched = found.len();
        let order = |a: &GroupView, b: &GroupView| query.sort.compare(a, b);
        let end = query.offset.saturating_add(query.limit).min(matched);
        if end < matched && end > 0 {
            found.select_nth_unstable_by(end - 1, order);
        }
        found.truncate(end);
        found.sort_unstable_by(order);
        found.drain(..query.offset.min(end));
        Listing { total: groups.len(), matched, groups: found }
    }
}

impl Sort {
    fn compare(self, a: &GroupView, b: &GroupView) -> Ordering {
        let failed = |view: &GroupView| (!view.last_push_successful()).then_some(view.failure_time());
        let first = match self {
            Sort::Key => Ordering::Equal,
            Sort::Oldest => a.push_time().cmp(&b.push_time()),
            Sort::Newest => b.push_time().cmp(&a.push_time()),
            Sort::Largest => b.series_count().cmp(&a.series_count()),
            Sort::Failed => failed(b).cmp(&failed(a)),
        };
        first.then_with(|| a.key.labels().cmp(b.key.labels()))
    }
}

/// A search that remembers, for each shape, which of its words are in the names of its families: thousands
/// of groups share a shape.
struct NameSearch<'s> {
    words: &'s [Word],
    /// The shape is held, so that no other one gets its address meanwhile.
    known: HashMap<*const Shape, (Arc<Shape>, Vec<bool>)>,
}

impl<'s> NameSearch<'s> {
    fn new(search: &'s Search) -> NameSearch<'s> {
        NameSearch { words: &search.words, known: HashMap::new() }
    }

    fn finds(&mut self, view: &GroupView) -> bool {
        (0..self.words.len()).all(|at| {
            let word = &self.words[at];
            let in_labels = view.key.labels().any(|(name, value)| {
                word.label.as_deref().is_none_or(|label| label == name) && contains(value, &word.text)
            });
            in_labels || word.label.is_none() && view.held().any(|held| self.is_in_names(at, held))
        })
    }

    fn is_in_names(&mut self, at: usize, held: &Held) -> bool {
        let shape = &held.block.shape;
        let words = self.words;
        let (_, known) = self.known.entry(Arc::as_ptr(shape)).or_insert_with(|| {
            let in_names =
                |word: &Word| shape.families().iter().any(|family| contains(shape.name(family), &word.text));
            (shape.clone(), words.iter().map(in_names).collect())
        });
        // What is hidden behind another block does not count: look closer at the few that match.
        known[at] && held.families().any(|(_, family)| contains(shape.name(family), &words[at].text))
    }
}

/// Whether `lower` is in `text`, whatever its case.
fn contains(text: &str, lower: &str) -> bool {
    if text.is_ascii() {
        let (text, lower) = (text.as_bytes(), lower.as_bytes());
        lower.is_empty() || text.windows(lower.len()).any(|window| window.eq_ignore_ascii_case(lower))
    } else {
        text.to_lowercase().contains(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixNanos;
    use crate::model::{GroupingKey, NameRules};
    use crate::parse::text;
    use crate::store::Mode;

    fn store() -> Store {
        let store = Store::new(true, std::iter::empty());
        push(&store, GroupingKey::new("alpha", [("zone", "North")]), "up 1\nload 2\n", 3);
        push(&store, GroupingKey::new("beta", [("zone", "south")]), "up 1\n", 1);
        push(&store, GroupingKey::new("gamma", []), "Disk_free 1\na 1\nb 1\n", 2);
        store.stamp_failure(&GroupingKey::new("beta", [("zone", "south")]), UnixNanos(9));
        store
    }

    fn push(store: &Store, key: GroupingKey, body: &str, at: u64) {
        let families = text::parse(body.as_bytes(), NameRules::Legacy, Default::default()).unwrap();
        store.push(Mode::ReplaceFamilies, &key, &families, None, UnixNanos(at as _)).unwrap();
    }

    fn jobs(store: &Store, query: &Query) -> (usize, Vec<String>) {
        let listing = store.list(query);
        assert_eq!(listing.total, 3);
        (listing.matched, listing.groups.iter().map(|view| view.key.job().to_owned()).collect())
    }

    fn found(text: &str) -> Vec<String> {
        jobs(&store(), &Query { search: Search::new(text), limit: 10, ..Query::default() }).1
    }

    #[test]
    fn words_are_looked_for_in_keys_and_names() {
        assert_eq!(found(""), ["alpha", "beta", "gamma"]);
        assert_eq!(found("UP"), ["alpha", "beta"]);
        assert_eq!(found("disk"), ["gamma"]);
        assert_eq!(found("north up"), ["alpha"]);
        assert_eq!(found("zone=north"), ["alpha"]);
        assert_eq!(found("zone=\"South\""), ["beta"]);
        assert_eq!(found("job=a"), ["alpha", "beta", "gamma"]);
        assert!(found("zone=up").is_empty() && found("up=1").is_empty() && found("up disk").is_empty());
    }

    #[test]
    fn replaced_families_are_not_found() {
        let store = store();
        push(&store, GroupingKey::new("delta", []), "old_one 1\nkept 1\n", 5);
        push(&store, GroupingKey::new("delta", []), "old_one 1\nother 1\n", 6);
        let families = text::parse(b"new 1\n", NameRules::Legacy, Default::default()).unwrap();
        store
            .push(Mode::ReplaceGroup, &GroupingKey::new("delta", []), &families, None, UnixNanos(7))
            .unwrap();
        let query = Query { search: Search::new("old_one"), limit: 10, ..Query::default() };
        assert_eq!(store.list(&query).matched, 0);
    }

    #[test]
    fn orders_and_pages() {
        let store = store();
        let sorted = |sort| jobs(&store, &Query { sort, limit: 10, ..Query::default() }).1;
        assert_eq!(sorted(Sort::Key), ["alpha", "beta", "gamma"]);
        assert_eq!(sorted(Sort::Oldest), ["beta", "gamma", "alpha"]);
        assert_eq!(sorted(Sort::Newest), ["alpha", "gamma", "beta"]);
        assert_eq!(sorted(Sort::Largest), ["gamma", "alpha", "beta"]);
        assert_eq!(sorted(Sort::Failed), ["beta", "alpha", "gamma"]);
        let page = |offset, limit| jobs(&store, &Query { offset, limit, ..Query::default() });
        assert_eq!(page(1, 1), (3, vec!["beta".to_owned()]));
        assert_eq!(page(2, 5), (3, vec!["gamma".to_owned()]));
        assert_eq!(page(3, 5), (3, vec![]));
        assert_eq!(page(usize::MAX, usize::MAX), (3, vec![]));
        assert_eq!(page(0, 0), (3, vec![]));
    }
}
