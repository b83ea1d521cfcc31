//! WhatsApp to Matrix: a file from the media server to the homeserver, encrypted as an attachment of the room.
//!
//! What was decrypted and is not verified yet goes nowhere but into the new encryption; the upload is completed only when
//! authentication code, hashes and length were right, and only a completed upload is named by an event.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gatekeeper::{
    media::{Decryptor, MediaError, download_url, encrypted_length},
    message::{self, Body, Media, MediaFile, MediaKind},
};
use http::StatusCode;
use puppeting::{AttachmentEncryptor, HttpError, Puppet};
use ruma::OwnedMxcUri;
use serde_json::Value;
use store::{Batch, Secret, media, portals::Portal};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::{THUMBNAIL, breaks, count, is_jpeg, transfers::Progress};
use crate::{
    core::{Core, Wake},
    passes::Hold,
    translate::{
        bytes, fits,
        media::{Attached, Uploaded, event, long_text, vcards},
    },
};

/// A login, a contact and a stanza.
pub(super) type Chat = (String, String, String);

/// Bytes that go to the homeserver at a time, and how many such pieces wait for it.
const PIECE: usize = 64 * 1024;
const AHEAD: usize = 4;

/// What came out of fetching a message's file.
#[derive(Debug, Clone)]
pub(crate) enum Fetching {
    /// It is at the homeserver.
    Done(Arc<Uploaded>),
    /// It is not to be had, now at least; why, for people.
    Lost(Lost),
    /// It may work later.
    Failed(Hold),
}

/// Why a file is not in the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The media server does not have it any more.
    Gone,
    /// It is not what its message promised.
    Damaged,
    /// It is larger than what the homeserver or the bridge takes.
    TooLarge {
        /// Its size, by its message.
        size: u64,
        /// The most that is taken.
        limit: u64,
    },
    /// The homeserver will not have it.
    Refused,
    /// Each transfer fails, though the servers are there.
    BreaksOff,
}

impl Lost {
    /// What people are told of a file of this kind.
    fn tell(&self, kind: MediaKind) -> String {
        let what = match kind {
            MediaKind::Image => "A picture",
            MediaKind::Video | MediaKind::Gif => "A video",
            MediaKind::RoundVideo => "A round video",
            MediaKind::Audio => "An audio file",
            MediaKind::Voice => "A voice message",
            MediaKind::Document => "A file",
            MediaKind::Sticker => "A sticker",
        };
        match self {
            Self::Gone => format!(
                "⚠️ {what} came that WhatsApp does not have any more. React with 🔁 to try again, or ask for it once more."
            ),
            Self::Damaged => format!(
                "⚠️ {what} came damaged: it is not what its sender sent, so it is not shown. React with 🔁 to try again, or ask for it once more."
            ),
            Self::TooLarge { size, limit } => format!(
                "⚠️ {what} came that is too large: it has {}, and at most {} are carried. React with 🔁 to try again when that has changed.",
                bytes(*size),
                bytes(*limit)
            ),
            Self::Refused => format!(
                "⚠️ {what} came that your homeserver did not take. React with 🔁 to try again."
            ),
            Self::BreaksOff => format!(
                "⚠️ {what} came that could not be carried over: the transfer fails again and again. React with 🔁 to try again."
            ),
        }
    }

    /// The content of the event that stands in the file's place.
    pub(super) fn placeholder(&self, media: &Media) -> Value {
        let mut text = self.tell(media.kind);
        if let Some(caption) = media.caption.as_deref().filter(|text| !text.is_empty()) {
            // What was said with it is not lost.
            text = format!("{text}\n\n{caption}");
        }
        serde_json::json!({ "msgtype": "m.notice", "body": text })
    }
}

/// Why a file was not carried over.
type Broken = breaks::Broken<Lost>;

