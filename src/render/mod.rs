//! Families to bytes: what a scrape is given.
//!
//! The exposition is an ordered index of families, each a list of segments of about 16 KiB, each made
//! of fragments: one family of one group. A push makes the segments dirty that hold its group's changed
//! fragments; a scrape renders dirty segments and takes all others as the bytes they are. Only the
//! renderer's thread touches the index, so nothing here is locked.

pub mod coding;
mod crc;
mod expose;
mod heat;
mod index;
pub mod lease;
pub mod negotiate;
mod openmetrics;
mod own;
mod owners;
pub mod protobuf;
mod prototext;
pub mod renderer;
mod rhythm;
mod segment;
pub mod slices;
pub mod text;

#[cfg(test)]
mod tests;
