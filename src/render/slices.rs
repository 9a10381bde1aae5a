//! The body of an answer: a list of shared slices that is never concatenated.

use std::sync::Arc;

use bytes::Bytes;

/// Shared slices, written one after the other. A clone shares the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices {
    list: Arc<[Bytes]>,
    bytes: usize,
}

impl Slices {
    pub fn list(&self) -> &[Bytes] {
        &self.list
    }

    /// The sum of their lengths.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back those that nobody else holds, and calls `pause` in between.
    pub fn free(mut self, pause: &mut dyn FnMut()) {
        for slice in Arc::get_mut(&mut self.list).into_iter().flatten() {
            *slice = Bytes::new();
            pause();
        }
    }
}

impl From<Vec<Bytes>> for Slices {
    fn from(list: Vec<Bytes>) -> Slices {
        Slices { bytes: list.iter().map(Bytes::len).sum(), list: list.into() }
    }
}
