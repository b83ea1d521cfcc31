//! A file into its encrypted form.

use std::fmt;

use aws_lc_rs::{
    cipher::{AES_256, EncryptionContext, StreamingEncryptingKey, UnboundCipherKey},
    digest, hmac,
    iv::FixedLength,
};

use super::{BLOCK, CipherFailed, MAC, MediaKey, PIECE};
use crate::message::MediaKind;

/// Encrypts one file.
pub struct Encryptor {
    cipher: StreamingEncryptingKey,
    mac: hmac::Context,
    plain: digest::Context,
    encrypted: digest::Context,
    length: u64,
}

/// What a message says of a file besides its key and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// SHA-256 of the encrypted file.
    pub enc_sha256: [u8; 32],
    /// Bytes of the file.
    pub length: u64,
}

impl Encryptor {
    /// Begins a file.
    pub fn new(key: &MediaKey, kind: MediaKind) -> Result<Self, CipherFailed> {
        let keys = key.expand(kind)?;
        let cipher = StreamingEncryptingKey::less_safe_cbc_pkcs7(
            UnboundCipherKey::new(&AES_256, keys.cipher.as_ref())?,
            EncryptionContext::Iv128(FixedLength::from(&keys.iv)),
        )?;
        Ok(Self {
            cipher,
            mac: keys.authenticate(),
            plain: digest::Context::new(&digest::SHA256),
            encrypted: digest::Context::new(&digest::SHA256),
            length: 0,
        })
    }

    /// Takes the next bytes of the file and appends those of the encrypted file to `out`.
    pub fn update(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), CipherFailed> {
        for piece in plain.chunks(PIECE) {
            self.plain.update(piece);
            self.length = self.length.saturating_add(piece.len() as u64);
            let mut buffer = grown(out, piece.len() + BLOCK);
            let written = self.cipher.update(piece, buffer.space())?.written().len();
            self.account(buffer.keep(written));
        }
        Ok(())
    }

    /// Ends the file: appends the last bytes to `out` and says what the message needs.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<Sums, CipherFailed> {
        let mut buffer = grown(out, BLOCK);
        let (_, last) = self.cipher.finish(buffer.space())?;
        let written = last.written().len();
        let last = buffer.keep(written);
        self.mac.update(last);
        self.encrypted.update(last);
        let tag = self.mac.sign();
        let mac = tag.as_ref().get(..MAC).ok_or(CipherFailed)?;
        self.encrypted.update(mac);
        out.extend_from_slice(mac);
        Ok(Sums {
            sha256: sum(self.plain)?,
            enc_sha256: sum(self.encrypted)?,
            length: self.length,
        })
    }

    fn account(&mut self, encrypted: &[u8]) {
        self.mac.update(encrypted);
        self.encrypted.update(encrypted);
    }
}

impl fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryptor").finish_non_exhaustive()
    }
}

/// The end of a hash.
pub(super) fn sum(context: digest::Context) -> Result<[u8; 32], CipherFailed> {
    context
        .finish()
        .as_ref()
        .try_into()
        .map_err(|_| CipherFailed)
}

/// Room at the end of a vector for a cipher to write into.
pub(super) struct Grown<'a> {
    out: &'a mut Vec<u8>,
    from: usize,
}

/// Makes room for `room` bytes.
pub(super) fn grown(out: &mut Vec<u8>, room: usize) -> Grown<'_> {
    let from = out.len();
    out.resize(from + room, 0);
    Grown { out, from }
}

impl<'a> Grown<'a> {
    /// The room.
    pub(super) fn space(&mut self) -> &mut [u8] {
        self.out.get_mut(self.from..).unwrap_or_default()
    }

    /// Keeps what was written and gives the rest of the room back.
    pub(super) fn keep(self, written: usize) -> &'a [u8] {
        self.out.truncate(self.from + written);
        self.out.get(self.from..).unwrap_or_default()
    }
}
