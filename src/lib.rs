//! Floodway: a push gateway that takes the Prometheus Pushgateway's place on the wire.
//!
//! The modules in reading order follow a push from the socket to the scrape. Each opens with what
//! it holds and what it never does; `ARCHITECTURE.md` has the picture and the layers, and
//! `tests/tidy.rs` keeps them.

pub mod build_info;
pub mod clock;
pub mod limits;
pub mod packing;
pub mod reloading;

pub mod format;
pub mod matching;
pub mod model;
pub mod wire;

pub mod gateway;
pub mod housekeeper;
pub mod http;
pub mod lifetimes;
pub mod merging;
pub mod parse;
#[cfg(feature = "plugins")]
pub mod plugin;
#[cfg(not(feature = "plugins"))]
#[path = "plugin/absent.rs"]
pub mod plugin;
pub mod render;
pub mod sink;
pub mod store;

pub mod config;
pub mod healthcheck;
pub mod server;
pub mod telemetry;
pub mod transfer;
#[cfg(feature = "plugins")]
pub mod trial;
#[cfg(not(feature = "plugins"))]
pub use plugin::trial;
