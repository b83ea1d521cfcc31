//! Matrix to WhatsApp: a file of an event into the media folder, encrypted for WhatsApp.

use std::{io, sync::Arc};

use gatekeeper::{
    media::{Encryptor, MediaKey, Sums, storage_path},
    message::MediaFile,
    stanza::Jid,
};
use puppeting::{AttachmentDecryptor, AttachmentError, Download, HttpError, Puppet};
use ruma::MxcUri;
use serde_json::Value;
use store::{Batch, Secret, logins, media, portals::Portal};
use zeroize::Zeroizing;

use super::{
    THUMBNAIL, breaks, count,
    folder::{Reference, Unfinished},
    is_jpeg,
    transfers::Progress,
};
use crate::{
    core::{Core, Wake},
    notices,
    passes::Hold,
    translate::media::{Attachment, Source, blurred},
};

/// Milliseconds of a day.
const DAY: i64 = 24 * 3600 * 1000;

/// What came out of carrying a file into the folder.
#[derive(Debug, Clone)]
pub(crate) enum Hosting {
    /// It is there, and the database knows.
    Hosted,
    /// It cannot be sent.
    Refused(Unsent),
    /// It may work later.
    Failed(Hold),
}

/// Why a file is not sent, for its sender.
#[derive(Debug, Clone)]
pub(crate) enum Unsent {
    /// It cannot be.
    Never(String),
    /// There is no room for it at present.
    Full(String),
}

/// Why a file was not carried; if it is lost, what its sender is told.
pub(super) type Broken = breaks::Broken<Unsent>;

/// A file that can never be sent.
fn never(why: impl Into<String>) -> Broken {
    Broken::Lost(Unsent::Never(why.into()))
}

impl From<store::Error> for Broken {
    fn from(error: store::Error) -> Self {
        Self::Away(error.into())
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        // No space, most likely: the operator's affair, and the message waits for it.
        Self::Away(Hold::failed(&error))
    }
}

impl From<HttpError> for Broken {
    fn from(error: HttpError) -> Self {
        Self::retryable(error).unwrap_or_else(|error| {
            tracing::warn!(%error, "a file cannot be had from the homeserver");
            never("its file is not on your homeserver any more. Send it again")
        })
    }
}

impl From<AttachmentError> for Broken {
    fn from(error: AttachmentError) -> Self {
        match error {
            AttachmentError::Hash => never(
                "its file is damaged on your homeserver: it is not the one that was sent. Send it again",
            ),
            AttachmentError::Unsupported => {
                never("its file is encrypted in a way that this bridge does not know")
            }
            error => Self::File(Hold::failed(&error)),
        }
    }
}

/// What an event's file is for WhatsApp.
#[derive(Debug)]
pub(crate) enum Read {
    /// It can be fetched.
    Ready {
        /// Where it is and what opens it.
        file: MediaFile,
        /// A small JPEG of it.
        thumbnail: Option<Vec<u8>>,
    },
    /// It cannot be sent.
    Refused(Unsent),
}

/// The hosted file of an event. If there is none, it is carried over first: the room waits, and is woken when it is there.
pub(crate) async fn host(
    core: &Arc<Core>,
    portal: &Portal,
    event_id: &str,
    attachment: &Attachment,
) -> Result<Read, Hold> {
    if let Some(ready) = hosted(core, &portal.login, event_id).await? {
        core.media.hosting.take(&event_id.to_owned());
        return Ok(ready);
    }
    let Some(room) = portal.room_id.as_deref() else {
        return Ok(Read::Refused(Unsent::Never(
            "the room is closed".to_owned(),
        )));
    };
    if core.login(&portal.login).await?.is_none() {
        // Nothing is fetched for somebody who cannot send it.
        let text = notices::why_no_login(core, &portal.login);
        return Ok(Read::Refused(Unsent::Never(text.to_owned())));
    }
    let room = core.room(room)?;
    let key = event_id.to_owned();
    let work = {
        let (core, portal) = (core.clone(), portal.clone());
        let (event_id, attachment) = (key.clone(), attachment.clone());
        async move { carry(&core, &portal, &event_id, &attachment).await }
    };
    let waker = core.clone();
    let ended = move || waker.wake(Wake::Inbox(room));
    match core.media.hosting.ask(&key, &portal.login, work, ended) {
        Progress::UnderWay => Err(Hold::for_a_file()),
        Progress::Ended(outcome) => {
            core.media.hosting.take(&key);
            match outcome {
                Hosting::Refused(why) => Ok(Read::Refused(why)),
                Hosting::Failed(hold) => Err(hold),
                // It was there a moment ago.
                Hosting::Hosted => Err(Hold::after(std::time::Duration::ZERO)),
            }
        }
    }
}

