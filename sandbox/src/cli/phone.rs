//! `sandbox phone …`: what the owner of a phone does.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    At, Outcome, chat,
    drive::{object, print},
    say, send,
};
use crate::Number;

/// Make a phone, or do what its owner would do with it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sandbox phone +4915112345678 add --name Bea\n  \
    sandbox phone +4915112345678 send @alice:localhost \"hi\"\n  \
    sandbox phone +4915112345678 send @alice:localhost --image cat.png --caption \"my cat\"\n  \
    sandbox phone +4915112345678 read @alice:localhost\n  \
    sandbox phone +4915112345678 chat @alice:localhost\n  \
    sandbox phone +4915112345678 options --online false"
)]
pub(super) struct PhoneArgs {
    /// The phone's number, e.g. +4915112345678
    number: String,
    #[command(flatten)]
    pub(super) at: At,
    #[command(subcommand)]
    act: PhoneAct,
}

#[derive(Debug, Subcommand)]
enum PhoneAct {
    /// Make the phone
    Add {
        /// Its owner's name; partners never learn it
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Show the phone
    Show,
    /// Send a text, a file, a place, people to write to, ...
    Send(Box<send::SendArgs>),
    /// Answer a message with a text
    Reply {
        /// The partner's user
        to: String,
        /// Id of the message
        message: String,
        /// What to say
        text: String,
    },
    /// Replace the text of a message, or the text under its file
    Edit {
        /// The partner's user
        to: String,
        /// Id of the message
        message: String,
        /// What it says from now on
        text: String,
    },
    /// Take a message back
    Delete {
        /// The partner's user
        to: String,
        /// Id of the message
        message: String,
    },
    /// Mark messages as read; without ids all that are not
    Read {
        /// The partner's user
        to: String,
        /// Ids of the messages
        ids: Vec<String>,
    },
    /// Write the file of a message, decrypted, to a file
    Open {
        /// Id of the message
        message: String,
        /// Where to write it
        file: PathBuf,
    },
    /// Show the chats: who types, what is unread
    Chats,
    /// Chat, here in the terminal
    Chat {
        /// The partner's user, e.g. @alice:localhost
        with: String,
    },
    /// Print a chat
    Messages {
        /// The partner's user, e.g. @alice:localhost
        with: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// React to a message; without an emoji take the reaction back
    React {
        /// The partner's user
        to: String,
        /// Id of the message
        message: String,
        /// The emoji
        #[arg(default_value = "")]
        emoji: String,
    },
    /// Send a receipt
    Receipt {
        /// The partner's user
        to: String,
        /// What to say
        kind: ReceiptWord,
        /// Ids of the messages
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Say that the owner types, records, or has stopped
    #[command(alias = "typing")]
    Type {
        /// The partner's user
        to: String,
        /// What the owner does
        state: TypingWord,
    },
    /// Block a partner's user
    Block {
        /// The partner's user
        to: String,
    },
    /// Unblock a partner's user
    Unblock {
        /// The partner's user
        to: String,
    },
    /// Give the phone new keys, as after a reinstallation
    Identity,
    /// Change how the phone behaves
    Options {
        /// Send delivery receipts by itself
        #[arg(long, value_name = "true|false")]
        auto_receipts: Option<bool>,
        /// Send read receipts by itself
        #[arg(long, value_name = "true|false")]
        auto_read: Option<bool>,
        /// Let others know what was read, and see what they have read
        #[arg(long, value_name = "true|false")]
        read_receipts: Option<bool>,
        /// Be connected
        #[arg(long, value_name = "true|false")]
        online: Option<bool>,
        /// Take part in third-party chats
        #[arg(long, value_name = "true|false")]
        third_party_chats: Option<bool>,
        /// Show third-party chats among all others instead of in a folder of their own
        #[arg(long, value_name = "true|false")]
        combined_inbox: Option<bool>,
        /// Kinds of message that it does not show, e.g. sticker,edit; empty for none
        #[arg(long, value_name = "KINDS", value_delimiter = ',', num_args = 0..)]
        refused: Option<Vec<String>>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReceiptWord {
    Delivery,
    Read,
    Played,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TypingWord {
    Composing,
    Recording,
    Paused,
}

fn word(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

impl PhoneArgs {
    pub(super) async fn run(self) -> Outcome {
        let client = self.at.client()?;
        let number = Number::parse(&self.number).map_err(|error| error.to_string())?;
        let base = format!("/control/phones/{number}");
        let (part, body) = match self.act {
            PhoneAct::Add { name } => {
                let body = json!({"number": number.to_string(), "name": name});
                client.post("/control/phones", &body).await?;
                say(format_args!("{number} is there."));
                return Ok(());
            }
            PhoneAct::Show => return print(&client.get(&base).await?),
            PhoneAct::Chat { with } => return chat::run(&client, &number, &with).await,
            PhoneAct::Messages { with, json } => {
                let messages = chat::messages(&client, &number, &with).await?;
                if json {
                    return print(&json!(messages));
                }
                for message in &messages {
                    say(chat::line(message, &with));
                }
                return Ok(());
            }
            PhoneAct::Chats => return print(&client.get(&format!("{base}/chats")).await?),
            PhoneAct::Open { message, file } => {
                let path = format!("{base}/media/{message}");
                return client.save(&path, &file).await;
            }
            PhoneAct::Read { to, ids } if ids.is_empty() => {
                return chat::mark_read(&client, &number, &to).await;
            }
            PhoneAct::Read { to, ids } => {
                ("receipts", json!({"to": to, "type": "read", "ids": ids}))
            }
            PhoneAct::Send(send) => ("messages", send.body(&client, &base).await?),
            PhoneAct::Reply { to, message, text } => (
                "messages",
                json!({"to": to, "kind": "text", "text": text, "reply_to": message}),
            ),
            PhoneAct::Edit { to, message, text } => {
                ("edits", json!({"to": to, "message": message, "text": text}))
            }
            PhoneAct::Delete { to, message } => ("revokes", json!({"to": to, "message": message})),
            PhoneAct::React { to, message, emoji } => (
                "reactions",
                json!({"to": to, "message": message, "emoji": emoji}),
            ),
            PhoneAct::Receipt { to, kind, ids } => (
                "receipts",
                json!({"to": to, "type": word(&kind), "ids": ids}),
            ),
            PhoneAct::Type { to, state } => ("typing", json!({"to": to, "state": word(&state)})),
            PhoneAct::Block { to } => ("block", json!({"to": to, "blocked": true})),
            PhoneAct::Unblock { to } => ("block", json!({"to": to, "blocked": false})),
            PhoneAct::Identity => ("identity", json!({})),
            PhoneAct::Options {
                auto_receipts,
                auto_read,
                read_receipts,
                online,
                third_party_chats,
                combined_inbox,
                refused,
            } => {
                let body = object([
                    ("auto_receipts", auto_receipts.map(Value::from)),
                    ("auto_read", auto_read.map(Value::from)),
                    ("read_receipts", read_receipts.map(Value::from)),
                    ("online", online.map(Value::from)),
                    ("third_party_chats", third_party_chats.map(Value::from)),
                    ("combined_inbox", combined_inbox.map(Value::from)),
                    ("refused", refused.map(|kinds| words(&kinds))),
                ]);
                ("options", body)
            }
        };
        let answer = client.post(&format!("{base}/{part}"), &body).await?;
        match answer.get("id").and_then(Value::as_str) {
            Some(id) => say(id),
            None if answer == json!({}) => say("done"),
            None => print(&answer)?,
        }
        Ok(())
    }
}

/// Words that were given; an empty one is none.
fn words(given: &[String]) -> Value {
    given
        .iter()
        .filter(|word| !word.is_empty())
        .cloned()
        .collect()
}
