//! The homeserver's media repository, streamed: no file is ever whole in memory.
//!
//! Downloads are authenticated (`GET /_matrix/client/v1/media/download/..`, Matrix 1.11); a server that does not know that
//! path is asked by the older one. Neither direction has a deadline as a whole, only for standing still.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header;
use ruma::{MxcUri, OwnedMxcUri, api::error::ErrorCode};
use serde::Deserialize;

use super::{Homeserver, Identity, source_of};
use crate::{HttpError, Refusal};

/// How long a download may stand still, and wait for its first byte: the homeserver may have to fetch it from another.
const STALL: Duration = Duration::from_secs(60);
/// How long an upload may stand still. The homeserver answers only when it has the whole file in its place.
const UPLOAD_STALL: Duration = Duration::from_secs(300);
/// How long a server's upload limit is remembered.
const LIMIT_AGE: Duration = Duration::from_secs(3600);
/// Redirects that are followed to where a server really keeps its media.
const REDIRECTS: usize = 3;
/// The longest error answer that is read, in bytes.
const MAX_REFUSAL: usize = 64 << 10;

const DOWNLOAD: &str = "download_media";
const UPLOAD: &str = "upload_media";
const CONFIG: &str = "media_config";

/// A file that comes from the homeserver piece by piece.
#[derive(Debug)]
pub struct Download {
    response: reqwest::Response,
}

impl Download {
    /// How many bytes will come, if the homeserver says so.
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next piece; `None` at the end. A file that ends early is an error.
    ///
    /// # Errors
    ///
    /// [`HttpError::Transport`], also when nothing comes for a minute.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        match tokio::time::timeout(STALL, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(transport(DOWNLOAD, source_of(&error))),
            Err(_) => Err(transport(DOWNLOAD, "the file stopped coming".to_owned())),
        }
    }
}

/// What is remembered of a server's limit, and since when.
pub(super) type KnownLimit = Option<(Instant, Option<u64>)>;

impl Homeserver {
    /// Begins to download a file.
    ///
    /// # Errors
    ///
    /// [`HttpError::Request`] for an address that is none; else see [`HttpError`].
    pub async fn download(
        &self,
        identity: Identity<'_>,
        file: &MxcUri,
    ) -> Result<Download, HttpError> {
        let (server, id) = file.parts().map_err(|_| HttpError::Request {
            endpoint: DOWNLOAD,
            reason: "the file's address is malformed".to_owned(),
        })?;
        let stable = format!("/_matrix/client/v1/media/download/{server}/{id}");
        match self.begin(identity, &stable).await {
            Err(error) if is_unknown_path(&error) => {
                let older = format!("/_matrix/media/v3/download/{server}/{id}");
                match self.begin(identity, &older).await {
                    // A proxy said that there is no such path, and meant its homeserver: that one has no new files by the older.
                    Err(other) if error.errcode().is_none() && !other.is_retryable() => Err(error),
                    result => result,
                }
            }
            result => result,
        }
    }

    async fn begin(&self, identity: Identity<'_>, path: &str) -> Result<Download, HttpError> {
        let client = &self.inner.client;
        let request = client
            .get(self.media_url(DOWNLOAD, identity, path)?)
            .bearer_auth(self.inner.config.as_token.reveal());
        let mut response = answer(DOWNLOAD, request).await?;
        for _ in 0..REDIRECTS {
            if !response.status().is_redirection() {
                break;
            }
            let target = response.headers().get(header::LOCATION);
            let target = target.and_then(|target| target.to_str().ok());
            let target = target.and_then(|target| response.url().join(target).ok());
            let Some(target) = target else { break };
            // To a place that holds files, not to the homeserver: the token stays here.
            response = answer(DOWNLOAD, client.get(target)).await?;
        }
        if !response.status().is_success() {
            return Err(refused(DOWNLOAD, response).await);
        }
        Ok(Download { response })
    }

