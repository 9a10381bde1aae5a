//! Plugins in Lua: rewrite, relabel, reject, before anything is stored.
//!
//! The contract with plugin authors is `plugins/README.md`.

pub mod digest;
pub mod draft;
pub mod expand;
pub mod fault;
pub mod matcher;
pub mod regex;
pub mod relabel;
pub mod selector;
pub mod value;
