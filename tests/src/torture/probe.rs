//! A chat of its own that tells whether messages go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::sandbox::{Message, Phone};
use crate::{Error, Result, wait};

const LONG: Duration = Duration::from_secs(600);

/// A chat that no script uses.
#[derive(Debug)]
pub struct Probe<'a> {
    client: &'a Client,
    phone: Phone,
    room: String,
    ghost: String,
    count: AtomicUsize,
    /// What was written to the phone and not waited for.
    under_way: Mutex<Vec<String>>,
}

impl<'a> Probe<'a> {
    /// Uses a chat that is open.
    #[must_use]
    pub fn new(client: &'a Client, phone: Phone, room: String, ghost: String) -> Self {
        Self {
            client,
            phone,
            room,
            ghost,
            count: AtomicUsize::new(0),
            under_way: Mutex::default(),
        }
    }

    /// Has the client forget the room's key: the next message comes with a new one.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn forget_room_key(&self) -> Result<()> {
        self.client.discard_session(&self.room).await
    }

    /// Sends a message to the phone; whoever passes next waits for it.
    ///
    /// # Errors
    ///
    /// When it cannot be sent.
    pub async fn begin(&self) -> Result<()> {
        let words = self.words();
        self.client.send(&self.room, &words).await?;
        self.lock().push(words);
        Ok(())
    }

    /// Sends a message each way and waits for both.
    ///
    /// # Errors
    ///
    /// When one cannot be sent or does not come for ten minutes.
    pub async fn pass(&self) -> Result<()> {
        let words = self.words();
        tokio::try_join!(self.there(self.client, &words), self.back(&words)).map(drop)
    }

    /// As [`Probe::pass`], for another device of the same user. The phone may have to write more than once: before the bridge
    /// knows of a device, it encrypts for the others alone.
    ///
    /// # Errors
    ///
    /// As [`Probe::pass`].
    pub async fn pass_with(&self, device: &Client) -> Result<()> {
        let words = self.words();
        self.there(device, &words).await?;
        let end = Instant::now() + LONG;
        loop {
            let words = self.words();
            self.back(&words).await?;
            let come = device.timeline(&self.room).await?;
            let mut come = come.iter().filter(|event| event.sender == self.ghost);
            if come.any(|event| event.is_clean() && event.body() == Some(&words)) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Error::new("the new device can read nothing"));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn words(&self) -> String {
        format!("probe {}", self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// A message to the phone.
    async fn there(&self, client: &Client, words: &str) -> Result<()> {
        client.send(&self.room, words).await?;
        let mut wanted = std::mem::take(&mut *self.lock());
        wanted.push(words.to_owned());
        let came = |messages: &[Message]| {
            let shows = |words: &String| {
                let mut all = messages.iter();
                all.any(|each| !each.from_me && each.text.as_ref() == Some(words))
            };
            wanted.iter().all(shows).then_some(())
        };
        let user = self.client.user_id();
        self.phone.until(user, words, LONG, came).await
    }

    /// A message to the user, shown by its first device.
    async fn back(&self, words: &str) -> Result<()> {
        let user = self.client.user_id();
        wait::until("the sandbox to take a message", LONG, || async {
            Ok(self.phone.send(user, words).await.ok())
        })
        .await?;
        wait::until(words, LONG, || async {
            let timeline = self.client.timeline(&self.room).await?;
            Ok(timeline
                .iter()
                .any(|event| event.sender == self.ghost && event.body() == Some(words))
                .then_some(()))
        })
        .await
    }
}
