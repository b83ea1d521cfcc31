//! One cell of the table as it is tried: what is sent, what must come of it, and what of that was compared.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatehouse::capabilities::{Capabilities, Feature, Level, Way};
use serde_json::{Value, json};
use tests::chat::Chat;
use tests::client::{TimelineEvent, Upload};
use tests::sandbox::Events;
use tests::stack::Stack;
use tests::{Error, Result};
use tokio::sync::watch;

/// Bytes of text in a file.
const FILE_BYTES: usize = 20_000;

/// The smallest JPEG that decoders open.
pub(crate) const JPEG: &str = "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////////////wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA=";

/// Reactions that are nowhere by chance.
pub(crate) const EMOJI: [&str; 2] = ["👩🏽‍🚀", "🧑🏿‍🌾"];
/// The digits of a number that is mentioned.
pub(crate) const MENTIONED: &str = "4915270000099";

/// Words of which each is said once. All begin alike, so that one search finds any of them.
pub(crate) struct Words {
    beginning: String,
    said: Cell<u32>,
}

impl Words {
    pub(crate) fn new(beginning: &str) -> Self {
        Self {
            beginning: beginning.to_owned(),
            said: Cell::new(0),
        }
    }

    pub(crate) fn next(&self) -> String {
        self.said.set(self.said.get() + 1);
        format!("{}{}", self.beginning, self.said.get())
    }
}

/// A chat in which cells are tried, and messages of both sides for what is about another one.
pub(crate) struct Bench<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) chat: Chat,
    pub(crate) capabilities: &'a Capabilities,
    pub(crate) words: &'a Words,
    pub(crate) events: Events,
    /// To be answered and reacted to.
    pub(crate) mine: Target,
    pub(crate) theirs: Target,
    /// To be edited and deleted.
    pub(crate) edited: Target,
    pub(crate) deleted: Target,
    /// Cells that have said what they say and wait for what comes of it.
    waiting: Cell<usize>,
    /// Whether they may.
    way: watch::Sender<bool>,
}

/// A message that both sides have.
pub(crate) struct Target {
    pub(crate) event: String,
    pub(crate) id: String,
    pub(crate) text: String,
}

/// Who writes the messages that are edited and deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Matrix,
    WhatsApp,
}

impl<'a> Bench<'a> {
    pub(crate) async fn open(
        stack: &'a Stack,
        user: &str,
        number: &str,
        side: Side,
        capabilities: &'a Capabilities,
        words: &'a Words,
    ) -> Result<Self> {
        let chat = Chat::open(stack, user, number).await?;
        let write = async |side: Side| -> Result<Target> {
            let text = words.next();
            let (event, id) = match side {
                Side::Matrix => chat.sent(&text).await?,
                Side::WhatsApp => chat.received(&text).await?,
            };
            Ok(Target { event, id, text })
        };
        Ok(Self {
            mine: write(Side::Matrix).await?,
            theirs: write(Side::WhatsApp).await?,
            edited: write(side).await?,
            deleted: write(side).await?,
            events: stack.sandbox.events().await?,
            stack,
            chat,
            capabilities,
            words,
            waiting: Cell::new(0),
            way: watch::Sender::new(true),
        })
    }

    /// Nothing can arrive: cells that have said what they say wait for [`Bench::go_on`].
    pub(crate) fn hold_up(&self) {
        self.way.send_replace(false);
    }

    /// The cells that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// Things arrive again.
    pub(crate) fn go_on(&self) {
        self.way.send_replace(true);
    }
}

/// One feature in one direction.
pub(crate) struct Trial<'a> {
    pub(crate) bench: &'a Bench<'a>,
    pub(crate) feature: Feature,
    /// What the table says of it.
    pub(crate) way: Way,
    compared: RefCell<BTreeSet<String>>,
    waits: Cell<bool>,
}

impl std::ops::Deref for Trial<'_> {
    type Target = Chat;

    fn deref(&self) -> &Chat {
        &self.bench.chat
    }
}

