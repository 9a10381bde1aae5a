//! The files of the server that hold atomics of our own, with their loom tests.

#[path = "../../../src/store/feed.rs"]
pub mod feed;

#[path = "../../../src/plugin/shared/sketch.rs"]
pub mod sketch;

#[path = "../../../src/plugin/shared/words.rs"]
pub mod words;

#[cfg(all(test, loom))]
mod scrape;

#[cfg(all(test, loom))]
mod shared;
