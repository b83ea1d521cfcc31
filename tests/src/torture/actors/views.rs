//! What everybody sees in the end, and what is wrong with it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Actors;
use super::chat::{Chat, PhoneMessage};
use crate::Result;
use crate::client::TimelineEvent;
use crate::stack::Stack;
use crate::torture::model::{Findings, Seen, compare, expected, tag};
use crate::torture::plan::{Act, MessageId, Side};

/// The type of the events that say what became of a message.
const STATUS: &str = "com.beeper.message_send_status";

/// How long what is still on its way may take after everything that must come has come. What waits for a key that nobody has any
/// more waits for ever.
const LATE: Duration = Duration::from_secs(60);

/// A chat as its two people see it.
struct View {
    timeline: Vec<TimelineEvent>,
    phone: Vec<PhoneMessage>,
}

/// What is wrong with a chat, counted and in words.
#[derive(Default)]
struct Verdict {
    findings: Findings,
    details: Vec<String>,
}

impl Verdict {
    fn add(&mut self, other: Self) {
        self.findings += other.findings;
        self.details.extend(other.details);
    }

    fn status(&mut self, what: String) {
        self.findings.status += 1;
        self.details.push(what);
    }
}

impl Actors {
    /// Waits until everything has arrived as it must, at most for `patience`; then everybody reads everything, and all must
    /// be said to have been delivered and read. When nothing is on its way any more, everybody looks at everything once more: what
    /// was right must have stayed so. Says what is wrong at that last look.
    ///
    /// # Errors
    ///
    /// When a client or the sandbox cannot be asked.
    pub async fn settle(
        &self,
        stack: &Stack,
        patience: Duration,
    ) -> Result<(Findings, Vec<String>)> {
        let end = Instant::now() + patience;
        for chat in &self.chats {
            settled(end, || self.contents(chat)).await?;
            self.read_all(chat).await?;
        }
        let end = Instant::now() + patience;
        for chat in &self.chats {
            settled(end, || self.statuses(chat)).await?;
        }
        // A double, or a change that takes back what was there, may come late.
        self.quiet(stack).await?;
        let mut verdict = Verdict::default();
        for chat in &self.chats {
            verdict.add(self.contents(chat).await?);
            verdict.add(self.statuses(chat).await?);
        }
        Ok((verdict.findings, verdict.details))
    }