impl From<Lost> for Broken {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<HttpError> for Broken {
    fn from(error: HttpError) -> Self {
        Self::retryable(error).unwrap_or_else(|error| {
            tracing::warn!(%error, "the homeserver does not take a file");
            Self::Lost(Lost::Refused)
        })
    }
}

/// The content of the event for a message with a file, whose file is carried over first; nothing for messages without.
/// What has to be written with it is added to `batch`.
///
/// # Errors
///
/// A [`Hold`] while the file is on its way: the chat is woken when it is there.
pub(crate) fn content(
    core: &Arc<Core>,
    portal: &Portal,
    stanza_id: &str,
    body: &Body,
    batch: &mut Batch,
) -> Result<Option<Value>, Hold> {
    let Some(file) = File::of(body) else {
        return Ok(None);
    };
    let chat = (portal.login.clone(), portal.peer.clone());
    let key = (chat.0.clone(), chat.1.clone(), stanza_id.to_owned());
    let waker = core.clone();
    let ended = move || waker.wake(Wake::Chat(chat.0, chat.1));
    match ask(core, portal, &key, file.clone(), ended) {
        Progress::UnderWay => Err(Hold::for_a_file()),
        Progress::Ended(Fetching::Done(uploaded)) => Ok(Some(event(&file.media, &uploaded))),
        Progress::Ended(Fetching::Failed(hold)) => {
            core.media.fetching.take(&key);
            Err(hold)
        }
        Progress::Ended(Fetching::Lost(lost)) => {
            missing(core, &key, body, batch)?;
            Ok(Some(lost.placeholder(&file.media)))
        }
    }
}

/// A message is in the database: what was kept for it is not needed any more.
pub(crate) fn fetched(core: &Core, login: &str, peer: &str, stanza_id: &str) {
    let key = (login.to_owned(), peer.to_owned(), stanza_id.to_owned());
    core.media.fetching.take(&key);
    core.media.fetching_breaks.forget(&key);
}

/// Keeps what it takes to fetch the file later.
fn missing(core: &Core, key: &Chat, body: &Body, batch: &mut Batch) -> Result<(), Hold> {
    let content = message::encode(body).map_err(|error| Hold::failed(&error))?;
    media::put_missing(
        batch,
        media::Missing {
            login: key.0.clone(),
            peer: key.1.clone(),
            stanza_id: key.2.clone(),
            content: Secret::new(content),
            created_ts: core.now(),
        },
    );
    Ok(())
}

/// The outcome of fetching a file; starts it if there is none.
pub(super) fn ask(
    core: &Arc<Core>,
    portal: &Portal,
    key: &Chat,
    file: File,
    ended: impl FnOnce() + Send + 'static,
) -> Progress<Fetching> {
    let work = {
        let (core, ghost, key) = (core.clone(), portal.ghost.clone(), key.clone());
        async move { fetch(&core, &ghost, &key, file).await }
    };
    core.media.fetching.ask(key, &portal.login, work, ended)
}

/// What is to be carried over.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// What is said about it.
    pub(super) media: Media,
    /// The file itself, where it is no file on WhatsApp.
    inside: Option<Bytes>,
}

impl File {
    /// The file of a message, if it has one.
    pub(super) fn of(body: &Body) -> Option<Self> {
        match body {
            Body::Media(media) => Some(Self {
                media: (**media).clone(),
                inside: None,
            }),
            Body::Contacts { contacts, context } => {
                let (name, file) = vcards(contacts);
                let media = Media {
                    file_name: Some(name),
                    context: context.clone(),
                    ..Media::new(MediaKind::Document, "text/vcard", nowhere(file.len()))
                };
                Some(Self {
                    media,
                    inside: Some(file.into()),
                })
            }
            // It fits into no event.
            Body::Text { text, context } if !fits(text, None) => {
                let (name, caption) = long_text(text);
                let media = Media {
                    file_name: Some(name),
                    caption: Some(caption),
                    context: context.clone(),
                    ..Media::new(MediaKind::Document, "text/plain", nowhere(text.len()))
                };
                Some(Self {
                    media,
                    inside: Some(text.clone().into()),
                })
            }
            _ => None,
        }
    }
}

