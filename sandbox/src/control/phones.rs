//! Phones: making them, and what their owners do.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use gatekeeper::stanzas::{ReceiptKind, Typing};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Context, Error, error::Body};
use crate::{
    account::Account,
    phone::{
        Number, Options, OptionsChange, Phone,
        log::{Entry, Log},
    },
};

type Answer<T = Json<Value>> = Result<T, Error>;

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
}

fn shown(context: &Context, phone: &Phone) -> Shown {
    let inner = phone.lock();
    let name_of = |jid: &gatekeeper::stanza::Jid| {
        let account = context.world.account_named(&jid.to_string());
        account.map_or_else(|| jid.to_string(), |account| account.identifier.clone())
    };
    Shown {
        number: phone.number.to_string(),
        name: inner.name.clone(),
        jid: phone.jid.to_string(),
        options: inner.options,
        chats: inner
            .chats
            .iter()
            .map(|(jid, log)| json!({"with": name_of(jid), "jid": jid, "messages": log.len()}))
            .collect(),
        blocked: inner.blocked.iter().map(name_of).collect(),
        waiting: inner.waiting.len(),
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
fn account(context: &Context, name: &str) -> Answer<Arc<Account>> {
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

/// The kinds of message that design and field know; of these the sandbox sends those in [`SENT`].
const KINDS: [&str; 11] = [
    "text", "image", "video", "voice", "audio", "document", "sticker", "location", "contact",
    "poll", "unknown",
];

/// The kinds that phones can send.
const SENT: [&str; 1] = ["text"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMessage {
    to: String,
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    reply_to: Option<String>,
}

pub(super) async fn send(
    State(context): State<Context>,
    Path(number): Path<String>,
    Body(message): Body<NewMessage>,
) -> Answer {
    let phone = phone(&context, &number)?;
    let account = account(&context, &message.to)?;
    if !SENT.contains(&message.kind.as_str()) {
        let known = KINDS.contains(&message.kind.as_str());
        let cause = if known {
            "cannot be sent by this version"
        } else {
            "is not known"
        };
        return Err(Error::bad(
            format!("the kind `{}` {cause}", message.kind),
            format!("send one of: {}", SENT.join(", ")),
        ));
    }
    let text = message
        .text
        .filter(|text| !text.is_empty())
        .ok_or_else(|| {
            Error::bad(
                "a message of kind `text` has no text",
                "put what it says into `text`",
            )
        })?;
    let id = phone.send_text(&context.world, &account, &text, message.reply_to.as_deref())?;
    Ok(Json(json!({"id": id})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct With {
    with: String,
    /// Only what came after this message.
    after: Option<String>,
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
            "name the chat: ?with=@alice:localhost (and &after=ID)",
        )
    })?;
    let account = account(&context, &with.with)?;
    let inner = phone.lock();
    let Some(log) = inner.chats.get(&account.jid) else {
        return Ok(Json(Vec::new()));
    };
    Ok(Json(match &with.after {
        None => log.iter().cloned().collect(),
        Some(id) => after(log, id)?,
    }))
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
    phone.send_receipt(&context.world, &account, &kind, receipt.ids)?;
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
    let options = inner.options.changed(change);
    inner.options = options;
    drop(inner);
    phone.catch_up(&context.world);
    Ok(Json(options))
}
