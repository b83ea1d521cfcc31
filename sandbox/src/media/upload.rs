//! Where stock clients upload their files: encrypted already, and kept as they come.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Path, Query},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::store::{self, Shelf};
use crate::world::World;

/// Path of an upload: the kind of file, and the SHA-256 of what comes in base64.
pub(crate) const UPLOAD_PATH: &str = "/mms/{kind}/{token}";

/// Clients write the hash with and without padding.
const HASH: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What an upload says besides its path.
#[derive(Debug, Deserialize)]
pub(crate) struct Claim {
    auth: String,
}

/// Takes an upload and tells where the file is.
pub(crate) async fn upload(
    world: Arc<World>,
    Path((_, token)): Path<(String, String)>,
    Query(claim): Query<Claim>,
    body: Body,
) -> Response {
    if claim.auth != world.media_auth {
        return (
            StatusCode::UNAUTHORIZED,
            "ask for media_conn again: the token is another one",
        )
            .into_response();
    }
    let Ok(expected) = HASH.decode(&token) else {
        return (StatusCode::BAD_REQUEST, "the path ends in no base64url").into_response();
    };
    match keep(&world, body, &expected).await {
        Ok(Some(name)) => {
            let path = store::hosted_path(&name);
            let url = format!("{}{path}", world.https_base());
            Json(json!({"url": url, "direct_path": path})).into_response()
        }
        Ok(None) => (
            StatusCode::BAD_REQUEST,
            "the SHA-256 of the file is not the one in the path",
        )
            .into_response(),
        Err(error) => {
            tracing::warn!(%error, "an upload cannot be kept");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Keeps a file if it is what it is said to be; returns its name.
async fn keep(world: &World, body: Body, expected: &[u8]) -> std::io::Result<Option<String>> {
    let now_ms = world.clock.now_ms();
    let mut writing = world.files.create(Shelf::Hosted, now_ms).await?;
    let mut hash = Sha256::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(std::io::Error::other)?;
        hash.update(&chunk);
        writing.write(&chunk).await?;
    }
    if hash.finalize().as_slice() != expected {
        return Ok(None);
    }
    Ok(Some(writing.finish().await?))
}