impl<'a> Trial<'a> {
    pub(crate) fn new(bench: &'a Bench<'a>, feature: Feature, way: Way) -> Self {
        Self {
            bench,
            feature,
            way,
            compared: RefCell::default(),
            waits: Cell::new(false),
        }
    }

    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.bench.capabilities.has(feature)
    }

    /// Whether the table says that it crosses, in whatever form.
    pub(crate) fn crosses(&self) -> bool {
        matches!(self.way.level, Level::Full | Level::Partial)
    }

    pub(crate) fn word(&self) -> String {
        self.bench.words.next()
    }

    /// A file full of a word, in base64. No two are of the same size.
    pub(crate) fn data(&self) -> String {
        let word = self.word();
        let times = FILE_BYTES / 16 + self.bench.words.said.get() as usize;
        STANDARD.encode(format!("{word} ").repeat(times))
    }

    /// Such a file, at the homeserver.
    pub(crate) async fn upload(&self) -> Result<Upload> {
        self.client.upload_base64(&self.data()).await
    }

    pub(crate) async fn message(&self, content: Value) -> Result<String> {
        self.client.send_message(&self.room, content).await
    }

    /// A message from the phone, and its id.
    pub(crate) async fn say(&self, message: Value) -> Result<String> {
        self.phone.say(&self.me, message).await
    }

    /// The phone shows a message as `wanted` says.
    pub(crate) async fn shows(&self, wanted: Value) -> Result<Value> {
        self.waits().await;
        let shown = self.shown(self.what(), &wanted).await?;
        self.note_fields("", &wanted);
        Ok(shown)
    }

    /// The phone shows a file as `wanted` says, and it is this one.
    pub(crate) async fn shows_file(&self, upload: &Upload, mut wanted: Value) -> Result<Value> {
        self.waits().await;
        wanted["sha256"] = json!(upload.sha256);
        wanted["size"] = json!(upload.size);
        let shown = self.file_shown(self.what(), &wanted).await?;
        self.note_fields("", &wanted);
        self.note("the file by SHA-256");
        Ok(shown)
    }

    /// The room shows a message of the contact as `wanted` says.
    pub(crate) async fn sees(&self, wanted: Value) -> Result<TimelineEvent> {
        self.waits().await;
        let seen = self.seen(self.what(), &wanted).await?;
        self.note_fields("", &wanted);
        Ok(seen)
    }

    /// The room shows a file of the contact as `wanted` says, and it is what the phone has.
    pub(crate) async fn sees_file(&self, id: &str, mut wanted: Value) -> Result<TimelineEvent> {
        self.waits().await;
        let sent = self.phone.file(id).await?;
        wanted["info"]["size"] = json!(sent.size);
        let seen = self.sees(wanted).await?;
        let got = self.client.download(&seen.content["file"], None).await?;
        if got != sent {
            return Err(Error::new(format!(
                "{got:?} came of {sent:?}: {}",
                seen.summary()
            )));
        }
        self.note("the file by SHA-256");
        Ok(seen)
    }

    /// The room shows the words that stand for what cannot be shown.
    pub(crate) async fn stands_for(&self, kind: &str) -> Result<()> {
        let words = format!(
            "Something came from WhatsApp that cannot be shown here: {kind}. Ask the sender to write it as text."
        );
        let wanted = json!({"msgtype": "m.notice", "body": words});
        self.waits().await;
        self.seen(self.what(), &wanted).await?;
        self.note("the words of the placeholder");
        Ok(())
    }

    /// The sender of an event is told that it did not go, by a status and a notice that say why.
    pub(crate) async fn is_refused(&self, event: &str, words: &str) -> Result<()> {
        self.waits().await;
        let told = self.told_about(event, words).await?;
        if !told.is_clean() {
            return Err(Error::new(format!("a shield beside {}", told.summary())));
        }
        let status = self
            .status(event, "a failure", |status| {
                status["status"] == "FAIL_PERMANENT"
                    && status["message"]
                        .as_str()
                        .is_some_and(|said| said.contains(words))
            })
            .await?;
        if status["network"] != "whatsapp" {
            return Err(Error::new(format!("another network's status: {status}")));
        }
        self.note("the refusal, in the status and in the notice");
        Ok(())
    }

    /// It is refused with the table's words, and the phone shows no more than before.
    pub(crate) async fn is_refused_as_told(&self, event: &str) -> Result<()> {
        self.is_refused(event, self.way.words).await
    }

    /// An event comes to nothing: the phone shows no more than before, and its sender is told nothing.
    pub(crate) async fn comes_to_nothing(&self, event: &str) -> Result<()> {
        let before = self.phone.shown(&self.me).await?.len();
        self.flush(&self.word()).await?;
        let shown = self.phone.shown(&self.me).await?.len();
        let timeline = self.client.timeline(&self.room).await?;
        let told = timeline
            .iter()
            .any(|each| each.sender == self.bot && each.answers() == Some(event));
        let statuses = self.statuses(event).await?;
        if shown != before + 2 || told || !statuses.is_empty() {
            return Err(Error::new(format!(
                "{} messages instead of 2, told: {told}, {statuses:?}",
                shown - before
            )));
        }
        self.note("that nothing arrives and nothing is told");
        Ok(())
    }

    /// Writes down what was compared.
    pub(crate) fn note(&self, what: &str) {
        self.compared.borrow_mut().insert(what.to_owned());
    }

    fn note_fields(&self, path: &str, wanted: &Value) {
        let Value::Object(fields) = wanted else {
            return self.note(&format!("`{path}`"));
        };
        for (key, value) in fields {
            match path {
                "" => self.note_fields(key, value),
                _ => self.note_fields(&format!("{path}.{key}"), value),
            }
        }
    }

    /// From here on it waits for what comes of what was sent.
    pub(crate) async fn waits(&self) {
        let bench = self.bench;
        if !self.waits.replace(true) {
            bench.waiting.set(bench.waiting.get() + 1);
        }
        // The sender lives as long as the bench.
        let _ = bench.way.subscribe().wait_for(|free| *free).await;
    }

    pub(crate) fn what(&self) -> &'static str {
        self.feature.row().title
    }

    /// What was compared; an error if that is not what the table says.
    pub(crate) fn compared(self) -> Result<BTreeSet<String>> {
        let compared = self.compared.take();
        let has = |part: &str| compared.iter().any(|each| each.contains(part));
        let right = match self.way.level {
            Level::Full | Level::Partial => compared.iter().any(|each| {
                !["refusal", "placeholder", "nothing"]
                    .iter()
                    .any(|other| each.contains(other))
            }),
            Level::Placeholder => has("placeholder"),
            Level::Refused => has("refusal"),
            Level::Dropped => has("nothing"),
            Level::Absent => compared.is_empty(),
        };
        if right {
            Ok(compared)
        } else {
            Err(Error::new(format!(
                "the table says {:?} of {:?}, and this was compared: {compared:?}",
                self.way.level, self.feature
            )))
        }
    }
}
