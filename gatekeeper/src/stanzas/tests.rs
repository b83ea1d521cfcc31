//! The wire shapes, and that each stanza survives the wire.

mod properties;
mod shapes;
