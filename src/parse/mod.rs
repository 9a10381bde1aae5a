//! Bytes to families; zero-copy where the bytes allow. Where the families go next is not known here.

pub mod lenient;
pub mod loose;
mod media_type;
pub mod openmetrics;
pub mod protobuf;
pub mod push_path;
pub mod text;

mod scan;

pub use media_type::{BodyFormat, format_of};