/// The file of an event if it is there, and not about to end.
async fn hosted(core: &Core, login: &str, event_id: &str) -> Result<Option<Read>, Hold> {
    let Some(row) = media::by_event(&core.store, event_id).await? else {
        return Ok(None);
    };
    let held = match Reference::parse(&row.reference) {
        Some(reference) if row.expires_ts > core.now() => {
            let held = core.media.folder.holds(&reference).await;
            held.map_err(|error| Hold::failed(&error))?
        }
        _ => false,
    };
    if !held {
        // Swept, or lost with the folder: it is carried over once more under a new reference.
        let mut batch = Batch::new();
        media::forget(&mut batch, &row.reference);
        core.store.commit(batch).await?;
        return Ok(None);
    }
    let damaged = || Hold::damaged("a stored file's keys are damaged");
    let (key, sha256) = row.keys.split_first_chunk::<32>().ok_or_else(damaged)?;
    let sums = Sums {
        sha256: sha256.try_into().map_err(|_| damaged())?,
        enc_sha256: row
            .enc_sha256
            .as_slice()
            .try_into()
            .map_err(|_| damaged())?,
        length: row.length.unsigned_abs(),
    };
    let path = storage_path(integrator(core, login).await?, &row.reference);
    let key = MediaKey::from(*key);
    Ok(Some(Read::Ready {
        file: MediaFile::new(key, sums, path, row.created_ts / 1000),
        thumbnail: row.thumbnail.map(|thumbnail| thumbnail.to_vec()),
    }))
}

/// Our number with the gatekeeper, which is in the path of each hosted file.
async fn integrator(core: &Core, login: &str) -> Result<u16, Hold> {
    if let Some(integrator) = core.config.gatekeeper.integrator {
        return Ok(integrator);
    }
    let row = logins::get(&core.store, login).await?;
    let jid: Option<Jid> = row.and_then(|row| row.jid?.parse().ok());
    jid.map(|jid| jid.integrator)
        .ok_or_else(Hold::not_connected)
}

async fn carry(core: &Core, portal: &Portal, event_id: &str, attachment: &Attachment) -> Hosting {
    let (breaks, key) = (&core.media.hosting_breaks, event_id.to_owned());
    let outcome = match try_carry(core, portal, event_id, attachment).await {
        Ok(bytes) => {
            breaks.forget(&key);
            count("whatsapp", "done", bytes);
            return Hosting::Hosted;
        }
        Err(Broken::Lost(why)) => Hosting::Refused(why),
        Err(Broken::File(_)) if breaks.count(&key) => Hosting::Refused(Unsent::Never(
            "its file cannot be had from your homeserver, which was asked several times. Send it again"
                .to_owned(),
        )),
        Err(Broken::File(hold) | Broken::Away(hold)) => Hosting::Failed(hold),
    };
    let word = match &outcome {
        Hosting::Refused(_) => {
            breaks.forget(&key);
            "refused"
        }
        _ => "failed",
    };
    count("whatsapp", word, 0);
    tracing::info!(event = %core.log_id(event_id), outcome = word, "a file was not carried to WhatsApp");
    outcome
}

async fn try_carry(
    core: &Core,
    portal: &Portal,
    event_id: &str,
    attachment: &Attachment,
) -> Result<u64, Broken> {
    let ghost = core.ghost(&portal.ghost).await?;
    let limit = core.capabilities.limits().file_bytes;
    let too_large = || {
        let refusal = crate::translate::Refusal::TooLarge { limit };
        never(refusal.to_string())
    };
    let (mut download, decryptor) =
        failpoints::around!("hosting.download", begin(&ghost, &attachment.source).await)?;
    if download.length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let expected = download.length().unwrap_or(limit);
    let _reserved = core
        .media
        .quota
        .reserve(core, &portal.login, expected)
        .await?;
    let key = MediaKey::random(&mut rand::rng());
    let mut pipe = Pipe {
        decryptor,
        encryptor: Encryptor::new(&key, attachment.kind).map_err(|e| Hold::failed(&e))?,
        plain: Zeroizing::default(),
        out: Vec::new(),
        file: core.media.folder.begin().await?,
    };
    let mut received = 0_u64;
    while let Some(piece) = download.chunk().await.map_err(broke_off)? {
        received = received.saturating_add(piece.len() as u64);
        if received > limit {
            return Err(too_large());
        }
        pipe.take(&piece).await?;
    }
    // The hash decides: until it is right there is nothing but an unfinished file.
    let (sums, file) = pipe.finish().await?;
    let thumbnail = match &attachment.thumbnail {
        Some(source) => small_picture(&ghost, source).await,
        None => None,
    };
    let thumbnail = thumbnail.or_else(|| {
        let hash = attachment.blurhash.as_deref()?;
        blurred(hash, attachment.width, attachment.height)
    });
    let reference = failpoints::around!("hosting.file", file.finish().await)?;
    let mut keys = Zeroizing::new([0; 64]);
    keys.iter_mut()
        .zip(key.as_bytes().iter().chain(&sums.sha256))
        .for_each(|(to, from)| *to = *from);
    let now = core.now();
    let retention = i64::from(core.profile.media.retention_days).saturating_mul(DAY);
    let mut batch = Batch::new();
    media::put(
        &mut batch,
        media::Hosted {
            reference: reference.as_str().to_owned(),
            login: portal.login.clone(),
            peer: portal.peer.clone(),
            event_id: event_id.to_owned(),
            keys: Secret::new(keys.to_vec()),
            enc_sha256: sums.enc_sha256.to_vec(),
            length: i64::try_from(sums.length).unwrap_or(i64::MAX),
            kind: attachment.kind.word().to_owned(),
            thumbnail: thumbnail.map(Secret::new),
            created_ts: now,
            expires_ts: now.saturating_add(retention),
        },
    );
    let committed = failpoints::around!("hosting.commit", core.store.commit(batch).await);
    if let Err(error) = committed {
        // Nobody will ask for it.
        let _ = core.media.folder.remove(&reference).await;
        return Err(error.into());
    }
    Ok(sums.length)
}

