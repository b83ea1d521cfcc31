//! Checks of the protocol modules against published bytes and against implementations that we did
//! not write.

mod codec_baileys;
mod codec_wacore;
mod fixtures;
mod media_baileys;
mod message_baileys;
mod nodes;
mod noise_baileys;
mod noise_hostile;
mod noise_wacore;
mod peer;
mod signal_libsignal;
mod stanza_hostile;
mod stanza_properties;