/// A file of so many bytes that lies nowhere.
fn nowhere(length: usize) -> MediaFile {
    MediaFile {
        key: [0; 32].into(),
        sha256: [0; 32],
        enc_sha256: [0; 32],
        length: length as u64,
        direct_path: String::new(),
        url: None,
        key_timestamp: 0,
    }
}

async fn fetch(core: &Core, ghost: &str, key: &Chat, file: File) -> Fetching {
    let outcome = match try_fetch(core, ghost, &file).await {
        Ok(uploaded) => Fetching::Done(Arc::new(uploaded)),
        Err(Broken::Lost(lost)) => Fetching::Lost(lost),
        Err(Broken::File(_)) if core.media.fetching_breaks.count(key) => {
            Fetching::Lost(Lost::BreaksOff)
        }
        Err(Broken::File(hold) | Broken::Away(hold)) => Fetching::Failed(hold),
    };
    let (word, length) = match &outcome {
        Fetching::Done(uploaded) => ("done", uploaded.main.size),
        Fetching::Lost(_) => ("lost", 0),
        Fetching::Failed(_) => ("failed", 0),
    };
    count("matrix", word, length);
    if word != "done" {
        tracing::info!(stanza = %core.log_id(&key.2), outcome = word, "a file from WhatsApp was not carried over");
    }
    outcome
}

async fn try_fetch(core: &Core, ghost: &str, file: &File) -> Result<Uploaded, Broken> {
    let ghost = core.ghost(ghost).await?;
    let media = &file.media;
    let size = media.file.length;
    let own = core.capabilities.limits().file_bytes;
    let limit = match ghost.upload_limit().await? {
        Some(homeservers) => own.min(homeservers),
        None => own,
    };
    if size > limit {
        return Err(Lost::TooLarge { size, limit }.into());
    }
    let main = match &file.inside {
        Some(inside) => attach(&ghost, inside).await?,
        None => carry(core, &ghost, media).await?,
    };
    let thumbnail = media
        .thumbnail
        .as_deref()
        .filter(|picture| is_jpeg(picture) && picture.len() <= THUMBNAIL);
    let thumbnail = match thumbnail {
        // An event is as good without it.
        Some(picture) => attach(&ghost, picture).await.ok(),
        None => None,
    };
    Ok(Uploaded { main, thumbnail })
}

/// Uploads what is in memory.
async fn attach(ghost: &Puppet, plain: &[u8]) -> Result<Attached, Broken> {
    let failed = |error: puppeting::AttachmentError| Broken::File(Hold::failed(&error));
    let mut encryptor = AttachmentEncryptor::new().map_err(failed)?;
    let mut out = Vec::with_capacity(plain.len());
    encryptor.update(plain, &mut out).map_err(failed)?;
    let size = plain.len() as u64;
    let body = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(out))]);
    let url = ghost.upload(size, body).await?;
    let file = encryptor.finish().file(url);
    Ok(Attached { file, size })
}

