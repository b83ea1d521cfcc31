//! Files of phones: uploading them as a stream, and looking at what has come.

use axum::{
    Json,
    body::Body as HttpBody,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::TryStreamExt;
use gatekeeper::{
    message::{Media, MediaKind},
    stanza::Jid,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Context, Error,
    error::Body,
    phones::{Answer, Empty, phone},
};
use crate::{
    media::{Fetch, Files, Shelf},
    phone::{
        Phone,
        log::{Entry, MediaState},
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AsKind {
    kind: String,
}

/// Takes a file of any size as the body of the request; a message can name it then.
pub(super) async fn upload(
    State(context): State<Context>,
    Path(number): Path<String>,
    query: Result<Query<AsKind>, QueryRejection>,
    body: HttpBody,
) -> Answer {
    phone(&context, &number)?;
    let kind = query
        .ok()
        .and_then(|Query(query)| MediaKind::from_word(&query.kind))
        .ok_or_else(|| {
            let known = MediaKind::ALL.map(MediaKind::word).join(", ");
            Error::bad(
                "the request does not say what the file is",
                format!("say it: ?kind= one of {known}"),
            )
        })?;
    let world = &context.world;
    let chunks = body.into_data_stream().map_err(std::io::Error::other);
    let hosted = world
        .files
        .host(kind, chunks, world.clock.now_ms())
        .await
        .map_err(not_kept)?;
    let (size, sha256) = (hosted.file.length, hex::encode(hosted.file.sha256));
    let id = world.uploads.keep(hosted);
    Ok(Json(json!({"upload": id, "size": size, "sha256": sha256})))
}

/// A file could not be taken.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn not_kept(error: std::io::Error) -> Error {
    Error::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        format!("the file cannot be kept: {error}"),
        "see whether all of it was sent, and whether the disk has room",
    )
}

/// Which message of a phone has this id and a file: the chat, what is shown of it, and the file.
fn find(phone: &Phone, id: &str) -> Answer<(Jid, Entry, Media)> {
    let inner = phone.lock();
    inner
        .chats
        .iter()
        .find_map(|(with, log)| {
            let entry = log.get(id)?.clone();
            Some((with.clone(), entry, inner.held_media(with, id)?))
        })
        .ok_or_else(|| {
            Error::missing(
                format!("no message `{id}` of this phone has a file"),
                "look for the id with GET /control/phones/{number}/messages?with=…",
            )
        })
}

/// The file of a message, decrypted, as the phone's owner sees it.
pub(super) async fn show(
    State(context): State<Context>,
    Path((number, id)): Path<(String, String)>,
) -> Answer<Response> {
    let phone = phone(&context, &number)?;
    let (with, entry, media) = find(&phone, &id)?;
    if entry.media != Some(MediaState::Ready) {
        let why = entry
            .media_error
            .unwrap_or_else(|| "it is being fetched".to_owned());
        return Err(Error::new(
            StatusCode::CONFLICT,
            format!("the file is not there: {why}"),
            "POST {} to the same address to fetch it again",
        ));
    }
    let key = (with, id);
    let place = phone
        .lock()
        .held
        .get(&key)
        .and_then(|held| held.file.clone());
    let opened = match place {
        Some((shelf, name)) => context.world.files.read(shelf, &name).await,
        None => Ok(None),
    };
    let (file, _) = opened.map_err(not_read)?.ok_or_else(|| {
        Error::new(
            StatusCode::GONE,
            "the file is older than thirty days and was thrown away",
            "send it again",
        )
    })?;
    let plain = Files::decrypted(file, &media).map_err(not_read)?;
    let mimetype = media.mimetype.parse().unwrap_or(OCTETS);
    let mut answer = Response::new(HttpBody::from_stream(plain));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, mimetype);
    headers.insert(header::CONTENT_LENGTH, media.file.length.into());
    // Its type is the sender's word, and it lies at the origin of the control API.
    for (name, value) in GUARDS {
        headers.insert(name, value);
    }
    Ok(answer.into_response())
}

const OCTETS: header::HeaderValue = header::HeaderValue::from_static("application/octet-stream");

/// No page that comes as a file may run scripts here.
const GUARDS: [(header::HeaderName, header::HeaderValue); 2] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        header::HeaderValue::from_static("nosniff"),
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        header::HeaderValue::from_static(
            "default-src 'none'; media-src 'self'; img-src 'self'; sandbox",
        ),
    ),
];

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn not_read(error: std::io::Error) -> Error {
    Error::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        format!("the file cannot be read: {error}"),
        "see whether somebody has changed the sandbox's files",
    )
}

/// Fetches the file of a received message again.
pub(super) async fn fetch(
    State(context): State<Context>,
    Path((number, id)): Path<(String, String)>,
    Body(Empty {}): Body<Empty>,
) -> Answer {
    let phone = phone(&context, &number)?;
    let (with, entry, _) = find(&phone, &id)?;
    if entry.from_me {
        return Err(Error::bad(
            "the phone has sent this file itself",
            "name a message that the phone has received",
        ));
    }
    let mut inner = phone.lock();
    if let Some(entry) = inner.chats.get_mut(&with).and_then(|log| log.get_mut(&id)) {
        entry.media = Some(MediaState::Fetching);
        entry.media_error = None;
    }
    let before = inner
        .held
        .get_mut(&(with.clone(), id.clone()))
        .and_then(|held| held.file.take());
    drop(inner);
    if let Some((Shelf::Received, name)) = before {
        context.world.files.remove(Shelf::Received, &name);
    }
    context.world.fetch(Fetch {
        phone: phone.number.clone(),
        with,
        id,
    });
    Ok(Json(json!({})))
}
