//! The chat of a user with the bot: commands, their answers, and what the bot has to tell of itself.

mod rooms;

use std::{sync::Arc, time::Duration};

use puppeting::DecryptError;
use ruma::{
    RoomId, UserId,
    events::{
        AnyTimelineEvent,
        room::message::{MessageType, RoomMessageEventContent},
    },
    serde::Raw,
};
use serde_json::json;
use store::{Batch, inbox, logins, preferences};

pub(crate) use self::rooms::{invited, joined, left, other_room, room, room_key, room_of};
use crate::{
    commands::{self, Command},
    config::Level,
    consent,
    core::Core,
    enlistment::{self, Consented, Outcome},
    ids,
    leaving::{self, Departure},
    passes::Hold,
    portals, posting, receipts,
    replays::Key,
};

/// Between two attempts to do what a user asked for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Failures of a command after which its sender is told that it is still being tried.
const TOLD: u32 = 2;

/// Handles events of a room that is no portal.
pub(crate) async fn handle(
    core: &Arc<Core>,
    room: &RoomId,
    events: Vec<inbox::Event>,
) -> Result<(), Hold> {
    for event in events {
        let mut done = Batch::new();
        inbox::done(&mut done, event.seq);
        let text = match read(core, room, &event, &mut done).await? {
            Some(Said::Text(text)) => text,
            Some(Said::InTheClear) => {
                reply(
                    core,
                    room,
                    &event.sender,
                    &event.event_id,
                    IN_THE_CLEAR,
                    done,
                )
                .await?;
                continue;
            }
            None => {
                core.store.commit(done).await?;
                continue;
            }
        };
        let answer = match answer(core, room, &event, &text).await {
            Ok(answer) => answer,
            // It is counted, and its sender told if it is set aside.
            Err(hold) if hold.lasting => return Err(hold),
            Err(hold) => return Err(put_off(core, room, &event, &text, hold).await?),
        };
        reply(core, room, &event.sender, &event.event_id, &answer, done).await?;
    }
    Ok(())
}

/// A command cannot be done now. Its sender is told so once, when it has failed a second time; it is tried until it works.
async fn put_off(
    core: &Arc<Core>,
    room: &RoomId,
    event: &inbox::Event,
    command: &str,
    hold: Hold,
) -> Result<Hold, Hold> {
    // Somebody sits and waits for the answer: no long pauses here.
    let hold = Hold {
        after: Some(hold.after.unwrap_or(PATIENCE).min(PATIENCE)),
        ..hold
    };
    if event.attempts >= TOLD {
        return Ok(hold);
    }
    let attempts = event.attempts.saturating_add(1);
    let mut batch = Batch::new();
    let state = inbox::State::New;
    inbox::put_off(&mut batch, event.seq, state, attempts, 0, "put off");
    if attempts < TOLD {
        core.store.commit(batch).await?;
        return Ok(hold);
    }
    let text = match commands::parse(command) {
        Ok(
            Command::Enable
            | Command::Accept
            | Command::StartChat(_)
            | Command::Disable
            | Command::Erase { .. },
        ) => "WhatsApp's server does not answer. I keep trying, and answer here when it works.",
        _ => "This cannot be done at the moment. I keep trying, and answer here when it works.",
    };
    let cause = format!("{} put off", event.event_id);
    reply(core, room, &event.sender, &cause, text, batch).await?;
    Ok(hold)
}

/// What somebody said to the bot.
enum Said {
    /// A text.
    Text(String),
    /// Something that anybody can write who has the sender's account, or its homeserver, and none of its keys.
    InTheClear,
}

/// What the bot answers to that.
const IN_THE_CLEAR: &str = "This chat is encrypted and what you wrote is not, so I do nothing: it may be somebody else's. Write it in a client that can encrypt.";

