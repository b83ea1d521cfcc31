//! Phones: making them, and what their owners do.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use gatekeeper::{
    stanza::Jid,
    stanzas::{ReceiptKind, Typing},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Context, Error, error::Body};
use crate::{
    account::Account,
    phone::{
        Number, Options, OptionsChange, Phone,
        log::{Entry, Log, Status},
        options, typing_word,
    },
};

pub(super) type Answer<T = Json<Value>> = Result<T, Error>;

/// A phone as the control API shows it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    number: String,
    name: String,
    jid: String,
    options: Options,
    /// Partner users that it has a chat with, and the number of messages.
    chats: Vec<Value>,
    blocked: Vec<String>,
    /// Stanzas that wait until it is online.
    waiting: usize,
    /// Its stock clients: number of the device, whether it is connected, and what waits for it.
    devices: Vec<Value>,
}

/// How a partner user is called.
fn name_of(context: &Context, jid: &Jid) -> String {
    let account = context.world.account_named(&jid.to_string());
    account.map_or_else(|| jid.to_string(), |account| account.identifier.clone())
}

fn shown(context: &Context, phone: &Phone) -> Shown {
    let inner = phone.lock();
    let name_of = |jid: &Jid| name_of(context, jid);
    Shown {
        number: phone.number.to_string(),
        name: inner.name.clone(),
        jid: phone.jid.to_string(),
        options: inner.options.clone(),
        chats: inner
            .chats
            .iter()
            .map(|(jid, log)| json!({"with": name_of(jid), "jid": jid, "messages": log.len()}))
            .collect(),
        blocked: inner.blocked.iter().map(name_of).collect(),
        waiting: inner.waiting.len(),
        devices: inner
            .devices
            .iter()
            .map(|(index, device)| {
                json!({"device": index, "connected": device.session.is_some(),
                       "waiting": device.mailbox.len(), "prekeys": device.prekeys.len()})
            })
            .collect(),
    }
}

/// The phone that a path names.
pub(super) fn phone(context: &Context, number: &str) -> Answer<Arc<Phone>> {
    let number = parse(number)?;
    context.world.phone(&number).ok_or_else(|| {
        Error::missing(
            format!("there is no phone {number}"),
            format!("make it: POST /control/phones {{\"number\":\"{number}\",\"name\":\"Bea\"}}"),
        )
    })
}

fn parse(number: &str) -> Answer<Number> {
    Number::parse(number).map_err(|error| {
        Error::bad(
            error.to_string(),
            "write the country code and the number, e.g. +4915112345678",
        )
    })
}

