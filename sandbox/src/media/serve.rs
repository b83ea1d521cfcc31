//! The media server, and the proxy through which WhatsApp's users fetch partners' files (G 6.2, 6.3).

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Path,
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};
use tokio_util::io::ReaderStream;
use tracing::warn;

use super::{
    range::{self, Asked},
    store::{self, Shelf},
};
use crate::{faults::MediaFault, push, world::World};

/// Path of a file on the media server.
pub(crate) const FILE_PATH: &str = "/v/{folder}/{name}";

/// Path of a partner's file at the proxy.
pub(crate) const DOWNLOAD_PATH: &str = "/interop/whatsapp/download/{integrator}/{reference}/";

const TYPE: &str = "application/octet-stream";

/// Bytes read from a file at a time.
const CHUNK: usize = 64 * 1024;

/// How long a connection stays open after its half of a file.
const BEFORE_CUT: Duration = Duration::from_millis(100);

/// Serves what a phone has put on the media server, with the fault that is on.
pub(crate) async fn file(world: &World, name: &str, headers: &HeaderMap) -> Response {
    let fault = world.faults().media;
    let refused = match fault {
        Some(MediaFault::Gone) => Some(StatusCode::GONE),
        Some(MediaFault::Missing) => Some(StatusCode::NOT_FOUND),
        Some(MediaFault::Forbidden) => Some(StatusCode::FORBIDDEN),
        _ if store::is_old(name, world.clock.now_ms()) => Some(StatusCode::GONE),
        _ => None,
    };
    if let Some(status) = refused {
        return status.into_response();
    }
    match world.files.read(Shelf::Hosted, name).await {
        Ok(Some((file, length))) => {
            let served = match fault {
                Some(fault) => damaged(file, length, fault).await,
                None => part(file, length, headers).await,
            };
            served.unwrap_or_else(|error| broken(&error))
        }
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => broken(&error),
    }
}

fn broken(error: &io::Error) -> Response {
    warn!(%error, "a file cannot be read");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

async fn part(mut file: File, length: u64, headers: &HeaderMap) -> io::Result<Response> {
    let asked = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok());
    let (status, range) = match range::parse(asked, length) {
        Asked::Whole => (StatusCode::OK, 0..length),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Nothing => {
            let all = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, all).into_response());
        }
    };
    file.seek(io::SeekFrom::Start(range.start)).await?;
    let count = range.end - range.start;
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(count), CHUNK));
    let mut answer = (
        status,
        [
            (header::CONTENT_TYPE, TYPE.to_owned()),
            (header::CONTENT_LENGTH, count.to_string()),
            (header::ACCEPT_RANGES, "bytes".to_owned()),
        ],
        body,
    )
        .into_response();
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = format!("bytes {}-{}/{length}", range.start, range.end - 1).parse()
    {
        answer.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    Ok(answer)
}

/// Serves a file that is not what it should be. Ranges are of no interest here.
async fn damaged(mut file: File, length: u64, fault: MediaFault) -> io::Result<Response> {
    let (sent, told) = match fault {
        MediaFault::Truncated => (length / 2, length / 2),
        MediaFault::Cut => (length / 2, length),
        MediaFault::WrongMac => (length.saturating_sub(1), length),
        MediaFault::TooLong => (length, length + 1),
        _ => (length, length),
    };
    let mut rest = Vec::new();
    let end: Option<io::Result<Bytes>> = match fault {
        MediaFault::WrongMac => {
            file.seek(io::SeekFrom::Start(sent)).await?;
            file.read_to_end(&mut rest).await?;
            rest.iter_mut().for_each(|byte| *byte ^= 0x55);
            file.rewind().await?;
            Some(Ok(Bytes::from(rest)))
        }
        MediaFault::TooLong => Some(Ok(Bytes::from_static(b"x"))),
        MediaFault::Cut => Some(Err(io::Error::other("the fault `cut` is on"))),
        _ => None,
    };
    let end = stream::iter(end).then(|end| async {
        if end.is_err() {
            // What came before goes out first.
            tokio::time::sleep(BEFORE_CUT).await;
        }
        end
    });
    let body = ReaderStream::with_capacity(file.take(sent), CHUNK).chain(end);
    Ok((
        [
            (header::CONTENT_TYPE, TYPE.to_owned()),
            (header::CONTENT_LENGTH, told.to_string()),
        ],
        Body::from_stream(body),
    )
        .into_response())
}

/// Headers that the proxy passes on in each direction.
const ASKED: [HeaderName; 1] = [header::RANGE];
const TOLD: [HeaderName; 4] = [
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::ACCEPT_RANGES,
];

/// Fetches a file from the partner that hosts it and streams it through.
pub(crate) async fn download(
    world: Arc<World>,
    method: Method,
    Path((integrator, reference)): Path<(u16, String)>,
    headers: HeaderMap,
) -> Response {
    let partner = world
        .partners
        .iter()
        .find(|one| one.config.integrator == integrator);
    // A segment of dots would climb out of the partner's base address.
    let (Some(partner), false) = (partner, reference.bytes().all(|byte| byte == b'.')) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let escaped: String = url_segment(&reference);
    let url = format!("{}/{escaped}", partner.config.base_url);
    let mut request = world.media_http.request(method, url);
    match push::token(
        &world,
        &partner.config.push_audience,
        world.faults().proxy_token,
    ) {
        Ok(Some(token)) => request = request.bearer_auth(token),
        Ok(None) => {}
        Err(error) => {
            warn!(%error, "the proxy's token cannot be made");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    }
    for name in ASKED {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let fetched = request.send().await;
    let status = fetched.as_ref().map(reqwest::Response::status).ok();
    world.events.emit(
        "media_proxied",
        || json!({"integrator": integrator, "status": status.map(|status| status.as_u16())}),
    );
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(error) => {
            warn!(integrator, error = %error.without_url(), "a partner's file cannot be fetched");
            return StatusCode::BAD_GATEWAY.into_response();
        }
    };
    let mut answer = fetched.status().into_response();
    for name in TOLD {
        if let Some(value) = fetched.headers().get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    *answer.body_mut() = Body::from_stream(fetched.bytes_stream().map_err(io::Error::other));
    answer
}

/// A text as one segment of a path.
fn url_segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_stays_one_segment() {
        assert_eq!(url_segment("vK3-_x"), "vK3-_x");
        assert_eq!(url_segment("../a?b#c"), "..%2Fa%3Fb%23c");
    }
}
