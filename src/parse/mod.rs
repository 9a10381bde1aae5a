//! Bytes to families; zero-copy where the bytes allow. Where the families go next is not known here.

pub mod push_path;
pub mod text;

mod scan;
