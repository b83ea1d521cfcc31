//! `GET {base}/{reference}`: the files that the gatekeeper's proxy fetches (G 6.2).
//!
//! What is given out is ciphertext whose key is in a message. The reference cannot be guessed; a proxy that shows a token
//! must show a valid one. No reader holds more than a few pieces of a file in memory, nor a file open for ever.

use std::{io, time::Duration};

use async_trait::async_trait;
use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    sync::{OwnedSemaphorePermit, mpsc},
};

use super::{Public, PushRefused, now};
use crate::{appservice::SinkError, media::Reference};

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;
/// Pieces that wait for a slow reader.
const AHEAD: usize = 2;
/// A reader that takes nothing for this long loses the file.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a request waits for others to end, before it is sent away for a while.
const TURN: Duration = Duration::from_secs(10);

/// Where the files are.
#[async_trait]
pub trait Shelf: Send + Sync + 'static {
    /// Looks for a file.
    async fn find(&self, reference: &Reference) -> Result<Found, SinkError>;
}

/// What a shelf holds under a reference.
#[derive(Debug)]
pub enum Found {
    /// A file.
    File(File),
    /// A file was there, and is not needed or too old now.
    Gone,
    /// Nothing was ever there.
    Unknown,
}

pub(super) async fn get(
    State(state): State<Public>,
    Path(reference): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let answer = match serve(&state, &reference, &method, &headers).await {
        Ok(answer) => answer,
        Err(status) => status.into_response(),
    };
    metrics::counter!("gatehouse_hosted_media_requests_total", "status" => answer.status().as_str().to_owned())
        .increment(1);
    answer
}

async fn serve(
    state: &Public,
    reference: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, StatusCode> {
    let Some(reference) = Reference::parse(reference) else {
        return Err(StatusCode::NOT_FOUND);
    };
    check_token(state, headers).await?;
    let unavailable = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, "a hosted file cannot be given out");
        StatusCode::SERVICE_UNAVAILABLE
    };
    let found = state.shelf.find(&reference).await;
    let mut file = match found.map_err(|error| unavailable(&error))? {
        Found::File(file) => file,
        Found::Gone => return Err(StatusCode::GONE),
        Found::Unknown => return Err(StatusCode::NOT_FOUND),
    };
    let length = file.metadata().await.map_err(|error| unavailable(&error))?;
    let length = length.len();
    let tag = HeaderValue::from_str(&format!("\"{}\"", reference.as_str()))
        .map_err(|error| unavailable(&error))?;
    let range = match wanted(headers, &tag, length) {
        Wanted::Whole => None,
        Wanted::Part { first, last } => Some((first, last)),
        Wanted::Outside => return Ok(outside(length)),
    };
    let (first, count) = range.map_or((0, length), |(first, last)| (first, last - first + 1));
    let body = if *method == Method::HEAD {
        Body::empty()
    } else {
        let turn = tokio::time::timeout(TURN, state.downloads.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = turn else {
            let later = [(header::RETRY_AFTER, "30")];
            return Ok((StatusCode::SERVICE_UNAVAILABLE, later).into_response());
        };
        file.seek(io::SeekFrom::Start(first))
            .await
            .map_err(|error| unavailable(&error))?;
        stream(file, count, permit)
    };
    let mut answer = Response::new(body);
    let fields = answer.headers_mut();
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    fields.insert(header::CONTENT_LENGTH, count.into());
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-transform"),
    );
    fields.insert(header::ETAG, tag);
    if let Some((first, last)) = range {
        let part = format!("bytes {first}-{last}/{length}");
        if let Ok(part) = HeaderValue::from_str(&part) {
            fields.insert(header::CONTENT_RANGE, part);
        }
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(answer)
}