/// What an event says that is for the bot; nothing if it is not. What is to be remembered of it goes into `done`.
async fn read(
    core: &Arc<Core>,
    room: &RoomId,
    event: &inbox::Event,
    done: &mut Batch,
) -> Result<Option<Said>, Hold> {
    let Ok(sender) = UserId::parse(&event.sender) else {
        return Ok(None);
    };
    if core.config.is_own(&sender) {
        return Ok(None);
    }
    let bot = core.bot_puppet().await?;
    let Ok(raw) = serde_json::from_str(&event.body).map(Raw::<AnyTimelineEvent>::from_json) else {
        return Ok(None);
    };
    let raw = match event.kind.as_str() {
        "m.room.message" => raw,
        "m.room.encrypted" => match bot.decrypt(room, raw.cast_ref_unchecked()).await {
            Ok(decrypted) => {
                let key = Key::of(&decrypted);
                if key.is_of_another(core, &event.event_id).await? {
                    return Ok(None);
                }
                key.remember(done, core, &event.event_id);
                decrypted.raw
            }
            Err(DecryptError::MissingKey { .. }) => {
                core.sweep_soon(core.bot.as_str());
                // A command that nobody could read for a minute is forgotten; its sender writes it again.
                if core.waited(&event.event_id, event.received_ts) < 60_000 {
                    return Err(Hold::after(Duration::from_secs(3)));
                }
                return Ok(None);
            }
            Err(DecryptError::Puppet(error)) => return Err(error.into()),
            Err(_) => return Ok(None),
        },
        _ => return Ok(None),
    };
    // Only a room of two is a chat with the bot: elsewhere people do not talk to it.
    if !rooms::is_alone_with(&bot, room, &sender).await? {
        rooms::leave_if_crowded(core, room).await?;
        return Ok(None);
    }
    let content = raw.get_field::<RoomMessageEventContent>("content");
    let Some(MessageType::Text(text)) = content.ok().flatten().map(|content| content.msgtype)
    else {
        return Ok(None);
    };
    if event.kind == "m.room.message" && bot.is_encrypted(room).await? {
        return Ok(Some(Said::InTheClear));
    }
    Ok(Some(Said::Text(text.body)))
}

/// Does what a user tells the bot and says what came of it.
async fn answer(
    core: &Arc<Core>,
    room: &RoomId,
    event: &inbox::Event,
    text: &str,
) -> Result<String, Hold> {
    let sender = event.sender.as_str();
    let user = core.user(sender)?;
    if !is_heard(core, &user).await? {
        return Ok(NOT_ALLOWED.to_owned());
    }
    rooms::remember(core, sender, room).await?;
    let command = commands::parse(text);
    let leaves = matches!(command, Ok(Command::Disable | Command::Erase { .. }));
    if core.config.level_of(&user) < Level::User && !leaves {
        return Ok(MAY_LEAVE.to_owned());
    }
    let command = match command {
        Ok(command) => command,
        Err(error) => return Ok(error.to_string()),
    };
    Ok(match command {
        Command::Help => help(core),
        Command::Version => format!("gatehouse {}", env!("CARGO_PKG_VERSION")),
        Command::Enable => enable(core, &user).await?,
        Command::Accept => accept(core, &user).await?,
        Command::Decline => {
            "Nothing was sent to WhatsApp. Write “enable” if you change your mind.".to_owned()
        }
        Command::Status => status(core, sender).await?,
        Command::Disable => departed(leaving::disable(core, &user, event.received_ts).await?),
        Command::Erase { confirmed: false } => ERASING.to_owned(),
        Command::Erase { confirmed: true } => {
            erased(leaving::erase(core, &user, event.received_ts).await?)
        }
        Command::ReadReceipts(on) => read_receipts(core, sender, on).await?,
        Command::StartChat(phone) => match portals::start_chat(core, sender, &phone).await? {
            Ok(room) => format!(
                "Here is the chat with {}: https://matrix.to/#/{room}",
                phone.international()
            ),
            Err(refusal) => format!("The chat cannot be opened: {refusal}."),
        },
    })
}

/// Whether the bot talks with a user: one who may use the bridge, or of whom there is a registration that they may end.
async fn is_heard(core: &Core, user: &UserId) -> Result<bool, Hold> {
    Ok(core.config.level_of(user) >= Level::User
        || logins::get(&core.store, user.as_str()).await?.is_some())
}

/// What the bot says to somebody who may not use the bridge.
pub(crate) const NOT_ALLOWED: &str = "You may not use this bridge. Ask whoever runs this server.";

/// The same to somebody of whom there is a registration.
pub(crate) const MAY_LEAVE: &str = "You may not use this bridge: whoever runs this server has decided so. Nothing is sent to WhatsApp for you or received from there. You can still write “disable” to end your registration at WhatsApp, and “erase” to have deleted what I keep of you.";

/// What can be told to the bot, and what can be sent in chats.
fn help(core: &Core) -> String {
    let commands = commands::help(&core.config.appservice.ghost_prefix);
    format!("{commands}\n\n{}", core.capabilities.summary())
}

async fn enable(core: &Arc<Core>, user: &UserId) -> Result<String, Hold> {
    if let Some(consented) = Consented::find(core, user).await? {
        return enlist(core, &consented).await;
    }
    Ok(format!(
        "{}\n\nWrite “accept” if you agree, or “decline”.",
        consent::TEXT
    ))
}

async fn accept(core: &Arc<Core>, user: &UserId) -> Result<String, Hold> {
    let consented = match Consented::find(core, user).await? {
        Some(consented) => consented,
        None => Consented::give(core, user).await?,
    };
    enlist(core, &consented).await
}