/// Carries the file from server to server.
async fn carry(core: &Core, ghost: &Puppet, media: &Media) -> Result<Attached, Broken> {
    let size = media.file.length;
    let url = download_url(&core.profile.media.host, &media.file);
    let request = failpoints::around!("fetching.download", core.media.client.get(url).send().await);
    let response = request.map_err(|error| {
        let away = error.is_connect();
        // Without the address: its path is a secret of the chat.
        let hold = Hold::failed(&error.without_url());
        if away {
            Broken::Away(hold)
        } else {
            Broken::File(hold)
        }
    })?;
    match response.status() {
        StatusCode::OK => {}
        status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => {
            return Err(unanswered(status));
        }
        status if status.is_server_error() => return Err(unanswered(status)),
        _ => return Err(Lost::Gone.into()),
    }
    let announced = response.content_length();
    if announced.is_some_and(|length| length != encrypted_length(size)) {
        return Err(Lost::Damaged.into());
    }
    tracing::debug!(size, "a file from WhatsApp is on its way");
    let decryptor = Decryptor::new(&media.file, media.kind).map_err(verdict)?;
    let encryptor = AttachmentEncryptor::new().map_err(|e| Hold::failed(&e))?;
    let (pieces, receiver) = mpsc::channel(AHEAD);
    let pump = pump(response, decryptor, encryptor, pieces);
    let body = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<Bytes, std::io::Error>(piece), receiver))
    });
    failpoints::pass!("fetching.upload");
    let upload = ghost.upload(size, body);
    let (mut pump, mut upload) = (std::pin::pin!(pump), std::pin::pin!(upload));
    let mut keys = None;
    let url: OwnedMxcUri = loop {
        tokio::select! {
            // The pump first: its verdict on the file counts more than the upload that fails for it.
            biased;
            result = &mut pump, if keys.is_none() => match result {
                Ok(encryptor) => keys = Some(encryptor.finish()),
                // Nobody takes the pieces: the upload says why.
                Err(Stopped::Upload) => break upload.await?,
                Err(Stopped::File(broken)) => return Err(broken),
            },
            result = &mut upload => break result?,
        }
    };
    failpoints::pass!("fetching.uploaded");
    let Some(keys) = keys else {
        return Err(Broken::File(Hold::until(
            "the homeserver took a file before it was whole",
        )));
    };
    Ok(Attached {
        file: keys.file(url),
        size,
    })
}

fn unanswered(status: StatusCode) -> Broken {
    Broken::File(Hold::until(&format!(
        "the media server answers {}",
        status.as_u16()
    )))
}

/// What is wrong with a file, or with us.
fn verdict(error: MediaError) -> Broken {
    match error {
        MediaError::Cipher(error) => Broken::File(Hold::failed(&error)),
        error => {
            tracing::warn!(%error, "a file from WhatsApp is damaged");
            Lost::Damaged.into()
        }
    }
}

/// Why pieces do not go on.
enum Stopped {
    /// The file or its server.
    File(Broken),
    /// The homeserver.
    Upload,
}

impl From<Broken> for Stopped {
    fn from(broken: Broken) -> Self {
        Self::File(broken)
    }
}

/// From one encryption into the other, a piece at a time. The last byte stays back until all of the file is verified, so
/// that no upload can be complete before. If it fails, the upload ends early.
async fn pump(
    mut response: reqwest::Response,
    mut decryptor: Decryptor,
    mut encryptor: AttachmentEncryptor,
    pieces: mpsc::Sender<Bytes>,
) -> Result<AttachmentEncryptor, Stopped> {
    let cipher = |error| Stopped::File(Broken::File(Hold::failed(&error)));
    let mut plain = Zeroizing::new(Vec::new());
    let mut encrypted = Vec::new();
    let mut waiting = BytesMut::with_capacity(2 * PIECE);
    loop {
        let piece = response.chunk().await.map_err(|error| {
            tracing::debug!(error = %error.without_url(), "a file broke off");
            Broken::File(Hold::until("the media server broke a file off"))
        })?;
        let Some(piece) = piece else { break };
        decryptor.update(&piece, &mut plain).map_err(verdict)?;
        encryptor.update(&plain, &mut encrypted).map_err(cipher)?;
        waiting.extend_from_slice(&encrypted);
        plain.clear();
        encrypted.clear();
        while waiting.len() > PIECE {
            let piece = waiting.split_to(PIECE).freeze();
            pieces.send(piece).await.map_err(|_| Stopped::Upload)?;
        }
    }
    decryptor.finish(&mut plain).map_err(verdict)?;
    encryptor.update(&plain, &mut encrypted).map_err(cipher)?;
    waiting.extend_from_slice(&encrypted);
    if !waiting.is_empty() {
        let piece = waiting.freeze();
        pieces.send(piece).await.map_err(|_| Stopped::Upload)?;
    }
    Ok(encryptor)
}