/// A token is not needed, but one that is shown must be the gatekeeper's, as with a push.
async fn check_token(state: &Public, headers: &HeaderMap) -> Result<(), StatusCode> {
    let rules = &state.config.gatekeeper.profile;
    if !rules.media.check_proxy_token || !headers.contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    let Some(token) = crate::appservice::bearer(headers) else {
        tracing::warn!("refused a request for a hosted file: its token is no bearer token");
        return Err(StatusCode::UNAUTHORIZED);
    };
    let audiences = state.config.push_audiences();
    let checked = state
        .keys
        .check(token, &audiences, &rules.token.audience, now())
        .await;
    match checked {
        Ok(()) => Ok(()),
        Err(PushRefused::Token(reason)) => {
            tracing::warn!(%reason, "refused a request for a hosted file");
            Err(StatusCode::UNAUTHORIZED)
        }
        Err(PushRefused::NoKeys(error)) => {
            tracing::warn!(%error, "a request for a hosted file cannot be checked");
            Err(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

/// Reads the file as fast as the reader takes it. The task ends, and closes the file, when the reader is gone or stands still.
fn stream(file: File, count: u64, permit: OwnedSemaphorePermit) -> Body {
    let (pieces, receiver) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    tokio::spawn(async move {
        let _permit = permit;
        let mut rest = file.take(count);
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = (&mut rest).take(PIECE as u64).read_to_end(&mut piece).await;
            let piece = match read {
                Ok(0) => return,
                Ok(_) => Ok(piece.into()),
                Err(error) => Err(error),
            };
            let broken = piece.is_err();
            if pieces.send_timeout(piece, PATIENCE).await.is_err() || broken {
                return;
            }
        }
    });
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    Body::from_stream(pieces)
}

fn outside(length: u64) -> Response {
    let whole = format!("bytes */{length}");
    let fields = [(header::CONTENT_RANGE, whole)];
    (StatusCode::RANGE_NOT_SATISFIABLE, fields).into_response()
}

/// What part of a file a request asks for (RFC 9110, section 14).
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    /// From the first to the last byte.
    Part {
        first: u64,
        last: u64,
    },
    /// Nothing that is there.
    Outside,
}

fn wanted(headers: &HeaderMap, tag: &HeaderValue, length: u64) -> Wanted {
    if headers
        .get(header::IF_RANGE)
        .is_some_and(|seen| seen != tag)
    {
        return Wanted::Whole;
    }
    let Some(range) = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok())
    else {
        return Wanted::Whole;
    };
    // Several parts, or what is no range at all, is answered with the whole, as the RFC allows.
    parse(range, length).unwrap_or(Wanted::Whole)
}

fn parse(range: &str, length: u64) -> Option<Wanted> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse().ok())?
    };
    if from.is_empty() {
        let count = number(to)?.min(length);
        return Some(match count {
            0 => Wanted::Outside,
            count => Wanted::Part {
                first: length - count,
                last: length - 1,
            },
        });
    }
    let first = number(from)?;
    let last = if to.is_empty() { u64::MAX } else { number(to)? };
    if first > last {
        return None;
    }
    Some(if first >= length {
        Wanted::Outside
    } else {
        Wanted::Part {
            first,
            last: last.min(length - 1),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |first, last| Some(Wanted::Part { first, last });
        for (text, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=0-", part(0, 99)),
            ("bytes=10-19", part(10, 19)),
            ("bytes=90-1000", part(90, 99)),
            ("bytes=-10", part(90, 99)),
            ("bytes=-1000", part(0, 99)),
            ("bytes=100-", Some(Wanted::Outside)),
            ("bytes=100-200", Some(Wanted::Outside)),
            ("bytes=-0", Some(Wanted::Outside)),
            ("bytes=20-10", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("bytes=0-1,5-6", None),
            ("bytes=+1-2", None),
            ("bytes=99999999999999999999999-", None),
            ("items=0-1", None),
        ] {
            assert_eq!(parse(text, 100), expected, "{text}");
        }
        assert_eq!(parse("bytes=0-", 0), Some(Wanted::Outside));
    }
}
