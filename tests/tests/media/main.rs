//! Files cross both ways: every kind, compared field by field and by SHA-256; damaged, gone and too large ones; over
//! a killed bridge; and without filling its memory.

mod faults;
mod hostile;
mod incoming;
mod kill;
mod limits;
mod outgoing;

use std::path::PathBuf;

use serde_json::{Value, json};
use tests::client::{Client, TimelineEvent};
use tests::sandbox::Phone;
use tests::stack::{Options, Stack};
use tests::wait::{self, PATIENCE};
use tests::{Error, Result, gatehouse, large, synapse};
use tokio::sync::OnceCell;

/// The smallest JPEG that decoders open.
const JPEG: &str = "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////////////wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA=";

fn with_media(more: &[(&str, &str)]) -> gatehouse::Options {
    let mut environment = vec![(
        "GATEHOUSE_GATEKEEPER__PROFILE__MESSAGE__ACCEPTED".to_owned(),
        "[text, image, video, gif, audio, document, sticker, reaction, reply]".to_owned(),
    )];
    environment.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    gatehouse::Options {
        environment,
        ..gatehouse::Options::default()
    }
}

const MAX_BYTES: &str = "GATEHOUSE_GATEKEEPER__PROFILE__MEDIA__MAX_BYTES";

async fn stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    let options = || Options {
        gatehouse: with_media(&[]),
        ..Options::default()
    };
    STACK
        .get_or_try_init(|| Stack::start("media", options()))
        .await
}

/// A user and a phone that have written to each other, and their room.
struct Chat {
    client: Client,
    phone: Phone,
    ghost: String,
    room: String,
    me: String,
}

impl Chat {
    async fn open(stack: &Stack, user: &str, number: &str) -> Result<Self> {
        let client = stack.enlisted_client(user).await?;
        Self::with(stack, client, number).await
    }

    async fn with(stack: &Stack, client: Client, number: &str) -> Result<Self> {
        let phone = stack.sandbox.phone(number, "Bea").await?;
        let ghost = stack.ghost(&phone);
        let me = client.user_id().to_owned();
        phone.send(&me, "hello").await?;
        let invitation = client
            .wait_for_invite(&ghost)
            .await
            .map_err(|error| stack.explain(error))?;
        client.join(&invitation.room_id).await?;
        client
            .wait_for_text(&invitation.room_id, &ghost, "hello")
            .await?;
        Ok(Self {
            client,
            phone,
            ghost,
            room: invitation.room_id,
            me,
        })
    }

    async fn send(&self, kind: &str, content: Value) -> Result<String> {
        self.client.send_event(&self.room, kind, content).await
    }

    /// What the phone shows that `accept` likes.
    async fn on_phone(&self, what: &str, accept: impl Fn(&Value) -> bool) -> Result<Value> {
        let accept = &accept;
        let found = wait::until(what, PATIENCE, || async move {
            let shown = self.phone.shown(&self.me).await?;
            Ok(shown
                .into_iter()
                .find(|each| each["from_me"] == false && accept(each)))
        })
        .await;
        match found {
            Ok(found) => Ok(found),
            Err(error) => {
                let shown = self.phone.shown(&self.me).await?;
                Err(Error::new(format!("{error}; the phone shows {shown:#?}")))
            }
        }
    }

    /// The file that the phone shows and has fetched.
    async fn file_on_phone(&self, what: &str, sha256: &str) -> Result<Value> {
        let shown = self
            .on_phone(what, |each| {
                each["sha256"] == sha256 && each["media"] != "fetching"
            })
            .await?;
        if shown["media"] != "ready" {
            return Err(Error::new(format!("{what} was not fetched: {shown:#}")));
        }
        let file = self
            .phone
            .file(shown["id"].as_str().unwrap_or_default())
            .await?;
        assert_eq!(file.sha256, sha256, "{what}");
        Ok(shown)
    }

    /// An event of the ghost that `accept` likes.
    async fn in_room(
        &self,
        what: &str,
        accept: impl Fn(&TimelineEvent) -> bool,
    ) -> Result<TimelineEvent> {
        let ghost = &self.ghost;
        let event = self
            .client
            .wait_for(&self.room, what, |event| {
                event.sender == *ghost && accept(event)
            })
            .await?;
        assert!(event.is_clean(), "a shield beside {}", event.summary());
        Ok(event)
    }
}

fn attached(msgtype: &str, name: &str, upload: &tests::client::Upload, info: Value) -> Value {
    let mut info = info;
    info["size"] = json!(upload.size);
    json!({ "msgtype": msgtype, "body": name, "file": upload.file, "info": info })
}
