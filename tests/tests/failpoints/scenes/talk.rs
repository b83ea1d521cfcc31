//! What people write, change, delete, send and read in an open chat.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tests::torture::model::Seen;
use tests::{Error, Result};

use super::Stage;

impl Stage {
    pub(super) async fn talk_there(&self, n: usize) -> Result<()> {
        let (talk, on) = (&self.talk, (self.theirs.0.as_str(), self.theirs.1.as_str()));
        let event = talk.write(&format!("[{n}] as written")).await?;
        let words = format!("[{n}] changed");
        talk.change_and_react(&event, &words, on, self.emoji())
            .await?;
        talk.delete(&self.doomed()).await?;
        talk.write(&format!("[{n}b] after it")).await.map(drop)
    }

    pub(super) async fn talk_here(&self, n: usize) -> Result<()> {
        let (talk, on) = (&self.talk, (self.ours.0.as_str(), self.ours.1.as_str()));
        let stanza = talk.say(&format!("[{n}] as written")).await?;
        let words = format!("[{n}] changed");
        talk.be_changed_and_reacted(&stanza, &words, on, self.emoji())
            .await?;
        talk.revoke(&self.doomed()).await?;
        let after = talk.say(&format!("[{n}b] after it")).await?;
        for stanza in [&stanza, &after] {
            talk.wait_for_tick(stanza, &["delivered", "read"]).await?;
        }
        Ok(())
    }

    pub(super) async fn file_there(&self, n: usize) -> Result<()> {
        self.send_file(n).await?;
        let after = format!("[{n}] after the file");
        self.talk.write(&after).await.map(drop)
    }

    /// A file of the user's: its event.
    pub(super) async fn send_file(&self, n: usize) -> Result<String> {
        let talk = &self.talk;
        let upload = talk.client.upload_generated(70_000, &n.to_string()).await?;
        talk.expect_there(Seen::File(upload.sha256.clone()));
        let content = json!({
            "msgtype": "m.file", "body": "file.bin", "filename": "file.bin", "file": upload.file,
            "info": {"size": upload.size, "mimetype": "application/octet-stream"},
        });
        let event = talk.client.send_message(&talk.room, content).await?;
        talk.sent(&event);
        Ok(event)
    }

    pub(super) async fn file_here(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        let bytes: Vec<u8> = (0..70_000_usize)
            .map(|at| u8::try_from((at * (2 * n + 1) / 7 + n) % 256).unwrap_or_default())
            .collect();
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        talk.expect_here(Seen::File(hex::encode(sum)));
        let message = json!({
            "kind": "document", "file_name": "file.bin", "mimetype": "application/octet-stream",
            "data_base64": STANDARD.encode(&bytes),
        });
        let stanza = talk.phone.say(talk.me(), message).await?;
        talk.said(&stanza);
        talk.say(&format!("[{n}] after the file")).await?;
        talk.wait_for_tick(&stanza, &["delivered", "read"]).await
    }

    /// A receipt of the user's may be lost with the bridge; the next one makes up for it.
    pub(super) async fn read_here(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        let mut stanzas = Vec::new();
        for words in ["read in vain", "read"] {
            let text = format!("[{n}] {words}");
            stanzas.push(talk.say(&text).await?);
            let event = talk.event_of(&text).await?;
            talk.client.mark_read(&talk.room, &event.event_id).await?;
            self.risen().await?;
        }
        for stanza in &stanzas {
            talk.wait_for_tick(stanza, &["read"]).await?;
        }
        Ok(())
    }

    /// As [`Self::read_here`].
    pub(super) async fn read_there(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        let mut event = String::new();
        for words in ["read in vain", "read"] {
            let text = format!("[{n}] {words}");
            event = talk.write(&text).await?;
            let shown = talk.phone.wait_for_text(talk.me(), &text).await?;
            talk.phone.receipt(talk.me(), "read", &[&shown.id]).await?;
            self.risen().await?;
        }
        talk.client
            .wait_for_read(&talk.room, &talk.ghost, &event)
            .await
    }

    /// The user deletes a file that the phone has.
    pub(super) async fn file_deleted(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        talk.delete(&self.doomed()).await?;
        talk.write(&format!("[{n}] after the file")).await.map(drop)
    }

    /// What may be seen once is read, and goes.
    pub(super) async fn seen_once(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        talk.expect_here(Seen::Deleted);
        let bytes = format!("seen once, {n}");
        let message = json!({
            "kind": "view_once", "mimetype": "image/jpeg", "data_base64": STANDARD.encode(bytes),
        });
        let known = talk.client.timeline(&talk.room).await?.len();
        talk.phone.say(talk.me(), message).await?;
        let shown = talk
            .client
            .until("what may be seen once", crate::PATIENCE, || async {
                let new = talk.client.timeline_from(&talk.room, known).await?;
                Ok(new
                    .into_iter()
                    .find(|event| event.content.get("file").is_some()))
            })
            .await?;
        talk.client.mark_read(&talk.room, &shown.event_id).await?;
        talk.client
            .wait_for_redaction(&talk.room, &shown.event_id)
            .await?;
        talk.say(&format!("[{n}] after it")).await.map(drop)
    }

    /// A file is gone, and is there again when the user asks for it.
    pub(super) async fn asked_again(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        let sandbox = &self.stack.sandbox;
        sandbox.faults(json!({"media": "gone"})).await?;
        let seed = u64::try_from(n).unwrap_or_default();
        let upload = talk.phone.upload_generated("image", 50_000, seed).await?;
        let message = json!({"kind": "image", "mimetype": "image/jpeg", "upload": upload.upload});
        let known = talk.client.timeline(&talk.room).await?.len();
        talk.phone.say(talk.me(), message).await?;
        let from_ghost = |file: bool| async move {
            let new = talk.client.timeline_from(&talk.room, known).await?;
            Ok::<_, Error>(new.into_iter().find(|event| {
                event.sender == talk.ghost && file == event.content.get("file").is_some()
            }))
        };
        let placeholder = talk
            .client
            .until("a word that it is gone", crate::PATIENCE, || {
                from_ghost(false)
            })
            .await;
        sandbox.faults(json!({"media": "none"})).await?;
        let placeholder = placeholder?;
        let words = placeholder.body().unwrap_or_default().to_owned();
        talk.expect_here(Seen::Text(words));
        talk.expect_here(Seen::File(upload.sha256));
        talk.client
            .react(&talk.room, &placeholder.event_id, "🔁")
            .await?;
        talk.client
            .until("the file", crate::PATIENCE, || from_ghost(true))
            .await?;
        talk.say(&format!("[{n}] after it")).await.map(drop)
    }
}
