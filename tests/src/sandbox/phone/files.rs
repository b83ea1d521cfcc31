//! Files of a phone, streamed: a file of any size fits.

use aws_lc_rs::digest;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::Phone;
use crate::client::Download;
use crate::{Error, Result, http};

/// Bytes sent at a time.
const PIECE: usize = 64 * 1024;

/// A file that a message of a phone can name.
#[derive(Debug, Clone, Deserialize)]
pub struct PhoneUpload {
    /// For the message's `upload`.
    pub upload: String,
    /// Size of the plain file in bytes.
    pub size: u64,
    /// SHA-256 of the plain file, in hexadecimal.
    pub sha256: String,
}

impl Phone {
    /// Uploads `size` bytes that look random, the same for the same seed, for a message of this kind.
    ///
    /// # Errors
    ///
    /// When the sandbox refuses them.
    pub async fn upload_generated(&self, kind: &str, size: u64, seed: u64) -> Result<PhoneUpload> {
        let mut left = size;
        let mut state = seed;
        let pieces = std::iter::from_fn(move || {
            let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            if length == 0 {
                return None;
            }
            left -= length as u64;
            let mut piece = Vec::with_capacity(PIECE);
            while piece.len() < length {
                // splitmix64
                state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut word = state;
                word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                piece.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
            }
            piece.truncate(length);
            Some(Ok::<_, std::io::Error>(Bytes::from(piece)))
        });
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let url = format!(
            "{}/control/phones/{}/uploads?kind={kind}",
            self.control, self.number
        );
        let answer = http::streaming()?.put(url).body(body).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// The decrypted file of a message, as its owner sees it; read to the end and summed up.
    ///
    /// # Errors
    ///
    /// When it could not be fetched; the message says why.
    pub async fn file(&self, id: &str) -> Result<Download> {
        let url = format!("{}/control/phones/{}/media/{id}", self.control, self.number);
        let mut answer = http::streaming()?.get(url).send().await?;
        if !answer.status().is_success() {
            return Err(Error::new(format!("{id}: {}", answer.text().await?)));
        }
        let mut sum = digest::Context::new(&digest::SHA256);
        let mut size = 0;
        while let Some(piece) = answer.chunk().await? {
            sum.update(&piece);
            size += piece.len() as u64;
        }
        Ok(Download {
            size,
            sha256: hex::encode(sum.finish()),
        })
    }

    /// Has it fetch the file of a received message again.
    ///
    /// # Errors
    ///
    /// When there is no such message.
    pub async fn fetch_again(&self, id: &str) -> Result<()> {
        self.post(&format!("media/{id}"), json!({})).await.map(drop)
    }
}