async fn enlist(core: &Arc<Core>, user: &Consented<'_>) -> Result<String, Hold> {
    Ok(match enlistment::run(core, user).await? {
        Outcome::Enlisted => "You are joined to WhatsApp. Write “start-chat” and a phone number to begin, for example: start-chat +49 1511 2345678".to_owned(),
        Outcome::Already => "You are joined to WhatsApp already. Write “status” to see whether the connection stands.".to_owned(),
        Outcome::Refused(reason) => format!(
            "WhatsApp refused to register you: {reason}. Ask whoever runs this server; when it is mended, write “enable” again."
        ),
    })
}

/// What “erase” says before it is done.
const ERASING: &str = "\
This ends your registration at WhatsApp and deletes what I keep of you: your keys, which room is which chat and which event which message, files that wait to be fetched, your settings, and that you accepted my conditions. It cannot be undone.
Your contacts leave the rooms here. The rooms and what was said in them stay yours; they are at your homeserver, and your client can leave them. What your contacts have received they keep.
Write “erase everything” to do it.";

/// What WhatsApp does of itself when it could not be told.
const UNTOLD: &str = " WhatsApp's server could not be told; it ends the registration by itself after 30 days without a connection.";

fn departed(departure: Departure) -> String {
    match departure {
        Departure { joined: false, .. } => {
            "You are not joined to WhatsApp. Write “enable” to begin.".to_owned()
        }
        Departure { confirmed, .. } => format!(
            "You have left WhatsApp: nothing is sent or received for you any more, and your keys are deleted. Your chats stay as they are. Write “enable” to come back: your contacts are then told that your security code has changed. Write “erase” to have all else deleted that I keep of you.{}",
            if confirmed { "" } else { UNTOLD }
        ),
    }
}

fn erased(departure: Departure) -> String {
    let untold = departure.joined && !departure.confirmed;
    format!(
        "All that I kept of you is erased. This chat stays until you leave it.{}",
        if untold { UNTOLD } else { "" }
    )
}

async fn status(core: &Arc<Core>, sender: &str) -> Result<String, Hold> {
    let Some(row) = logins::get(&core.store, sender).await? else {
        return Ok("You are not joined to WhatsApp. Write “enable” to begin.".to_owned());
    };
    let mut text = match row.state {
        logins::State::Active => match core.logins.get(sender) {
            Some(login) if login.connection.is_connected() => {
                "You are joined to WhatsApp, and the connection stands.".to_owned()
            }
            _ => "You are joined to WhatsApp, but the connection is down. It is tried again by itself; nothing is lost meanwhile.".to_owned(),
        },
        logins::State::Enlisting => "Your registration is under way. Write “enable” to go on with it.".to_owned(),
        _ => format!(
            "You are not joined to WhatsApp{}. Write “enable” to begin.",
            row.last_error.map(|error| format!(": {error}")).unwrap_or_default()
        ),
    };
    let shown = preferences::get(&core.store, sender).await?.read_receipts;
    text.push_str(match shown {
        true => "\nRead receipts are on.",
        false => "\nRead receipts are off.",
    });
    Ok(text)
}

/// Shows or changes whether contacts learn what the user has read.
async fn read_receipts(core: &Arc<Core>, sender: &str, on: Option<bool>) -> Result<String, Hold> {
    if let Some(on) = on {
        receipts::switch(core, sender, on).await?;
    }
    let shown = preferences::get(&core.store, sender).await?.read_receipts;
    Ok(match shown {
        true => "Read receipts are on: your contacts learn what you have read, and you what they have read.",
        false => "Read receipts are off: your contacts do not learn what you have read, nor you what they have read.",
    }
    .to_owned())
}

/// Answers in the room, encrypted where the room is, and writes `batch` in the same commit.
pub(crate) async fn reply(
    core: &Arc<Core>,
    room: &RoomId,
    user: &str,
    cause: &str,
    text: &str,
    mut batch: Batch,
) -> Result<(), Hold> {
    let bot = core.bot_puppet().await?;
    let content = json!({ "msgtype": "m.notice", "body": text });
    let (kind, content) = if bot.is_encrypted(room).await? {
        bot.prepare(room, &[core.user(user)?]).await?;
        let content = bot
            .encrypt(room, "m.room.message", core.raw(&content)?)
            .await?;
        ("m.room.encrypted", content.json().get().to_owned())
    } else {
        ("m.room.message", content.to_string())
    };
    let txn_id = ids::transaction_id(user, "", cause, "reply");
    posting::put(&mut batch, &bot, room, txn_id, kind, &content, core.now());
    failpoints::around!("management.done", bot.commit_with(batch).await)?;
    core.wake_sends(room);
    Ok(())
}

/// Tells a user something in their chat with the bot, which is opened if there is none; once for each `cause`, an event.
pub(crate) async fn tell(
    core: &Arc<Core>,
    user: &str,
    cause: &str,
    text: &str,
) -> Result<(), Hold> {
    let room = room(core, user).await?;
    reply(core, &room, user, cause, text, Batch::new()).await
}
