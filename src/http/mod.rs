//! The HTTP/1.1 front: sockets, requests, routes and answers.
//!
//! It knows the gateway's face and nothing behind it. `monoio` is named only here and in `server`, and
//! its known defects are ruled out by construction: an accept or a read is never dropped half-way, a
//! read that timed out ends its connection, nothing wakes itself in a loop, and no join handle leaves
//! its thread.

pub mod address;
pub mod aside;
pub mod auth;
pub mod chunked;
pub mod client;
pub mod config;
pub mod connection;
pub mod descriptors;
pub mod encoding;
mod form;
pub mod handler;
pub mod hasher;
pub mod head;
mod input;
pub mod listen;
pub mod options;
pub mod outbox;
pub mod redirect;
pub mod response;
pub mod rights;
pub mod route;
pub mod service;
pub mod status;
pub mod target;
pub mod tls;
pub mod watch;
pub mod web;
pub mod worker;

pub use response::{Answer, Body};
