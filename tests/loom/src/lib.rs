//! The files of the server that hold atomics of our own, with their loom tests.

#[path = "../../../src/store/feed.rs"]
pub mod feed;

#[cfg(all(test, loom))]
mod scrape;
