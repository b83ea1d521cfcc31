use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::*;
use crate::{HomeserverConfig, Token};

#[derive(Default)]
struct Server {
    old: bool,
    uploaded: Mutex<Vec<u8>>,
    headers: Mutex<HeaderMap>,
    asked: AtomicUsize,
}

fn unrecognized() -> Response {
    let body = json!({"errcode": "M_UNRECOGNIZED", "error": "no such path"});
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

async fn stable(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    path: Path<String>,
) -> Response {
    if server.old {
        return unrecognized();
    }
    match path.as_str() {
        "elsewhere" => (
            StatusCode::TEMPORARY_REDIRECT,
            [("location", "/bucket?signed=1")],
        )
            .into_response(),
        "gone" => {
            let body = json!({"errcode": "M_NOT_FOUND", "error": "no such file"});
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
        "short" => Response::builder()
            .header("content-length", 10)
            .body(Body::from_stream(futures_util::stream::iter([
                Ok(Bytes::from_static(b"half")),
                Err(io::Error::other("cut")),
            ])))
            .unwrap(),
        _ => {
            *server.headers.lock().unwrap() = headers;
            "the file".into_response()
        }
    }
}

async fn upload(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Response {
    *server.headers.lock().unwrap() = headers;
    match axum::body::to_bytes(body, usize::MAX).await {
        Ok(bytes) => {
            *server.uploaded.lock().unwrap() = bytes.to_vec();
            Json(json!({"content_uri": "mxc://localhost/new"})).into_response()
        }
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn start(server: Server) -> (Homeserver, Arc<Server>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = Arc::new(server);
    let config = |State(server): State<Arc<Server>>, _: Query<Value>| async move {
        server.asked.fetch_add(1, Ordering::SeqCst);
        if server.old {
            return unrecognized();
        }
        Json(json!({"m.upload.size": 1000})).into_response()
    };
    let router = Router::new()
        .route(
            "/_matrix/client/v1/media/download/localhost/{id}",
            get(stable),
        )
        .route(
            "/_matrix/media/v3/download/localhost/{id}",
            get(|| async { "an old file" }),
        )
        .route(
            "/bucket",
            get(|headers: HeaderMap| async move {
                assert!(!headers.contains_key("authorization"), "the token stays");
                "from the bucket"
            }),
        )
        .route("/_matrix/media/v3/upload", post(upload))
        .route("/_matrix/client/v1/media/config", get(config))
        .route(
            "/_matrix/media/v3/config",
            get(|| async { Json(json!({})) }),
        )
        .with_state(server.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let homeserver = Homeserver::new(HomeserverConfig {
        url,
        server_name: "localhost".try_into().unwrap(),
        appservice_id: "gatehouse".to_owned(),
        as_token: Token::new("secret"),
        bot: "@whatsappbot:localhost".try_into().unwrap(),
    })
    .unwrap();
    (homeserver, server)
}

fn ghost() -> Identity<'static> {
    Identity::user("@whatsapp_1:localhost".try_into().unwrap())
}

async fn fetch(homeserver: &Homeserver, id: &str) -> Result<String, HttpError> {
    let uri = format!("mxc://localhost/{id}");
    let mut file = homeserver.download(ghost(), uri.as_str().into()).await?;
    let mut text = Vec::new();
    while let Some(chunk) = file.chunk().await? {
        text.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_file_comes_by_the_authenticated_path() {
    let (homeserver, server) = start(Server::default()).await;
    assert_eq!(fetch(&homeserver, "abc").await.unwrap(), "the file");
    let headers = server.headers.lock().unwrap().clone();
    assert_eq!(headers["authorization"], "Bearer secret");
    assert_eq!(
        fetch(&homeserver, "elsewhere").await.unwrap(),
        "from the bucket"
    );
    let gone = fetch(&homeserver, "gone").await.unwrap_err();
    assert!(!gone.is_retryable() && gone.status() == Some(404), "{gone}");
    let cut = fetch(&homeserver, "short").await.unwrap_err();
    assert!(cut.is_retryable(), "{cut}");
}

#[tokio::test]
async fn an_older_server_is_asked_the_older_way() {
    let (homeserver, _) = start(Server {
        old: true,
        ..Server::default()
    })
    .await;
    assert_eq!(fetch(&homeserver, "abc").await.unwrap(), "an old file");
    assert_eq!(homeserver.upload_limit(ghost()).await.unwrap(), None);
}

#[tokio::test]
async fn an_upload_says_its_length_and_not_its_kind() {
    let (homeserver, server) = start(Server::default()).await;
    let body = futures_util::stream::iter([
        Ok::<_, io::Error>(Bytes::from_static(b"one ")),
        Ok(Bytes::from_static(b"two")),
    ]);
    let uri = homeserver.upload(ghost(), 7, body).await.unwrap();
    assert_eq!(uri, "mxc://localhost/new");
    assert_eq!(*server.uploaded.lock().unwrap(), b"one two");
    let headers = server.headers.lock().unwrap().clone();
    assert_eq!(headers["content-length"], "7");
    assert!(!headers.contains_key("transfer-encoding"));
    assert_eq!(headers["content-type"], "application/octet-stream");
}

#[tokio::test]
async fn an_upload_that_is_broken_off_is_nobodys() {
    let (homeserver, server) = start(Server::default()).await;
    let body = futures_util::stream::iter([
        Ok(Bytes::from_static(b"one ")),
        Err(io::Error::other("the file is damaged")),
    ]);
    assert!(homeserver.upload(ghost(), 7, body).await.is_err());
    assert!(server.uploaded.lock().unwrap().is_empty());
    // One that ends early is no whole file either.
    let body = futures_util::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"one "))]);
    assert!(homeserver.upload(ghost(), 7, body).await.is_err());
    assert!(server.uploaded.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_limit_is_asked_for_once() {
    let (homeserver, server) = start(Server::default()).await;
    for _ in 0..3 {
        assert_eq!(homeserver.upload_limit(ghost()).await.unwrap(), Some(1000));
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
}
