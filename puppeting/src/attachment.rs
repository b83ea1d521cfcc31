//! Matrix attachment encryption, streamed: AES-256-CTR under a key that only the event carries
//! ([spec](https://spec.matrix.org/v1.18/client-server-api/#sending-encrypted-attachments)).
//!
//! `matrix-sdk-crypto` has the same over blocking readers; this one takes the pieces as the network brings them.

use std::fmt;

use aws_lc_rs::{
    cipher::{AES_256, EncryptionContext, StreamingEncryptingKey, UnboundCipherKey},
    digest, rand,
};
use ruma::{
    OwnedMxcUri,
    events::room::{
        EncryptedFile, EncryptedFileHash, EncryptedFileHashAlgorithm, EncryptedFileHashes,
        EncryptedFileInfo, V2EncryptedFileInfo,
    },
    serde::Base64,
};
use zeroize::Zeroizing;

/// Bytes that AES-CTR may want beyond the input's length.
const BLOCK: usize = 16;

/// Why an attachment cannot be encrypted or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachmentError {
    /// Its keys are of a kind that this version does not know, or there is no SHA-256 of it.
    #[error("the file is encrypted in a way that is not known here")]
    Unsupported,
    /// It is not the file that was meant.
    #[error("the file is damaged: it does not have the hash that the message gives")]
    Hash,
    /// The cipher or the source of random numbers failed.
    #[error("the file cannot be encrypted or decrypted")]
    Cipher,
}

/// AES-CTR is the same in both directions.
struct Ctr(StreamingEncryptingKey);

impl Ctr {
    fn new(key: &[u8; 32], iv: [u8; 16]) -> Result<Self, AttachmentError> {
        let key = UnboundCipherKey::new(&AES_256, key).map_err(|_| AttachmentError::Cipher)?;
        let iv = EncryptionContext::Iv128(iv.into());
        StreamingEncryptingKey::less_safe_ctr(key, iv)
            .map(Self)
            .map_err(|_| AttachmentError::Cipher)
    }

    fn apply(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), AttachmentError> {
        let start = out.len();
        out.resize(start + input.len() + BLOCK, 0);
        let space = out.get_mut(start..).ok_or(AttachmentError::Cipher)?;
        let written = self
            .0
            .update(input, space)
            .map_err(|_| AttachmentError::Cipher)?
            .written()
            .len();
        out.truncate(start + written);
        // A stream cipher gives as much as it gets; anything else would shift the file.
        if written == input.len() {
            Ok(())
        } else {
            Err(AttachmentError::Cipher)
        }
    }
}

/// Encrypts a file with a key of its own.
pub struct AttachmentEncryptor {
    cipher: Ctr,
    hash: digest::Context,
    key: Zeroizing<[u8; 32]>,
    iv: [u8; 16],
}

impl AttachmentEncryptor {
    /// Draws a key.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Cipher`] without a source of random numbers.
    pub fn new() -> Result<Self, AttachmentError> {
        let mut key = Zeroizing::new([0; 32]);
        rand::fill(key.as_mut()).map_err(|_| AttachmentError::Cipher)?;
        let mut nonce = [0; 8];
        rand::fill(&mut nonce).map_err(|_| AttachmentError::Cipher)?;
        // The lower half counts blocks, from zero.
        let iv = (u128::from(u64::from_be_bytes(nonce)) << 64).to_be_bytes();
        Ok(Self {
            cipher: Ctr::new(&key, iv)?,
            hash: digest::Context::new(&digest::SHA256),
            key,
            iv,
        })
    }

    /// Encrypts the next piece and appends it to `out`.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Cipher`]: the file is of no use.
    pub fn update(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), AttachmentError> {
        let start = out.len();
        self.cipher.apply(plain, out)?;
        self.hash.update(out.get(start..).unwrap_or_default());
        Ok(())
    }

    /// What a message says of the file, once it is at `url`.
    pub fn finish(self) -> AttachmentKeys {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.hash.finish().as_ref());
        AttachmentKeys {
            key: self.key,
            iv: self.iv,
            sha256,
        }
    }
}

impl fmt::Debug for AttachmentEncryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachmentEncryptor")
            .finish_non_exhaustive()
    }
}

/// What opens an encrypted file.
pub struct AttachmentKeys {
    key: Zeroizing<[u8; 32]>,
    iv: [u8; 16],
    sha256: [u8; 32],
}

impl AttachmentKeys {
    /// The `file` of a message whose file is at `url`.
    pub fn file(self, url: OwnedMxcUri) -> EncryptedFile {
        let info = V2EncryptedFileInfo::encode(*self.key, self.iv);
        let hashes: EncryptedFileHashes = [EncryptedFileHash::Sha256(Base64::new(self.sha256))]
            .into_iter()
            .collect();
        EncryptedFile::new(url, info.into(), hashes)
    }
}

impl fmt::Debug for AttachmentKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachmentKeys").finish_non_exhaustive()
    }
}

/// Decrypts a file that a message describes. What it gives out is unverified until [`finish`](Self::finish) says that
/// all was well.
pub struct AttachmentDecryptor {
    cipher: Ctr,
    hash: digest::Context,
    sha256: [u8; 32],
}