/// The homeserver answered and did not give all of a file.
fn broke_off(error: HttpError) -> Broken {
    Broken::File(error.into())
}

/// From one encryption into the other and to the disk, a piece at a time.
struct Pipe {
    decryptor: Option<AttachmentDecryptor>,
    encryptor: Encryptor,
    plain: Zeroizing<Vec<u8>>,
    out: Vec<u8>,
    file: Unfinished,
}

impl Pipe {
    async fn take(&mut self, piece: &[u8]) -> Result<(), Broken> {
        self.plain.clear();
        self.out.clear();
        let plain = match &mut self.decryptor {
            Some(decryptor) => {
                decryptor.update(piece, &mut self.plain)?;
                self.plain.as_slice()
            }
            None => piece,
        };
        self.encryptor
            .update(plain, &mut self.out)
            .map_err(|error| Hold::failed(&error))?;
        self.file.write(&self.out).await?;
        Ok(())
    }

    async fn finish(mut self) -> Result<(Sums, Unfinished), Broken> {
        if let Some(decryptor) = self.decryptor {
            decryptor.finish()?;
        }
        self.out.clear();
        let sums = self
            .encryptor
            .finish(&mut self.out)
            .map_err(|error| Hold::failed(&error))?;
        self.file.write(&self.out).await?;
        Ok((sums, self.file))
    }
}

async fn begin(
    ghost: &Puppet,
    source: &Source,
) -> Result<(Download, Option<AttachmentDecryptor>), Broken> {
    let (uri, decryptor): (&MxcUri, _) = match source {
        Source::Encrypted(file) => (&file.url, Some(AttachmentDecryptor::new(file)?)),
        Source::Plain(uri) => (uri, None),
    };
    Ok((ghost.download(uri).await?, decryptor))
}

/// A small JPEG, if it is one. A message is as good without it.
async fn small_picture(ghost: &Puppet, source: &Source) -> Option<Vec<u8>> {
    let read = async {
        let (mut download, mut decryptor) = begin(ghost, source).await?;
        let mut picture = Vec::new();
        while let Some(piece) = download.chunk().await? {
            match &mut decryptor {
                Some(decryptor) => decryptor.update(&piece, &mut picture)?,
                None => picture.extend_from_slice(&piece),
            }
            if picture.len() > THUMBNAIL {
                return Ok(None);
            }
        }
        if let Some(decryptor) = decryptor {
            decryptor.finish()?;
        }
        Ok::<_, Broken>(Some(picture).filter(|picture| is_jpeg(picture)))
    };
    match read.await {
        Ok(picture) => picture,
        Err(_) => {
            tracing::debug!("a thumbnail could not be had");
            None
        }
    }
}

/// Somebody deleted an event: the file that is hosted for it is not given out any more. `body` is the redaction's JSON.
pub(crate) async fn redacted(core: &Core, portal: &Portal, body: &str) -> Result<(), Hold> {
    let Ok(body) = serde_json::from_str::<Value>(body) else {
        return Ok(());
    };
    let target = [&body["redacts"], &body["content"]["redacts"]];
    let Some(target) = target.into_iter().find_map(Value::as_str) else {
        return Ok(());
    };
    let Some(row) = media::by_event(&core.store, target).await? else {
        return Ok(());
    };
    // Of this chat only: a redaction names whatever its sender likes.
    if row.login == portal.login && row.peer == portal.peer {
        end(core, target).await?;
    }
    Ok(())
}

/// The file of an event is not needed any more.
pub(crate) async fn end(core: &Core, event_id: &str) -> Result<(), store::Error> {
    let mut batch = Batch::new();
    media::end(&mut batch, event_id, core.now());
    failpoints::around!("hosting.end.commit", core.store.commit(batch).await)?;
    core.wake(Wake::Media);
    Ok(())
}
