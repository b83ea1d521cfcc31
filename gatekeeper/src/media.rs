//! Files: how WhatsApp encrypts them, and where they lie (G 6).
//!
//! A file is encrypted once, under a key of its own that travels in the message: AES-256-CBC, then
//! ten bytes of HMAC-SHA256 over initialisation vector and ciphertext. The message carries the
//! SHA-256 of the file before and after. [`Encryptor`] and [`Decryptor`] take a file piece by piece
//! in constant memory and do no I/O. The cipher is `aws-lc-rs`'s, as everywhere in this crate.

mod decrypt;
mod encrypt;
mod key;

pub use self::{
    decrypt::{Decryptor, MediaError},
    encrypt::{Encryptor, Sums},
    key::MediaKey,
};
use crate::message::MediaFile;

/// Bytes of a cipher block.
const BLOCK: usize = 16;

/// Bytes of the authentication code at the end of a file.
const MAC: usize = 10;

/// Bytes given to the cipher at a time, so that its buffers stay small.
const PIECE: usize = 64 * 1024;

/// The cryptographic library refused; it has no reason to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library failed; try again, and report it if it stays")]
pub struct CipherFailed;

impl From<aws_lc_rs::error::Unspecified> for CipherFailed {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self
    }
}

/// Bytes of an encrypted file, of those of the file: padding to a whole block, always at least one
/// byte, and the authentication code. At the end of the range it stays at the greatest number.
pub const fn encrypted_length(plain: u64) -> u64 {
    (plain / BLOCK as u64 + 1)
        .saturating_mul(BLOCK as u64)
        .saturating_add(MAC as u64)
}

/// The path that goes into a message as [`MediaFile::direct_path`] for a file that the partner
/// hosts: WhatsApp's proxy serves it there (G 6.2). `reference` names it at the partner; what has a
/// meaning in a URL is escaped.
pub fn storage_path(integrator: u16, reference: &str) -> String {
    let reference: String = form_urlencoded::byte_serialize(reference.as_bytes()).collect();
    format!("/interop/whatsapp/download/{integrator}/{reference}/")
}

/// Where a file is fetched: its path at the media server `base`, such as `https://mmg.whatsapp.net`
/// (G 6.3). The host is never the message's choice.
pub fn download_url(base: &str, file: &MediaFile) -> String {
    let base = base.trim_end_matches('/');
    // Without the slash, a path such as `@host/` would name another host.
    let path = file.direct_path.trim_start_matches('/');
    format!("{base}/{path}")
}

#[cfg(test)]
mod tests;