impl AttachmentDecryptor {
    /// Takes the keys out of a message.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Unsupported`].
    pub fn new(file: &EncryptedFile) -> Result<Self, AttachmentError> {
        let EncryptedFileInfo::V2(info) = &file.info else {
            return Err(AttachmentError::Unsupported);
        };
        let hash = file.hashes.get(&EncryptedFileHashAlgorithm::Sha256);
        let Some(EncryptedFileHash::Sha256(hash)) = hash else {
            return Err(AttachmentError::Unsupported);
        };
        Ok(Self {
            cipher: Ctr::new(info.k.as_inner(), *info.iv.as_inner())?,
            hash: digest::Context::new(&digest::SHA256),
            sha256: *hash.as_inner(),
        })
    }

    /// Decrypts the next piece and appends it to `out`.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Cipher`].
    pub fn update(&mut self, cipher: &[u8], out: &mut Vec<u8>) -> Result<(), AttachmentError> {
        self.hash.update(cipher);
        self.cipher.apply(cipher, out)
    }

    /// Whether it was the file that was meant.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Hash`].
    pub fn finish(self) -> Result<(), AttachmentError> {
        if self.hash.finish().as_ref() == self.sha256 {
            Ok(())
        } else {
            Err(AttachmentError::Hash)
        }
    }
}

impl fmt::Debug for AttachmentDecryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachmentDecryptor")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use matrix_sdk_crypto::{
        AttachmentDecryptor as PeerDecryptor, AttachmentEncryptor as PeerEncryptor,
    };

    use super::*;

    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    /// In pieces of uneven sizes, none of them a multiple of the block.
    fn pieces(bytes: &[u8], seed: usize) -> impl Iterator<Item = &[u8]> {
        let mut rest = bytes;
        let mut size = seed % 97 + 1;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            size = (size * 7 + 3) % 4099 + 1;
            let (piece, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            Some(piece)
        })
    }

    fn encrypt(plain: &[u8], seed: usize) -> (Vec<u8>, EncryptedFile) {
        let mut encryptor = AttachmentEncryptor::new().unwrap();
        let mut out = Vec::new();
        for piece in pieces(plain, seed) {
            encryptor.update(piece, &mut out).unwrap();
        }
        let file = encryptor.finish().file("mxc://localhost/abc".into());
        (out, file)
    }

    fn decrypt(
        cipher: &[u8],
        file: &EncryptedFile,
        seed: usize,
    ) -> Result<Vec<u8>, AttachmentError> {
        let mut decryptor = AttachmentDecryptor::new(file)?;
        let mut out = Vec::new();
        for piece in pieces(cipher, seed) {
            decryptor.update(piece, &mut out)?;
        }
        decryptor.finish().map(|()| out)
    }

    #[test]
    fn an_independent_reader_opens_it() {
        for length in [0, 1, 15, 16, 17, 4096, 70_001] {
            let plain = sample(length);
            let (cipher, file) = encrypt(&plain, length);
            assert_eq!(cipher.len(), plain.len());
            let info = serde_json::from_value(serde_json::to_value(&file).unwrap()).unwrap();
            let mut source = Cursor::new(&cipher);
            let mut reader = PeerDecryptor::new(&mut source, info).unwrap();
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            assert_eq!(read, plain);
        }
    }

    #[test]
    fn what_an_independent_writer_made_is_opened() {
        let plain = sample(100_003);
        let mut source = Cursor::new(&plain);
        let mut writer = PeerEncryptor::new(&mut source);
        let mut cipher = Vec::new();
        writer.read_to_end(&mut cipher).unwrap();
        let mut json = serde_json::to_value(writer.finish()).unwrap();
        json["url"] = "mxc://localhost/abc".into();
        let file: EncryptedFile = serde_json::from_value(json).unwrap();
        for seed in 0..20 {
            assert_eq!(decrypt(&cipher, &file, seed).unwrap(), plain);
        }
        let mut damaged = cipher.clone();
        damaged[5000] ^= 1;
        assert_eq!(decrypt(&damaged, &file, 1), Err(AttachmentError::Hash));
        assert_eq!(
            decrypt(&cipher[..cipher.len() - 1], &file, 1),
            Err(AttachmentError::Hash)
        );
    }

    #[test]
    fn the_event_says_it_as_the_specification_does() {
        let (_, file) = encrypt(b"hello", 1);
        let json = serde_json::to_value(&file).unwrap();
        assert_eq!(json["v"], "v2");
        assert_eq!(json["key"]["alg"], "A256CTR");
        assert_eq!(json["key"]["kty"], "oct");
        assert_eq!(json["key"]["ext"], true);
        let mut uses: Vec<_> = json["key"]["key_ops"].as_array().unwrap().iter().collect();
        uses.sort_by_key(|each| each.as_str());
        assert_eq!(uses, ["decrypt", "encrypt"]);
        assert_eq!(json["key"]["k"].as_str().unwrap().len(), 43);
        let iv = json["iv"].as_str().unwrap();
        assert!(
            iv.ends_with("AAAAAAAAAA"),
            "the counter starts at zero: {iv}"
        );
        assert!(json["hashes"]["sha256"].is_string());
        assert_eq!(json["url"], "mxc://localhost/abc");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let (_, file) = encrypt(b"hello", 1);
        let mut json = serde_json::to_value(&file).unwrap();
        json["hashes"] = serde_json::json!({});
        let file: EncryptedFile = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(
            AttachmentDecryptor::new(&file).unwrap_err(),
            AttachmentError::Unsupported
        );
        json["v"] = "v9".into();
        if let Ok(file) = serde_json::from_value::<EncryptedFile>(json) {
            assert!(AttachmentDecryptor::new(&file).is_err());
        }
    }
}
