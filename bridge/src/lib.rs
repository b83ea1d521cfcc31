//! gatehouse joins Matrix users to WhatsApp through the gatekeeper's official third-party interface.
//!
//! This crate is the program: command line, configuration, the two HTTP sides, portals, translation and
//! delivery. See the README of the workspace.

pub mod admin;
pub mod appservice;
pub mod capabilities;
mod catch_up;
pub mod cli;
pub mod client;
mod commands;
pub mod config;
mod consent;
pub mod core;
mod credentials;
mod delivery;
mod devices;
mod directory;
mod enlistment;
mod fading;
mod gaps;
mod ids;
pub mod inbox;
mod incoming;
mod keys;
mod known_portals;
mod lanes;
mod later;
mod leaving;
pub mod log;
mod logins;
mod management;
pub mod media;
mod notices;
mod outages;
mod outgoing;
mod passes;
pub mod phone;
mod placeholders;
mod portals;
mod posting;
pub mod public;
pub mod quarantine;
mod receipts;
pub mod registration;
mod replays;
mod reports;
mod retries;
mod room_keys;
pub mod run;
pub mod secrecy;
pub mod serve;
mod sessions;
#[cfg(test)]
mod testing;
mod tokens;
pub mod translate;
mod typing;
mod watch;
mod withdrawals;