    /// Uploads `length` bytes. `body` must give exactly as many; if it fails, nothing is kept by the homeserver.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn upload<S, E>(
        &self,
        identity: Identity<'_>,
        length: u64,
        body: S,
    ) -> Result<OwnedMxcUri, HttpError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        #[derive(Deserialize)]
        struct Answer {
            content_uri: OwnedMxcUri,
        }
        let progress = Arc::new(AtomicU64::new(0));
        let counter = progress.clone();
        let body = body.inspect(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let request = self
            .inner
            .client
            .post(self.media_url(UPLOAD, identity, "/_matrix/media/v3/upload")?)
            .bearer_auth(self.inner.config.as_token.reveal())
            // What it really is stays between the people who have its key.
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, length)
            .body(reqwest::Body::wrap_stream(body));
        let exchange = async {
            let response = request
                .send()
                .await
                .map_err(|error| transport(UPLOAD, source_of(&error)))?;
            if !response.status().is_success() {
                return Err(refused(UPLOAD, response).await);
            }
            let answer: Answer = response.json().await.map_err(|_| HttpError::Answer {
                endpoint: UPLOAD,
                reason: "it names no file".to_owned(),
            })?;
            Ok(answer.content_uri)
        };
        let standstill = async {
            let mut before = progress.load(Ordering::Relaxed);
            loop {
                tokio::time::sleep(UPLOAD_STALL).await;
                let now = progress.load(Ordering::Relaxed);
                if now == before {
                    return;
                }
                before = now;
            }
        };
        tokio::select! {
            result = exchange => result,
            () = standstill => Err(transport(UPLOAD, "the upload stands still".to_owned())),
        }
    }

    /// The most bytes that the homeserver takes as one file; `None` if it does not say. Asked for once an hour.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn upload_limit(&self, identity: Identity<'_>) -> Result<Option<u64>, HttpError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "m.upload.size")]
            size: Option<u64>,
        }
        let known = *self
            .inner
            .upload_limit
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, limit)) = known
            && asked.elapsed() < LIMIT_AGE
        {
            return Ok(limit);
        }
        let ask = async |path: &str| {
            let request = self
                .inner
                .client
                .get(self.media_url(CONFIG, identity, path)?)
                .bearer_auth(self.inner.config.as_token.reveal());
            let response = answer(CONFIG, request).await?;
            if !response.status().is_success() {
                return Err(refused(CONFIG, response).await);
            }
            let answer: Answer = response.json().await.map_err(|_| HttpError::Answer {
                endpoint: CONFIG,
                reason: "it is no JSON object".to_owned(),
            })?;
            Ok(answer.size)
        };
        let limit = match ask("/_matrix/client/v1/media/config").await {
            Err(error) if is_unknown_path(&error) => ask("/_matrix/media/v3/config").await?,
            result => result?,
        };
        *self
            .inner
            .upload_limit
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), limit));
        Ok(limit)
    }

    fn media_url(
        &self,
        endpoint: &'static str,
        identity: Identity<'_>,
        path: &str,
    ) -> Result<reqwest::Url, HttpError> {
        let base = self.inner.config.url.trim_end_matches('/');
        let query = [("user_id", identity.user.as_str())];
        reqwest::Url::parse_with_params(&format!("{base}{path}"), query).map_err(|error| {
            HttpError::Request {
                endpoint,
                reason: error.to_string(),
            }
        })
    }
}

async fn answer(
    endpoint: &'static str,
    request: reqwest::RequestBuilder,
) -> Result<reqwest::Response, HttpError> {
    match tokio::time::timeout(STALL, request.send()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(transport(endpoint, source_of(&error))),
        Err(_) => Err(transport(endpoint, "timed out".to_owned())),
    }
}

fn transport(endpoint: &'static str, reason: String) -> HttpError {
    HttpError::Transport { endpoint, reason }
}

async fn refused(endpoint: &'static str, mut response: reqwest::Response) -> HttpError {
    let status = response.status().as_u16();
    let wait = response.headers().get(header::RETRY_AFTER).cloned();
    let mut body = Vec::new();
    // An error answer that cannot be read whole is read as far as it goes.
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(STALL, response.chunk()).await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_REFUSAL {
            break;
        }
    }
    let wait = wait.as_ref().and_then(|value| value.to_str().ok());
    let refusal = Refusal::read(status, wait, &body);
    HttpError::Refused { endpoint, refusal }
}

/// Whether the server does not know the path, rather than the file.
fn is_unknown_path(error: &HttpError) -> bool {
    match error {
        HttpError::Refused { refusal, .. } => {
            refusal.errcode.as_ref() == Some(&ErrorCode::Unrecognized)
                || (refusal.status == 404 && refusal.errcode.is_none())
                || refusal.status == 405
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