/// The partner user that a request names.
pub(super) fn account(context: &Context, name: &str) -> Answer<Arc<Account>> {
    context.world.account_named(name).ok_or_else(|| {
        Error::missing(
            format!("no enlisted user is called `{name}`"),
            "see GET /control/partners; a Matrix user enlists by writing `enable` to the bridge's bot",
        )
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPhone {
    number: String,
    #[serde(default)]
    name: String,
}

pub(super) async fn add(
    State(context): State<Context>,
    Body(new): Body<NewPhone>,
) -> Answer<(StatusCode, Json<Shown>)> {
    let phone = context.world.add_phone(parse(&new.number)?, new.name)?;
    Ok((StatusCode::CREATED, Json(shown(&context, &phone))))
}

pub(super) async fn list(State(context): State<Context>) -> Json<Vec<Shown>> {
    Json(
        context
            .world
            .phones()
            .iter()
            .map(|phone| shown(&context, phone))
            .collect(),
    )
}

pub(super) async fn show(
    State(context): State<Context>,
    Path(number): Path<String>,
) -> Answer<Json<Shown>> {
    Ok(Json(shown(&context, &*phone(&context, &number)?)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct With {
    with: String,
    /// Only what came after this message.
    after: Option<String>,
    /// Only so many, the newest.
    last: Option<usize>,
}

pub(super) async fn messages(
    State(context): State<Context>,
    Path(number): Path<String>,
    query: Result<Query<With>, axum::extract::rejection::QueryRejection>,
) -> Answer<Json<Vec<Entry>>> {
    let phone = phone(&context, &number)?;
    let Query(with) = query.map_err(|error| {
        Error::bad(
            error.body_text(),
            "name the chat: ?with=@alice:localhost (and &after=ID or &last=N)",
        )
    })?;
    let account = account(&context, &with.with)?;
    let inner = phone.lock();
    let Some(log) = inner.chats.get(&account.jid) else {
        return Ok(Json(Vec::new()));
    };
    let mut entries = match &with.after {
        None => {
            let skipped = with.last.map_or(0, |last| log.len().saturating_sub(last));
            log.iter().skip(skipped).cloned().collect()
        }
        Some(id) => after(log, id)?,
    };
    if let Some(last) = with.last {
        entries.drain(..entries.len().saturating_sub(last));
    }
    Ok(Json(entries))
}

fn after(log: &Log, id: &str) -> Answer<Vec<Entry>> {
    if log.get(id).is_none() {
        return Err(Error::missing(
            format!("there is no message `{id}` in this chat"),
            "leave `after` out to get all messages",
        ));
    }
    let mut found: Vec<Entry> = log
        .iter()
        .rev()
        .take_while(|entry| entry.id != id)
        .cloned()
        .collect();
    found.reverse();
    Ok(found)
}

/// The chats of a phone, with what is going on in them.
pub(super) async fn chats(
    State(context): State<Context>,
    Path(number): Path<String>,
) -> Answer<Json<Vec<Value>>> {
    let phone = phone(&context, &number)?;
    let inner = phone.lock();
    // Somebody may type before there is a first message.
    let with: BTreeSet<&Jid> = inner.chats.keys().chain(inner.typing.keys()).collect();
    let chats = with.into_iter().map(|jid| {
        let log = inner.chats.get(jid);
        let typing = inner.typing.get(jid);
        let unread = |entry: &&Entry| !entry.from_me && entry.status < Status::Read;
        json!({
            "with": name_of(&context, jid),
            "jid": jid,
            "messages": log.map_or(0, Log::len),
            "unread": log.map_or(0, |log| log.iter().filter(unread).count()),
            "last": log.and_then(|log| log.iter().next_back()),
            "typing": typing.map(|(typing, _)| typing_word(*typing)),
            "typing_ts": typing.map(|(_, ts)| ts),
            "timer": inner.timers.get(jid).copied().unwrap_or(0),
            "blocked": inner.blocked.contains(jid),
        })
    });
    Ok(Json(chats.collect()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReaction {
    to: String,
    message: String,
    emoji: String,
}

pub(super) async fn react(
    State(context): State<Context>,
    Path(number): Path<String>,
    Body(reaction): Body<NewReaction>,
) -> Answer {
    let phone = phone(&context, &number)?;
    let account = account(&context, &reaction.to)?;
    let id = phone.react(&context.world, &account, &reaction.message, &reaction.emoji)?;
    Ok(Json(json!({"id": id})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEdit {
    to: String,
    message: String,
    text: String,
}

pub(super) async fn edit(
    State(context): State<Context>,
    Path(number): Path<String>,
    Body(edit): Body<NewEdit>,
) -> Answer {
    let phone = phone(&context, &number)?;
    let account = account(&context, &edit.to)?;
    let id = phone.edit(&context.world, &account, &edit.message, &edit.text)?;
    Ok(Json(json!({"id": id})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRevoke {
    to: String,
    message: String,
}

pub(super) async fn revoke(
    State(context): State<Context>,
    Path(number): Path<String>,
    Body(revoke): Body<NewRevoke>,
) -> Answer {
    let phone = phone(&context, &number)?;
    let account = account(&context, &revoke.to)?;
    let id = phone.revoke(&context.world, &account, &revoke.message)?;
    Ok(Json(json!({"id": id})))
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ReceiptType {
    Delivery,
    Read,
    Played,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReceipt {
    to: String,
    #[serde(rename = "type")]
    kind: ReceiptType,
    ids: Vec<String>,
    #[serde(default)]
    unchecked: bool,
}

pub(super) async fn receipt(
    State(context): State<Context>,
    Path(number): Path<String>,
    Body(receipt): Body<NewReceipt>,
) -> Answer {
    let phone = phone(&context, &number)?;
    let account = account(&context, &receipt.to)?;
    if receipt.ids.is_empty() {
        return Err(Error::bad("`ids` is empty", "name at least one message"));
    }
    let kind = match receipt.kind {
        ReceiptType::Delivery => ReceiptKind::Delivery,
        ReceiptType::Read => ReceiptKind::Read,
        ReceiptType::Played => ReceiptKind::Played,
    };
    let (world, unchecked) = (&context.world, receipt.unchecked);
    phone.send_receipt(world, &account, &kind, receipt.ids, unchecked)?;
    Ok(Json(json!({})))
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TypingState {
    Composing,
    Recording,
    Paused,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTyping {
    to: String,
    state: TypingState,
}

pub(super) async fn typing(
    State(context): State<Context>,
    Path(number): Path<String>,
    Body(typing): Body<NewTyping>,
) -> Answer {
    let phone = phone(&context, &number)?;
    let account = account(&context, &typing.to)?;
    let state = match typing.state {
        TypingState::Composing => Typing::Composing,
        TypingState::Recording => Typing::Recording,
        TypingState::Paused => Typing::Paused,
    };
    phone.send_typing(&account, state)?;
    Ok(Json(json!({})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBlock {
    to: String,
    blocked: bool,
}

pub(super) async fn block(
    State(context): State<Context>,
    Path(number): Path<String>,
    Body(block): Body<NewBlock>,
) -> Answer {
    let phone = phone(&context, &number)?;
    let account = account(&context, &block.to)?;
    let mut inner = phone.lock();
    if block.blocked {
        inner.blocked.insert(account.jid.clone());
    } else {
        inner.blocked.remove(&account.jid);
    }
    drop(inner);
    context.world.touch();
    context.world.events.emit("block", || {
        json!({"phone": phone.number.to_string(), "with": account.identifier,
               "blocked": block.blocked})
    });
    Ok(Json(json!({})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Empty {}

pub(super) async fn identity(
    State(context): State<Context>,
    Path(number): Path<String>,
    Body(Empty {}): Body<Empty>,
) -> Answer {
    let phone = phone(&context, &number)?;
    context.world.change_identity(&phone).map_err(|error| {
        Error::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the new keys cannot be made: {error}"),
            "try again",
        )
    })?;
    Ok(Json(json!({})))
}

pub(super) async fn options(
    State(context): State<Context>,
    Path(number): Path<String>,
    Body(change): Body<OptionsChange>,
) -> Answer<Json<Options>> {
    let phone = phone(&context, &number)?;
    let mut inner = phone.lock();
    let options = inner.options.changed(change).map_err(|error| {
        let known: Vec<_> = options::kinds().collect();
        Error::bad(error.to_string(), format!("use of: {}", known.join(", ")))
    })?;
    inner.options = options.clone();
    drop(inner);
    phone.catch_up(&context.world);
    context.world.events.emit(
        "options",
        || json!({"phone": phone.number.to_string(), "options": options}),
    );
    Ok(Json(options))
}
