//! The handshake of a connection and the encryption after it (G 2.3, 2.4).
//!
//! It is Noise XX (Curve25519, AES-GCM, SHA-256) as WhatsApp speaks it: the three messages are
//! protobufs, the empty payload of the first one is not mixed into the hash, and the nonce is a
//! 32-bit big-endian counter. In the second message the server proves its static key by a
//! certificate chain under a pinned root; in the third the client names its static key and sends its
//! login. Both sides are here: [`Initiator`] is the client, [`Responder`] the server.
//!
//! ```
//! use gatekeeper::noise::{CertAuthority, Initiator, Responder, StaticKeyPair, Step};
//!
//! let (mut rng, now) = (rand::rng(), 1_700_000_000);
//! let (client_key, server_key) =
//!     (StaticKeyPair::generate(&mut rng), StaticKeyPair::generate(&mut rng));
//! let authority = CertAuthority::mint(&mut rng, now)?;
//! let chain = authority.issue(&server_key.public(), &mut rng)?;
//!
//! let (initiator, hello) = Initiator::start(client_key, &mut rng)?;
//! let step = Responder::new(&server_key, &chain).client_hello(&hello, &mut rng)?;
//! let Step::Continue { server_hello, responder } = step else { unreachable!() };
//! let trusted = initiator.server_hello(&server_hello, &authority.root(), now)?;
//! let (finish, mut client) = trusted.client_finish(b"login")?;
//! let mut accepted = responder.client_finish(&finish)?;
//! assert_eq!(accepted.payload, b"login");
//!
//! let sealed = client.encrypt(b"stanza")?;
//! assert_eq!(accepted.transport.decrypt(&sealed)?, b"stanza");
//! # Ok::<(), gatekeeper::noise::NoiseError>(())
//! ```

mod certificate;
mod initiator;
mod keys;
mod messages;
mod responder;
mod state;
mod transport;

pub use self::{
    certificate::{CertAuthority, CertError, Certificate, TrustRoot},
    initiator::{Initiator, ServerInfo, TrustedServer},
    keys::StaticKeyPair,
    responder::{Accepted, AwaitFinish, Responder, Step},
    transport::{Receiver, Sender, Transport},
};

/// Why a handshake or an encrypted frame is refused. It carries nothing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoiseError {
    /// A handshake message that is not the protobuf which is due.
    #[error("the handshake message is damaged")]
    Message,
    /// A handshake message without a field that it must have.
    #[error("the handshake message lacks {0}")]
    Missing(&'static str),
    /// A public key that has not 32 bytes, or with which no secret can be shared.
    #[error("the peer's public key is not valid")]
    Key,
    /// Something encrypted that was altered, replayed, or made with another key.
    #[error("the encryption does not match: altered, repeated or with another key")]
    Decrypt,
    /// The connection has used up its 2^32 nonces: connect anew.
    #[error("the connection has used up its nonces")]
    Exhausted,
    /// A payload that fits into no frame.
    #[error("the payload is too large")]
    TooLarge,
    /// The server's certificate chain is not acceptable.
    #[error("the server's certificate is not acceptable: {0}")]
    Certificate(#[from] CertError),
}
