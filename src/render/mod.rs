//! Families to bytes.

pub mod negotiate;
