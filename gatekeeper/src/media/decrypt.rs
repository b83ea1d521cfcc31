//! An encrypted file back into the file.

use std::fmt;

use aws_lc_rs::{
    cipher::{AES_256, DecryptionContext, StreamingDecryptingKey, UnboundCipherKey},
    constant_time, digest, hmac,
    iv::FixedLength,
};

use super::{
    BLOCK, CipherFailed, MAC, PIECE,
    encrypt::{grown, sum},
    encrypted_length,
};
use crate::message::{MediaFile, MediaKind};

/// Why a file is not what its message promised. None of these says anything about its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// More came than the message said; the rest was not looked at.
    #[error("the file is longer than its message says")]
    TooLong,
    /// It ends too early.
    #[error("the file ends too early; fetch it again")]
    Truncated,
    /// The authentication code is wrong: damaged on the way, or another key.
    #[error("the file's authentication code is wrong: it is damaged, or encrypted for another key")]
    Mac,
    /// It is not the encrypted file of the message.
    #[error("the encrypted file has another hash than its message says")]
    EncryptedHash,
    /// It decrypts to another file than that of the message.
    #[error("the decrypted file has another hash than its message says")]
    Hash,
    /// It decrypts to another number of bytes.
    #[error("the file has another length than its message says")]
    Length,
    /// Its last block does not end as one must.
    #[error("the file's padding is wrong")]
    Padding,
    /// Not the file's fault.
    #[error(transparent)]
    Cipher(#[from] CipherFailed),
}

impl From<aws_lc_rs::error::Unspecified> for MediaError {
    fn from(error: aws_lc_rs::error::Unspecified) -> Self {
        Self::Cipher(error.into())
    }
}

/// Decrypts one file.
///
/// What it gives out before [`Decryptor::finish`] has returned is not verified: hold it back from
/// people until then.
pub struct Decryptor {
    cipher: StreamingDecryptingKey,
    mac: hmac::Context,
    plain: digest::Context,
    encrypted: digest::Context,
    /// The last bytes that came: the authentication code, if nothing follows.
    tail: Vec<u8>,
    received: u64,
    /// Bytes of the encrypted file, by the message.
    expected: u64,
    length: u64,
    sha256: [u8; 32],
    enc_sha256: [u8; 32],
    promised: u64,
}

impl Decryptor {
    /// Begins the file that `file` describes.
    pub fn new(file: &MediaFile, kind: MediaKind) -> Result<Self, MediaError> {
        let keys = file.key.expand(kind)?;
        let cipher = StreamingDecryptingKey::cbc_pkcs7(
            UnboundCipherKey::new(&AES_256, keys.cipher.as_ref())?,
            DecryptionContext::Iv128(FixedLength::from(&keys.iv)),
        )?;
        Ok(Self {
            cipher,
            mac: keys.authenticate(),
            plain: digest::Context::new(&digest::SHA256),
            encrypted: digest::Context::new(&digest::SHA256),
            tail: Vec::with_capacity(2 * MAC),
            received: 0,
            expected: encrypted_length(file.length),
            length: 0,
            sha256: file.sha256,
            enc_sha256: file.enc_sha256,
            promised: file.length,
        })
    }

    /// Takes the next bytes of the encrypted file and appends those of the file to `out`. Fails as
    /// soon as there are more than the message said.
    pub fn update(&mut self, encrypted: &[u8], out: &mut Vec<u8>) -> Result<(), MediaError> {
        self.received = self.received.saturating_add(encrypted.len() as u64);
        if self.received > self.expected {
            return Err(MediaError::TooLong);
        }
        self.encrypted.update(encrypted);
        // The last bytes stay back, because they may be the authentication code.
        let ready = (self.tail.len() + encrypted.len()).saturating_sub(MAC);
        let from_tail: Vec<u8> = self.tail.drain(..ready.min(self.tail.len())).collect();
        self.decrypt(&from_tail, out)?;
        let (now, later) = encrypted
            .split_at_checked(ready - from_tail.len())
            .unwrap_or((encrypted, &[]));
        self.decrypt(now, out)?;
        self.tail.extend_from_slice(later);
        Ok(())
    }

    /// Ends the file: appends its last bytes to `out` and says whether all of it is what the message
    /// promised.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), MediaError> {
        let body = self.received.saturating_sub(MAC as u64);
        let whole = body > 0 && body.is_multiple_of(BLOCK as u64);
        let tag = self.mac.sign();
        let mac = tag.as_ref().get(..MAC).ok_or(CipherFailed)?;
        if !whole || constant_time::verify_slices_are_equal(mac, &self.tail).is_err() {
            return Err(if self.received < self.expected {
                MediaError::Truncated
            } else {
                MediaError::Mac
            });
        }
        if sum(self.encrypted)? != self.enc_sha256 {
            return Err(MediaError::EncryptedHash);
        }
        let mut buffer = grown(out, BLOCK);
        let written = match self.cipher.finish(buffer.space()) {
            Ok(last) => last.written().len(),
            Err(_) => {
                buffer.keep(0);
                return Err(MediaError::Padding);
            }
        };
        let last = buffer.keep(written);
        self.plain.update(last);
        self.length = self.length.saturating_add(written as u64);
        if self.length != self.promised {
            return Err(MediaError::Length);
        }
        if sum(self.plain)? != self.sha256 {
            return Err(MediaError::Hash);
        }
        Ok(())
    }

    fn decrypt(&mut self, encrypted: &[u8], out: &mut Vec<u8>) -> Result<(), MediaError> {
        for piece in encrypted.chunks(PIECE) {
            self.mac.update(piece);
            let mut buffer = grown(out, piece.len() + BLOCK);
            let written = self.cipher.update(piece, buffer.space())?.written().len();
            let plain = buffer.keep(written);
            self.plain.update(plain);
            self.length = self.length.saturating_add(written as u64);
        }
        Ok(())
    }
}

impl fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decryptor").finish_non_exhaustive()
    }
}
