//! gatehouse joins Matrix users to WhatsApp through the gatekeeper's official third-party interface.
//!
//! This crate is the program: command line, configuration, the two HTTP sides, portals, translation and
//! delivery. See the README of the workspace.

pub mod admin;
pub mod appservice;
pub mod cli;
pub mod client;
pub mod config;
pub mod log;
pub mod phone;
pub mod public;
pub mod registration;
pub mod serve;
pub mod translate;
