//! A chat of its own that tells whether messages go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::client::Client;
use crate::sandbox::Phone;
use crate::{Result, wait};

const LONG: Duration = Duration::from_secs(600);

/// A chat that no script uses.
#[derive(Debug)]
pub struct Probe<'a> {
    client: &'a Client,
    phone: Phone,
    room: String,
    ghost: String,
    count: AtomicUsize,
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
        }
    }

    /// Sends a message each way and waits for both.
    ///
    /// # Errors
    ///
    /// When one cannot be sent or does not come for ten minutes.
    pub async fn pass(&self) -> Result<()> {
        let words = format!("probe {}", self.count.fetch_add(1, Ordering::Relaxed));
        let user = self.client.user_id();
        let there = async {
            self.client.send(&self.room, &words).await?;
            let came = |messages: &[crate::sandbox::Message]| {
                let mut all = messages.iter();
                all.any(|each| !each.from_me && each.text.as_deref() == Some(&words))
                    .then_some(())
            };
            self.phone.until(user, &words, LONG, came).await
        };
        let back = async {
            wait::until("the sandbox to take a message", LONG, || async {
                Ok(self.phone.send(user, &words).await.ok())
            })
            .await?;
            wait::until(&words, LONG, || async {
                let timeline = self.client.timeline(&self.room).await?;
                Ok(timeline
                    .iter()
                    .any(|event| event.sender == self.ghost && event.body() == Some(&words))
                    .then_some(()))
            })
            .await
        };
        tokio::try_join!(there, back).map(drop)
    }
}
