//! Encrypted attachments, streamed by the client: a file of any size fits.

use std::path::Path;

use serde_json::{Value, json};

use super::{Client, Download, Upload};
use crate::Result;

impl Client {
    /// Encrypts a file and uploads it.
    ///
    /// # Errors
    ///
    /// When it cannot be read or the homeserver refuses it.
    pub async fn upload_file(&self, path: &Path) -> Result<Upload> {
        self.ask_for("upload", json!({"path": path})).await
    }

    /// Encrypts bytes and uploads them.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses them.
    pub async fn upload_base64(&self, base64: &str) -> Result<Upload> {
        self.ask_for("upload", json!({"data_base64": base64})).await
    }

    /// Encrypts `size` bytes that look random, the same for the same seed, and uploads them.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses them.
    pub async fn upload_generated(&self, size: u64, seed: &str) -> Result<Upload> {
        self.ask_for("upload", json!({"generate": size, "seed": seed}))
            .await
    }

    /// Downloads the attachment of an `EncryptedFile`, checks its hash and decrypts it; the plain file goes to `path`
    /// if one is named.
    ///
    /// # Errors
    ///
    /// When it is gone, or the hash is wrong.
    pub async fn download(&self, file: &Value, path: Option<&Path>) -> Result<Download> {
        self.ask_for("download", json!({"file": file, "path": path}))
            .await
    }
}
