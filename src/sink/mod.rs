//! Whoever follows the store's changes to somewhere else than a scrape: today the disk.
//!
//! A sink pulls the names of changed groups from its feed and loads their newest states, so a slow one
//! costs freshness, never memory.

pub mod acks;
mod database;
pub mod durable;
mod folder;
mod journal;
mod keeper;
pub mod records;
mod restore;
#[cfg(test)]
pub mod scratch;
pub mod start;
