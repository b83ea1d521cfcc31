//! Phones fetch what partner users send them: as WhatsApp's clients do, from WhatsApp's media host,
//! which asks the partner.

use std::{io, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use gatekeeper::{
    media::{Decryptor, MediaError, download_url},
    message::Media,
    stanza::Jid,
};
use serde_json::json;
use tokio::{sync::mpsc, time::timeout};

use super::store::Shelf;
use crate::{
    phone::{
        Number,
        log::{Entry, MediaState},
    },
    world::World,
};

/// Files that are fetched at the same time.
const AT_ONCE: usize = 8;

/// Time in which something must come.
const SILENCE: Duration = Duration::from_secs(60);

/// A file that a phone shall fetch.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    /// The phone.
    pub phone: Number,
    /// Whose chat the message is in.
    pub with: Jid,
    /// The message.
    pub id: String,
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the media host answered {0}")]
    Status(reqwest::StatusCode),
    #[error("the media host cannot be reached or went silent")]
    Silent,
    #[error("the download ended: {0}")]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error("the file cannot be kept: {0}")]
    Io(#[from] io::Error),
}

/// Fetches what comes in.
pub(crate) async fn deliver(world: Arc<World>, mut wanted: mpsc::UnboundedReceiver<Fetch>) {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            fetch = wanted.recv(), if running.len() < AT_ONCE => match fetch {
                Some(fetch) => running.push(one(Arc::clone(&world), fetch)),
                None => return,
            },
            Some(()) = running.next() => {}
        }
    }
}

async fn one(world: Arc<World>, fetch: Fetch) {
    let Some(phone) = world.phone(&fetch.phone) else {
        return;
    };
    let Some(media) = phone.lock().held_media(&fetch.with, &fetch.id) else {
        return;
    };
    let fetched = download(&world, &media).await;
    let (state, error) = match &fetched {
        Ok(_) => (MediaState::Ready, None),
        Err(error) => (MediaState::Failed, Some(error.to_string())),
    };
    let with = world
        .account_named(&fetch.with.to_string())
        .map(|account| account.identifier.clone());
    let mut inner = phone.lock();
    match fetched {
        // Taken back while it was fetched.
        Ok(name) if !inner.hold_file(&fetch.with, &fetch.id, name.clone()) => {
            world.files.remove(Shelf::Received, &name);
        }
        _ => {}
    }
    let entry = inner
        .chats
        .get_mut(&fetch.with)
        .and_then(|log| log.get_mut(&fetch.id));
    if let Some(entry) = entry {
        entry.media = Some(state);
        entry.media_error.clone_from(&error);
    }
    drop(inner);
    world.touch();
    world.events.emit("media", || {
        json!({"phone": fetch.phone.to_string(), "with": with, "message": fetch.id,
               "media": state, "error": error})
    });
}

/// Fetches a file and keeps it as it came; it is kept only if all of it is what the message says.
async fn download(world: &World, media: &Media) -> Result<String, FetchError> {
    let url = download_url(&world.http_base(), &media.file);
    let mut answer = timeout(SILENCE, world.media_http.get(url).send())
        .await
        .map_err(|_| FetchError::Silent)?
        .map_err(|_| FetchError::Silent)?;
    if !answer.status().is_success() {
        return Err(FetchError::Status(answer.status()));
    }
    let mut decryptor = Decryptor::new(&media.file, media.kind)?;
    let mut writing = world
        .files
        .create(Shelf::Received, world.clock.now_ms())
        .await?;
    let mut plain = Vec::new();
    while let Some(chunk) = timeout(SILENCE, answer.chunk())
        .await
        .map_err(|_| FetchError::Silent)?
        .map_err(reqwest::Error::without_url)?
    {
        decryptor.update(&chunk, &mut plain)?;
        plain.clear();
        writing.write(&chunk).await?;
    }
    decryptor.finish(&mut plain)?;
    Ok(writing.finish().await?)
}

impl World {
    /// Lets a phone fetch a file.
    pub(crate) fn fetch(&self, fetch: Fetch) {
        // The fetcher lives as long as the sandbox.
        let _ = self.fetches.send(fetch);
    }

    /// After a restart: goes on with what was being fetched.
    pub(crate) fn fetch_what_is_missing(&self) {
        let missing = |entry: &&Entry| entry.media == Some(MediaState::Fetching);
        for phone in self.phones() {
            for (with, log) in &phone.lock().chats {
                for entry in log.iter().filter(missing) {
                    self.fetch(Fetch {
                        phone: phone.number.clone(),
                        with: with.clone(),
                        id: entry.id.clone(),
                    });
                }
            }
        }
    }
}