    /// Waits until nothing is on its way in the bridge or for it, or until [`LATE`].
    async fn quiet(&self, stack: &Stack) -> Result<()> {
        let end = Instant::now() + LATE;
        loop {
            let mut waiting = stack.gatehouse.waiting()?;
            for user in &self.users {
                let partner = stack.sandbox.partner_user(user.user_id()).await?;
                waiting += partner.map_or(0, |user| user["mailbox"].as_u64().unwrap_or_default());
            }
            if waiting == 0 || Instant::now() > end {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn view(&self, chat: &Chat) -> Result<View> {
        Ok(View {
            timeline: self.client(chat)?.timeline(&chat.room).await?,
            phone: self.phone_shows(chat).await?,
        })
    }

    /// Messages, and what was done with them.
    async fn contents(&self, chat: &Chat) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        let view = self.view(chat).await?;
        for side in [Side::Matrix, Side::Phone] {
            let expected = expected(chat.number, &chat.script, side, |id, _| {
                chat.sha256_of(id).unwrap_or_default()
            });
            let came = match side {
                Side::Matrix => came_to_phone(&view),
                Side::Phone => self.came_to_room(chat, &view).await,
            };
            let mut seen: Vec<Seen> = expected.iter().map(|entry| entry.seen.clone()).collect();
            if side == Side::Matrix {
                forgive_unseen(&mut seen, &came);
            }
            let mut found = compare(&came, &seen);
            if !found.is_clean() {
                verdict.details.push(format!(
                    "chat {}, written by {side:?}: {found}; {}",
                    chat.number,
                    difference(&came, &seen)
                ));
            }
            for (n, entry) in expected.iter().enumerate() {
                let id = MessageId { side, n };
                let shown = reactions(chat, &view, id);
                if shown != entry.reactions {
                    found.wrong += 1;
                    verdict.details.push(format!(
                        "{}: reactions {shown:?} instead of {:?}",
                        tag(chat.number, id),
                        entry.reactions
                    ));
                }
            }
            verdict.findings += found;
        }
        Ok(verdict)
    }

    async fn came_to_room(&self, chat: &Chat, view: &View) -> Vec<Seen> {
        let mut came = Vec::new();
        for event in view
            .timeline
            .iter()
            .filter(|event| is_message(event, &chat.ghost))
        {
            came.push(if event.redacted {
                Seen::Deleted
            } else if !event.is_clean() {
                Seen::Unreadable
            } else if event.content.get("file").is_some() {
                match self.sha256(chat, event).await {
                    Some(sha256) => Seen::File(sha256),
                    None => Seen::Strange("a file that cannot be had".to_owned()),
                }
            } else {
                Seen::Text(event.body().unwrap_or_default().to_owned())
            });
        }
        came
    }

    /// Both look at everything that there is.
    async fn read_all(&self, chat: &Chat) -> Result<()> {
        let (client, view) = (self.client(chat)?, self.view(chat).await?);
        let mut messages = view.timeline.iter().rev();
        if let Some(last) = messages.find(|event| is_message(event, &chat.ghost) && !event.redacted)
        {
            client.mark_read(&chat.room, &last.event_id).await?;
        }
        let ids: Vec<&str> = view
            .phone
            .iter()
            .filter(|each| !each.from_me && !each.revoked && !each.undecryptable)
            .map(|each| each.id.as_str())
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        chat.phone.receipt(client.user_id(), "read", &ids).await
    }

    /// What is said of the messages: statuses and notices in the room, ticks on the phone, the ghost's read receipt.
    async fn statuses(&self, chat: &Chat) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        let view = self.view(chat).await?;
        let deleted = |id: &MessageId| chat.script.acts.contains(&Act::Delete(*id));
        // The last status of each event counts.
        let mut said: HashMap<&str, &TimelineEvent> = HashMap::new();
        for event in view.timeline.iter().filter(|event| event.kind == STATUS) {
            if let Some(about) = event.relation["event_id"].as_str() {
                said.insert(about, event);
            }
        }
        let mut last_of_user = None;
        for act in &chat.script.acts {
            let (Act::Text(id) | Act::File(id, _)) = act else {
                continue;
            };
            if id.side != Side::Matrix || deleted(id) {
                continue;
            }
            let event = chat.id_of(*id)?;
            let status = said.remove(event.as_str()).map(|status| &status.content);
            let delivered = status.is_some_and(|status| {
                let to = status["delivered_to_users"].as_array();
                status["status"] == "SUCCESS" && to.is_some_and(|to| !to.is_empty())
            });
            if !delivered {
                verdict.status(format!("{}: status {status:?}", tag(chat.number, *id)));
            }
            last_of_user = Some(event);
        }
        let position = |id: &str| view.timeline.iter().position(|event| event.event_id == id);
        for (about, status) in said {
            let gone = position(about).is_some_and(|at| view.timeline[at].redacted);
            if !gone && status.content["status"] != "SUCCESS" {
                verdict.status(format!("chat {}: {}", chat.number, status.content));
            }
        }
        for event in view
            .timeline
            .iter()
            .filter(|event| is_message(event, &self.bot))
        {
            let body = event.body().unwrap_or_default();
            if !event.redacted && (body.starts_with('⏳') || body.starts_with('⚠')) {
                verdict.status(format!("chat {}: the bot says {body:?}", chat.number));
            }
        }
        for each in view
            .phone
            .iter()
            .filter(|each| each.from_me && !each.revoked)
        {
            if each.status != "read" {
                let text = each.text.as_deref().unwrap_or(&each.kind);
                verdict.status(format!("{text:?} is {} on the phone", each.status));
            }
        }
        if let Some(last) = last_of_user {
            let markers = self.client(chat)?.read_markers(&chat.room).await?;
            let marker = markers.get(&chat.ghost);
            let read = marker.and_then(|marker| position(marker));
            if read < position(&last) {
                verdict.status(format!("chat {}: the ghost has not read all", chat.number));
            }
        }
        Ok(verdict)
    }
}

/// Looks until nothing is wrong or it is late.
async fn settled<Fut>(end: Instant, look: impl Fn() -> Fut) -> Result<Verdict>
where
    Fut: Future<Output = Result<Verdict>>,
{
    loop {
        let verdict = look().await?;
        if verdict.findings.is_clean() || Instant::now() > end {
            return Ok(verdict);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Whether an event stands in the room as a message of this sender: no state, and no change of another one.
fn is_message(event: &TimelineEvent, sender: &str) -> bool {
    matches!(event.kind.as_str(), "m.room.message" | "m.room.encrypted")
        && event.sender == sender
        && event.relation["rel_type"] != "m.replace"
        && event.state_key.is_none()
}

/// A homeserver keeps nothing of a deleted message: if it was deleted before the bridge had it, the phone never hears of it.
fn forgive_unseen(expected: &mut Vec<Seen>, came: &[Seen]) {
    let count = |list: &[Seen]| list.iter().filter(|seen| **seen == Seen::Deleted).count();
    let mut unseen = count(expected).saturating_sub(count(came));
    expected.retain(|seen| {
        let forgiven = unseen > 0 && *seen == Seen::Deleted;
        unseen -= usize::from(forgiven);
        !forgiven
    });
}

fn came_to_phone(view: &View) -> Vec<Seen> {
    let came = view.phone.iter().filter(|each| !each.from_me);
    came.map(|each| match (&each.text, &each.sha256) {
        _ if each.revoked => Seen::Deleted,
        _ if each.undecryptable => Seen::Unreadable,
        (_, Some(sha256)) => Seen::File(sha256.clone()),
        (Some(text), None) => Seen::Text(text.clone()),
        (None, None) => Seen::Strange(each.kind.clone()),
    })
    .collect()
}

/// The reactions of the other side that a message's writer sees on it.
fn reactions(chat: &Chat, view: &View, id: MessageId) -> Vec<String> {
    let Ok(message) = chat.id_of(id) else {
        return Vec::new();
    };
    match id.side {
        Side::Matrix => view
            .timeline
            .iter()
            .filter(|event| event.sender == chat.ghost)
            .filter_map(|event| event.reaction_to(&message))
            .map(str::to_owned)
            .collect(),
        Side::Phone => {
            let found = view.phone.iter().find(|each| each.id == message);
            found
                .map(|each| each.reactions.as_slice())
                .unwrap_or_default()
                .iter()
                .filter(|reaction| reaction.from != chat.phone.number())
                .filter(|reaction| !reaction.emoji.is_empty())
                .map(|reaction| reaction.emoji.clone())
                .collect()
        }
    }
}

/// What is on one side only, shortened.
fn difference(came: &[Seen], expected: &[Seen]) -> String {
    let only = |these: &[Seen], those: &[Seen]| {
        let only: Vec<_> = these.iter().filter(|seen| !those.contains(seen)).collect();
        format!("{:?}", only.iter().take(5).collect::<Vec<_>>())
    };
    format!(
        "missing {}, unexpected {}",
        only(expected, came),
        only(came, expected)
    )
}
