//! End to end: a real homeserver, gatehouse, the sandbox and real clients, started on loopback and stopped
//! with the test.
//!
//! [`stack::Stack`] starts everything; the other modules are its parts, usable alone. `cargo xtask try` stands on
//! the same code, so nothing here panics: every step returns an [`Error`] that says what to do.

pub mod between;
pub mod binaries;
pub mod cache;
pub mod chat;
pub mod client;
pub mod database;
mod driven;
pub mod encrypting;
pub mod error;
pub mod gatehouse;
pub mod http;
pub mod large;
pub mod machine;
pub mod plain;
pub mod port;
pub mod postgres;
pub mod process;
pub mod protobuf;
pub mod sandbox;
pub mod scratch;
pub mod shim;
pub mod stack;
pub mod standin;
pub mod stock;
pub mod synapse;
pub mod torture;
pub mod usage;
pub mod wait;
pub mod web;
pub mod workload;

pub use error::{Error, Result};
