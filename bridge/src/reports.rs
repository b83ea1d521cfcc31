//! Telling people what became of their messages: status events and notices, as the database wants them told.
//!
//! What is to be told is a row (see [`store::reports`]) or a message whose status has moved on. Telling is a request with a
//! transaction id that follows from what is told, then a commit that says it was told: a crash in between sends the same
//! request again, and the homeserver makes nothing of it.

mod content;

use std::{sync::Arc, time::Duration};

use puppeting::{Puppet, PuppetError};
use ruma::{EventId, OwnedRoomId, RoomId, TransactionId};
use serde_json::{Value, value::to_raw_value};
use store::{
    Batch, inbox,
    messages::{self, Message, Status},
    portals::{self, Portal},
    reports::{self, Kind, Report},
};

use self::content::Progress;
use crate::{
    core::{Core, Wake},
    ids, management,
    passes::Hold,
};

/// A status is told after this long, so that a message that is sent and delivered at once gets one event, not three.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);
/// Before the next attempt when the homeserver does not answer.
const PAUSE: Duration = Duration::from_secs(15);
/// Messages whose status is told before it is noted.
const PAGE: u32 = 32;
/// Nobody needs to hear what became of a message after this long, in milliseconds.
const STALE_MS: i64 = 24 * 3600 * 1000;

/// Tells what is to be told in a chat; with an empty `peer`, in the login's chat with the bot.
pub(crate) async fn pass(core: &Arc<Core>, login: &str, peer: &str) {
    if let Err(hold) = tell(core, login, peer).await {
        tracing::info!(login = %core.log_id(login), reason = %hold.reason, "what became of messages is told later");
        let wake = Wake::Reports(login.to_owned(), peer.to_owned());
        core.later.wake_after(wake, hold.after.unwrap_or(PAUSE));
    }
}

/// Wakes every chat that the database has something to tell for.
pub(crate) async fn wake_all(core: &Core) -> Result<(), store::Error> {
    let mut chats = reports::chats(&core.store).await?;
    chats.extend(messages::untold_chats(&core.store).await?);
    for (login, peer) in chats {
        core.wake(Wake::Reports(login, peer));
    }
    Ok(())
}

async fn tell(core: &Arc<Core>, login: &str, peer: &str) -> Result<(), Hold> {
    let portal = portals::by_peer(&core.store, login, peer).await?;
    let teller = Teller {
        core,
        login,
        peer,
        portal,
    };
    // What cannot be told now keeps nothing else untold.
    let mut held = teller.troubles().await;
    while teller.successes(&mut held).await? == PAGE as usize {}
    held
}

/// Where things are told.
struct Teller<'a> {
    core: &'a Arc<Core>,
    login: &'a str,
    peer: &'a str,
    portal: Option<Portal>,
}

/// Where a notice goes.
struct Place {
    room: OwnedRoomId,
    /// Whether the message that it is about is there too.
    beside: bool,
}

/// What a report left in the room for others of its kind.
enum Shown {
    /// A notice that something is in the way.
    Notice,
    Nothing,
}

/// Keeps the first of several reasons to come back.
fn keep_first(held: &mut Result<(), Hold>, hold: Hold) {
    if held.is_ok() {
        *held = Err(hold);
    }
}

