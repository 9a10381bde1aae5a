//! Whoever follows the store's changes to somewhere else than a scrape: today the disk.
//!
//! A sink pulls the names of changed groups from its feed and loads their newest states, so a slow one
//! costs freshness, never memory.

pub mod acks;
pub mod durable;
mod folder;
mod keeper;
mod log;
pub mod records;
mod restore;
mod scan;
#[cfg(test)]
pub mod scratch;
mod segment;
pub mod start;
#[cfg(test)]
mod tests;
