//! Ghosts against a real Synapse.

mod conversation;
mod inbox;
mod proxy;
mod recovery;
mod rig;
