//! Files, as a puppet.

use bytes::Bytes;
use futures_util::Stream;
use ruma::{MxcUri, OwnedMxcUri};

use super::Puppet;
use crate::{Download, HttpError, Identity};

impl Puppet {
    /// Begins to download a file; see [`Homeserver::download`](crate::Homeserver::download).
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn download(&self, file: &MxcUri) -> Result<Download, HttpError> {
        let identity = Identity::user(&self.user);
        self.homeserver.download(identity, file).await
    }

    /// Uploads `length` bytes; see [`Homeserver::upload`](crate::Homeserver::upload).
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn upload<S, E>(&self, length: u64, body: S) -> Result<OwnedMxcUri, HttpError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let identity = Identity::user(&self.user);
        self.homeserver.upload(identity, length, body).await
    }

    /// The most bytes that the homeserver takes as one file; `None` if it does not say.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn upload_limit(&self) -> Result<Option<u64>, HttpError> {
        let identity = Identity::user(&self.user);
        self.homeserver.upload_limit(identity).await
    }
}