impl Teller<'_> {
    /// Tells of messages that were sent or delivered, and takes back what was said of them before; says of how many it told.
    /// Why one could not be told is in `held`, if nothing was before.
    async fn successes(&self, held: &mut Result<(), Hold>) -> Result<usize, Hold> {
        let core = self.core;
        let found = messages::untold(&core.store, self.login, self.peer, PAGE).await?;
        let (mut batch, mut count) = (Batch::new(), 0);
        for message in &found {
            if let Err(hold) = self.went(message, &mut batch).await {
                keep_first(held, hold);
                continue;
            }
            count += 1;
            messages::told(
                &mut batch,
                self.login,
                self.peer,
                &message.stanza_id,
                message.status,
            );
        }
        if !batch.is_empty() {
            failpoints::around!("status.commit", core.store.commit(batch).await)?;
        }
        Ok(count)
    }

    async fn went(&self, message: &Message, batch: &mut Batch) -> Result<(), Hold> {
        let core = self.core;
        let Some(event_id) = message.event_id.as_deref() else {
            return Ok(());
        };
        // An event can become several messages: it is as far as the last of them.
        let parts = messages::all_by_event(&core.store, event_id).await?;
        let status = parts.iter().map(|part| part.status).min();
        let Some(status) = status.filter(|status| *status >= Status::Sent) else {
            return Ok(());
        };
        let stale = core.now().saturating_sub(message.ts) > STALE_MS;
        if let Some(portal) = &self.portal
            && !stale
        {
            let ghost = core.user(&portal.ghost)?;
            let (progress, part) = if status >= Status::Delivered {
                (Progress::Delivered(&ghost), "delivered")
            } else {
                (Progress::Sent, "sent")
            };
            self.status(event_id, &content::success(event_id, progress), part)
                .await?;
        }
        if let Some(report) = reports::get(&core.store, event_id).await? {
            self.take_back(&report).await?;
            reports::over(batch, event_id, report.version);
        }
        Ok(())
    }

    /// Tells of what waits or failed, and of what has no message. What cannot be told holds up nothing behind it; why the first
    /// of those could not be told is the error.
    async fn troubles(&self) -> Result<(), Hold> {
        let core = self.core;
        let rows = reports::of_chat(&core.store, self.login, self.peer).await?;
        // One notice says for the whole room that something is in the way.
        let mut waits_shown: Vec<String> = rows
            .iter()
            .filter(|row| row.report.kind == Kind::Waiting && row.notice_event.is_some())
            .map(|row| row.report.reason.clone())
            .collect();
        let mut held = Ok(());
        for row in rows {
            match self.row(&row, &waits_shown).await {
                Ok(Shown::Notice) => waits_shown.push(row.report.reason),
                Ok(Shown::Nothing) => {}
                Err(hold) => keep_first(&mut held, hold),
            }
        }
        held
    }

    /// Tells one report, or that it is over; `waits_shown` are the reasons to wait that the room has a notice of.
    async fn row(&self, row: &Report, waits_shown: &[String]) -> Result<Shown, Hold> {
        let waits = row.report.kind == Kind::Waiting;
        if waits && !self.still_waits(row).await? {
            self.take_back(row).await?;
            let mut batch = Batch::new();
            reports::over(&mut batch, &row.report.about, row.version);
            failpoints::around!("report.over.commit", self.core.store.commit(batch).await)?;
            return Ok(Shown::Nothing);
        }
        if row.told >= row.version {
            return Ok(Shown::Nothing);
        }
        let shown = waits_shown.contains(&row.report.reason);
        let quiet = waits && row.notice_event.is_none() && shown;
        self.trouble(row, quiet).await?;
        if waits && row.report.loud {
            return Ok(Shown::Notice);
        }
        Ok(Shown::Nothing)
    }

    async fn trouble(&self, row: &Report, quiet: bool) -> Result<(), Hold> {
        let core = self.core;
        if let Some(content) = content::trouble(&row.report) {
            let part = part("trouble", row);
            self.status(&row.report.about, &content, &part).await?;
        }
        let mut notice = row.notice_room.clone().zip(row.notice_event.clone());
        // The switch is for notices about messages. What is about a contact or the login, such as another security code, has no
        // other sign.
        let wanted = core.config.messages.notices || row.report.kind == Kind::Note;
        if row.report.loud && wanted && !quiet {
            notice = self.notice(row).await?.or(notice);
        }
        let mut batch = Batch::new();
        let about = &row.report.about;
        let (room, event) = notice.unzip();
        reports::told(
            &mut batch,
            about,
            row.version,
            room.as_deref(),
            event.as_deref(),
        );
        if row.report.kind == Kind::Note || self.is_final(row).await? {
            reports::over(&mut batch, about, row.version);
        }
        failpoints::around!("report.commit", core.store.commit(batch).await)?;
        Ok(())
    }

    /// Whether a message failed that never became a stanza: nothing can be heard of it any more.
    async fn is_final(&self, row: &Report) -> Result<bool, Hold> {
        if row.report.kind != Kind::Failed {
            return Ok(false);
        }
        let store = &self.core.store;
        if inbox::holds(store, &row.report.about).await? {
            // It was set aside, and may come back.
            return Ok(false);
        }
        let message = messages::by_event(store, &row.report.about).await?;
        Ok(message.is_none())
    }

    async fn still_waits(&self, row: &Report) -> Result<bool, Hold> {
        let store = &self.core.store;
        if inbox::holds(store, &row.report.about).await? {
            return Ok(true);
        }
        let message = messages::by_event(store, &row.report.about).await?;
        Ok(message.is_some_and(|message| message.status == Status::Pending && !message.gone))
    }

    /// Sends a status event: in the clear, as clients that know them expect it. It says no more than the receipts that the
    /// homeserver sees anyway, and an encrypted event would make the room unread.
    async fn status(&self, about: &str, content: &Value, part: &str) -> Result<(), Hold> {
        let core = self.core;
        let Some(portal) = &self.portal else {
            return Ok(());
        };
        let (true, Some(room)) = (
            core.config.messages.status_events,
            portal.room_id.as_deref(),
        ) else {
            return Ok(());
        };
        let room = core.room(room)?;
        let speaker = if portal.bot_joined {
            core.bot_puppet().await?
        } else {
            core.ghost(&portal.ghost).await?
        };
        let kind = "com.beeper.message_send_status";
        let txn = self.txn(about, part);
        let sent = failpoints::around!(
            "status.send",
            send(&speaker, &room, kind, content, &txn).await
        );
        given_up(sent).map(drop)
    }

    fn txn(&self, about: &str, part: &str) -> String {
        ids::transaction_id(self.login, "report", about, part)
    }

    /// Says in the room what a report says: a new notice, or an edit of the one that is there. Gives the notice, if it is a
    /// new one.
    async fn notice(&self, row: &Report) -> Result<Option<(String, String)>, Hold> {
        let core = self.core;
        let bot = core.bot_puppet().await?;
        let txn = self.txn(&row.report.about, &part("notice", row));
        if let (Some(room), Some(event)) = (&row.notice_room, &row.notice_event) {
            let content = content::edit(&row.report, event);
            let room = core.room(room)?;
            let said = self.say(&bot, &room, &content, &txn).await;
            return match given_up(said)? {
                Some(_) => Ok(None),
                None => self.aside(&bot, row, &room).await,
            };
        }
        let place = self.place().await?;
        let content = content::notice(&row.report, place.beside);
        match given_up(self.say(&bot, &place.room, &content, &txn).await)? {
            Some(event) => Ok(Some((place.room.to_string(), event))),
            None => self.aside(&bot, row, &place.room).await,
        }
    }

    /// Says in the bot's own chat with the user what the homeserver does not let it say in a room: it was removed from there, or
    /// may not write.
    async fn aside(
        &self,
        bot: &Arc<Puppet>,
        row: &Report,
        refused: &RoomId,
    ) -> Result<Option<(String, String)>, Hold> {
        let room = management::other_room(self.core, self.login, refused).await?;
        let txn = self.txn(&row.report.about, &part("aside", row));
        let content = content::notice(&row.report, false);
        let said = given_up(self.say(bot, &room, &content, &txn).await)?;
        Ok(said.map(|event| (room.to_string(), event)))
    }

    /// The portal, or where the bot is not in it, its own chat with the user.
    async fn place(&self) -> Result<Place, Hold> {
        let portal = self.portal.as_ref().filter(|portal| portal.bot_joined);
        if let Some(room) = portal.and_then(|portal| portal.room_id.as_deref()) {
            return Ok(Place {
                room: self.core.room(room)?,
                beside: true,
            });
        }
        Ok(Place {
            room: management::room(self.core, self.login).await?,
            beside: false,
        })
    }

    /// Says something in a room, encrypted where the room is.
    async fn say(
        &self,
        bot: &Arc<Puppet>,
        room: &RoomId,
        content: &Value,
        txn: &str,
    ) -> Result<String, PuppetError> {
        if !bot.is_encrypted(room).await? {
            return send(bot, room, "m.room.message", content, txn).await;
        }
        let reader = ruma::UserId::parse(self.login)
            .map_err(|_| PuppetError::Invalid("a stored user id is damaged".to_owned()))?;
        bot.prepare(room, &[reader]).await?;
        let encrypted = bot.encrypt(room, "m.room.message", json(content)?).await?;
        failpoints::around!("notice.key.commit", bot.commit_with(Batch::new()).await)?;
        let txn: &TransactionId = txn.into();
        let content = encrypted.into_json();
        let event = failpoints::around!(
            "notice.send",
            bot.send(room, txn, "m.room.encrypted", content, None).await
        )?;
        Ok(event.to_string())
    }

    /// Removes the notice of a message that went after all.
    async fn take_back(&self, row: &Report) -> Result<(), Hold> {
        let (Some(room), Some(event)) = (&row.notice_room, &row.notice_event) else {
            return Ok(());
        };
        let Ok(event) = EventId::parse(event) else {
            return Ok(());
        };
        let bot = self.core.bot_puppet().await?;
        let txn = self.txn(&row.report.about, &part("gone", row));
        let txn: &TransactionId = txn.as_str().into();
        let room = self.core.room(room)?;
        let why = Some("it went after all");
        let gone = failpoints::around!("notice.gone", bot.redact(&room, &event, txn, why).await);
        given_up(
            gone.map_err(PuppetError::from)
                .map(|event| event.to_string()),
        )
        .map(drop)
    }
}

/// Which telling of a report this is: the same event may be reported on again, after its report was done with.
fn part(what: &str, row: &Report) -> String {
    format!("{what} {} {}", row.report.created_ts, row.version)
}

async fn send(
    speaker: &Puppet,
    room: &RoomId,
    kind: &str,
    content: &Value,
    txn: &str,
) -> Result<String, PuppetError> {
    let txn: &TransactionId = txn.into();
    let event = speaker.send(room, txn, kind, json(content)?, None).await?;
    Ok(event.to_string())
}

fn json(content: &Value) -> Result<Box<serde_json::value::RawValue>, PuppetError> {
    to_raw_value(content).map_err(|error| PuppetError::Invalid(error.to_string()))
}

/// What the homeserver refuses for good is not told there: the room is gone, or the bot was removed from it.
fn given_up(result: Result<String, PuppetError>) -> Result<Option<String>, Hold> {
    match result {
        Ok(event) => Ok(Some(event)),
        Err(error) if error.is_retryable() => Err(error.into()),
        Err(error) => {
            tracing::info!(%error, "what became of a message cannot be told there");
            Ok(None)
        }
    }
}
