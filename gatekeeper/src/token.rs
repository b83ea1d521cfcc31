//! Identity tokens: who a user is, signed by this bridge (RS256 JSON Web Tokens).
//!
//! The gatekeeper verifies them at enlistment and at every login with the keys that it fetches
//! from the bridge's [`Jwks`] endpoint. The gatekeeper's own push requests carry such a token too,
//! made with its keys; [`verify()`] reads both kinds.
//!
//! What is published: RS256, a key set with `kid`, at most 4 KiB per token, and the claims of the
//! push token. The claims of an identity token are not public; the caller chooses them.

mod claims;
mod jwks;
mod key;
mod ring;
mod verify;

pub use self::{
    claims::Claims,
    jwks::{Jwk, Jwks},
    key::SigningKey,
    ring::KeyRing,
    verify::{CLOCK_SKEW, VerifyError, verify},
};

/// The published limit of a token, in bytes.
pub const MAX_TOKEN: usize = 4096;

/// Why a token or a key could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token would be refused by the gatekeeper.
    #[error(
        "the identity token would have {size} bytes, the gatekeeper takes at most {MAX_TOKEN}: \
         shorten the issuer, the audience, the user id or the extra claims"
    )]
    TooLong {
        /// Its size in bytes.
        size: usize,
    },
    /// There is no key to sign with.
    #[error("there is no token signing key: one is made at set-up, run `gatehouse setup`")]
    NoKey,
    /// Key generation failed.
    #[error("a token signing key could not be generated")]
    Generate,
    /// Stored bytes that are not an RSA key.
    #[error("the stored token signing key is not an RSA key in PKCS #8 form")]
    BadKey,
    /// The signature could not be made.
    #[error("the identity token could not be signed")]
    Sign,
}

#[cfg(test)]
mod tests;
