//! One file per kind of request.

pub mod api;
pub mod status;
