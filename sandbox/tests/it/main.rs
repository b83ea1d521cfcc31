//! The sandbox over real sockets: as a partner's bridge sees it, as whoever drives it sees it, and
//! with a client that we did not write.

#[path = "../../../gatekeeper/tests/it/peer.rs"]
mod peer;

mod baileys;
mod chat;
mod cli;
mod client;
mod clock;
mod contract;
mod control;
mod enlistment;
mod faults;
mod files;
mod hostile_files;
mod kinds;
mod login;
mod partner;
mod push;
mod restart;
mod resume;
mod rig;
mod stock;
mod wait;
mod wire;
