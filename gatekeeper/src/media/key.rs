//! The key of a file, and what is made from it.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use hkdf::Hkdf;
use rand::CryptoRng;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use super::{BLOCK, CipherFailed};
use crate::message::MediaKind;

/// The key of one file.
///
/// It is wiped from memory when it is dropped, and `Debug` does not show it.
#[derive(Clone, Eq)]
pub struct MediaKey([u8; 32]);

impl MediaKey {
    /// A new key.
    pub fn random<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        Self(key)
    }

    /// The bytes, for the message.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What encrypts and what authenticates a file of this kind.
    pub(super) fn expand(&self, kind: MediaKind) -> Result<Keys, CipherFailed> {
        let mut okm = Zeroizing::new([0; BLOCK + 32 + 32]);
        // The full output has 32 bytes more, which nothing uses; HKDF's output is a stream, so the
        // beginning is the same.
        Hkdf::<Sha256>::new(None, &self.0)
            .expand(kind.key_info().as_bytes(), okm.as_mut())
            .map_err(|_| CipherFailed)?;
        let (iv, rest) = okm.split_first_chunk::<BLOCK>().ok_or(CipherFailed)?;
        let (cipher, mac) = rest.split_first_chunk::<32>().ok_or(CipherFailed)?;
        Ok(Keys {
            iv: *iv,
            cipher: Zeroizing::new(*cipher),
            mac: hmac::Key::new(hmac::HMAC_SHA256, mac),
        })
    }
}

impl From<[u8; 32]> for MediaKey {
    fn from(key: [u8; 32]) -> Self {
        Self(key)
    }
}

impl PartialEq for MediaKey {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Drop for MediaKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for MediaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MediaKey(..)")
    }
}

/// What a [`MediaKey`] becomes for one kind of file.
pub(super) struct Keys {
    pub(super) iv: [u8; BLOCK],
    pub(super) cipher: Zeroizing<[u8; 32]>,
    pub(super) mac: hmac::Key,
}

impl Keys {
    /// The authentication code so far: it begins with the initialisation vector.
    pub(super) fn authenticate(&self) -> hmac::Context {
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(&self.iv);
        context
    }
}
