//! Moving in and out: a Pushgateway's groups come over whole, and ours can be written as text.

pub mod export;
pub mod gob;
pub mod import;
