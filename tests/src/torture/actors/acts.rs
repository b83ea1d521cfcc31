//! Doing what a script says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use serde_json::json;

use super::chat::{Chat, PhoneMessage};
use super::{Actors, PERSISTENCE};
use crate::client::TimelineEvent;
use crate::error::Context as _;
use crate::torture::model::{tag, words};
use crate::torture::plan::{Act, MessageId};
use crate::{Result, wait};

impl Actors {
    pub(super) async fn in_matrix(&self, chat: &Chat, act: &Act) -> Result<()> {
        let client = self.client(chat)?;
        let room = &chat.room;
        match act {
            Act::Text(id) => {
                let event = client.send(room, &words(chat.number, *id, 0)).await?;
                chat.wrote(*id, event, None);
            }
            Act::File(id, size) => {
                let upload = client
                    .upload_generated(*size, &tag(chat.number, *id))
                    .await?;
                let content = json!({
                    "msgtype": "m.file", "body": "file.bin", "filename": "file.bin", "file": upload.file,
                    "info": {"size": upload.size, "mimetype": "application/octet-stream"},
                });
                let event = client.send_message(room, content).await?;
                chat.wrote(*id, event, Some(upload.sha256));
            }
            Act::Edit(id, version) => {
                let event = chat.id_of(*id)?;
                let words = words(chat.number, *id, *version);
                client.edit(room, &event, &words).await?;
            }
            Act::Delete(id) => {
                client.redact(room, &chat.id_of(*id)?).await?;
            }
            Act::React(id, emoji) => {
                let target = self.in_room(chat, *id).await?;
                let earlier = chat.reaction_on(*id);
                let event = client.react(room, &target, emoji).await?;
                chat.reacted(*id, Some(event));
                // What a client does that lets people change their reaction.
                if let Some(earlier) = earlier {
                    client.redact(room, &earlier).await?;
                }
            }
            Act::TakeBack(id) => {
                if let Some(event) = chat.reaction_on(*id) {
                    client.redact(room, &event).await?;
                    chat.reacted(*id, None);
                }
            }
            Act::Read(id) => {
                let event = self.in_room(chat, *id).await?;
                client.mark_read(room, &event).await?;
            }
        }
        Ok(())
    }

    /// The event of a message of the phone, as soon as the room shows it.
    async fn in_room(&self, chat: &Chat, id: MessageId) -> Result<String> {
        let client = self.client(chat)?;
        let what = tag(chat.number, id);
        client
            .until(&what, PERSISTENCE, || async {
                // Known as soon as its writer has written it.
                let file = chat.sha256_of(id);
                for event in client.timeline(&chat.room).await? {
                    if event.sender != chat.ghost {
                        continue;
                    }
                    let text = event.body().is_some_and(|body| body.contains(&what));
                    if text || (file.is_some() && self.sha256(chat, &event).await == file) {
                        return Ok(Some(event.event_id));
                    }
                }
                Ok(None)
            })
            .await
    }

    /// The hash of an event's file; nothing if there is none or it cannot be had.
    pub(super) async fn sha256(&self, chat: &Chat, event: &TimelineEvent) -> Option<String> {
        let file = event.content.get("file")?;
        if let Some(known) = chat.known_file(&event.event_id) {
            return Some(known);
        }
        let client = self.client(chat).ok()?;
        let sha256 = client.download(file, None).await.ok()?.sha256;
        chat.know_file(&event.event_id, &sha256);
        Some(sha256)
    }

    pub(super) async fn on_phone(&self, chat: &Chat, act: &Act) -> Result<()> {
        let to = self.client(chat)?.user_id();
        match act {
            Act::Text(id) => {
                let stanza = chat.phone.send(to, &words(chat.number, *id, 0)).await?;
                chat.wrote(*id, stanza, None);
            }
            Act::File(id, size) => {
                let bytes = noise(&tag(chat.number, *id), *size);
                let sha256 = hex::encode(aws_lc_rs::digest::digest(
                    &aws_lc_rs::digest::SHA256,
                    &bytes,
                ));
                let body = json!({
                    "to": to, "kind": "document", "file_name": "file.bin",
                    "mimetype": "application/octet-stream", "data_base64": STANDARD.encode(&bytes),
                });
                let answer = chat.post("messages", body).await?;
                let stanza = answer["id"].as_str().context("an id of the message")?;
                chat.wrote(*id, stanza.to_owned(), Some(sha256));
            }
            Act::Edit(id, version) => {
                let words = words(chat.number, *id, *version);
                let body = json!({"to": to, "message": chat.id_of(*id)?, "text": words});
                chat.post("edits", body).await?;
            }
            Act::Delete(id) => {
                let body = json!({"to": to, "message": chat.id_of(*id)?});
                chat.post("revokes", body).await?;
            }
            Act::React(id, emoji) => {
                let message = self.arrived_on_phone(chat, *id).await?;
                let body = json!({"to": to, "message": message, "emoji": emoji});
                chat.post("reactions", body).await?;
            }
            Act::TakeBack(id) => {
                let message = self.arrived_on_phone(chat, *id).await?;
                let body = json!({"to": to, "message": message, "emoji": ""});
                chat.post("reactions", body).await?;
            }
            Act::Read(id) => {
                let message = self.arrived_on_phone(chat, *id).await?;
                chat.phone.receipt(to, "read", &[&message]).await?;
            }
        }
        Ok(())
    }

    /// The stanza id of a message of the user, as soon as the phone shows it.
    async fn arrived_on_phone(&self, chat: &Chat, id: MessageId) -> Result<String> {
        let what = tag(chat.number, id);
        wait::until(&what, PERSISTENCE, || async {
            let shown = self.phone_shows(chat).await.unwrap_or_default();
            let file = chat.sha256_of(id);
            Ok(shown
                .into_iter()
                .find(|each| {
                    let text = each
                        .text
                        .as_deref()
                        .is_some_and(|text| text.contains(&what));
                    !each.from_me && (text || (file.is_some() && each.sha256 == file))
                })
                .map(|each| each.id))
        })
        .await
    }

    pub(super) async fn phone_shows(&self, chat: &Chat) -> Result<Vec<PhoneMessage>> {
        let path = format!("messages?with={}", self.client(chat)?.user_id());
        let shown: Vec<PhoneMessage> =
            serde_json::from_value(chat.ask(Method::GET, &path, None).await?)?;
        for message in shown.iter().filter(|each| each.media_error.is_some()) {
            // A person sees that a file could not be fetched, and has it fetched again.
            let again = format!("media/{}", message.id);
            let _ = chat.post(&again, json!({})).await;
        }
        Ok(shown)
    }
}

/// Bytes that look random, the same for the same name.
fn noise(name: &str, size: u64) -> Vec<u8> {
    let seed = name.bytes().fold(0u64, |seed, byte| {
        seed.wrapping_mul(131).wrapping_add(byte.into())
    });
    let mut dice = SmallRng::seed_from_u64(seed);
    (0..size).map(|_| dice.random()).collect()
}
