//! `sandbox phone … chat`: a phone's chat in the terminal.

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Outcome, client::Client, say};
use crate::{Entry, Number, Status};

const HELP: &str = "Write a line to send it. /read marks everything as read, /typing shows that \
                    you type, /quit leaves.";

/// The messages of a chat.
pub(super) async fn messages(
    client: &Client,
    number: &Number,
    with: &str,
) -> Result<Vec<Entry>, String> {
    let query = reqwest::Url::parse_with_params("http://localhost", [("with", with)])
        .map_err(|error| error.to_string())?;
    let query = query.query().unwrap_or_default();
    let path = format!("/control/phones/{number}/messages?{query}");
    serde_json::from_value(client.get(&path).await?).map_err(|error| error.to_string())
}

/// One message as a line: who, what, and how far it has come.
pub(super) fn line(message: &Entry, with: &str) -> String {
    let who = if message.from_me { "me" } else { with };
    let what = match &message.text {
        _ if message.undecryptable => "(waiting for this message)".to_owned(),
        _ if message.revoked => "(deleted)".to_owned(),
        _ if message.expired => "(disappeared)".to_owned(),
        Some(text) => text.clone(),
        None => described(message),
    };
    let edited = if message.edited { " (edited)" } else { "" };
    let ticks = if message.from_me {
        ticks(message.status)
    } else {
        ""
    };
    let reactions: String = message
        .reactions
        .iter()
        .map(|one| format!(" {}", one.emoji))
        .collect();
    format!("{who}: {what}{edited}{reactions} {ticks}")
        .trim_end()
        .to_owned()
}

/// What is not text, in brackets, with the text that goes with it.
fn described(message: &Entry) -> String {
    let mut what = format!("({}", message.kind.replace('_', " "));
    let mut add = |text: String| {
        what.push_str(", ");
        what.push_str(&text);
    };
    if let Some(name) = &message.file_name {
        add(name.clone());
    }
    if let Some(size) = message.size {
        add(format!("{size} bytes"));
    }
    if let Some(seconds) = message.duration {
        add(format!("{seconds} s"));
    }
    if message.view_once {
        add("to be looked at once".to_owned());
    }
    if let Some(place) = &message.location {
        add(format!("{}, {}", place.latitude, place.longitude));
    }
    for contact in &message.contacts {
        add(contact.name.clone());
    }
    if let Some(error) = &message.media_error {
        add(error.clone());
    }
    what.push(')');
    if let Some(caption) = &message.caption {
        what.push(' ');
        what.push_str(caption);
    }
    what
}

fn ticks(status: Status) -> &'static str {
    match status {
        Status::Sent => "✓",
        Status::Delivered => "✓✓",
        Status::Read => "✓✓ read",
        Status::Played => "✓✓ played",
    }
}

/// Chats until the input ends.
pub(super) async fn run(client: &Client, number: &Number, with: &str) -> Outcome {
    let mut events = Box::pin(client.events().await?);
    for message in &messages(client, number, with).await? {
        say(line(message, with));
    }
    say(HELP);
    let mut input = typed_lines();
    loop {
        tokio::select! {
            typed = input.recv() => {
                let Some(typed) = typed else { return Ok(()) };
                match typed.trim() {
                    "/quit" => return Ok(()),
                    typed => {
                        if let Err(error) = obey(client, number, with, typed).await {
                            say(format_args!("! {error}"));
                        }
                    }
                }
            }
            event = events.next() => {
                let event = event.ok_or("the sandbox has gone")??;
                if event.data["phone"] == number.to_string() && event.data["with"] == with {
                    note(client, number, with, &event.name, &event.data).await?;
                }
            }
        }
    }
}

/// What is typed, line by line. Reading a terminal blocks, so a thread does it; it ends with the
/// process.
fn typed_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Does what a typed line says.
async fn obey(client: &Client, number: &Number, with: &str, typed: &str) -> Outcome {
    let base = format!("/control/phones/{number}");
    match typed {
        "" => {}
        "/help" => say(HELP),
        "/read" => mark_read(client, number, with).await?,
        "/typing" => {
            let body = json!({"to": with, "state": "composing"});
            client.post(&format!("{base}/typing"), &body).await?;
        }
        text => {
            let body = json!({"to": with, "kind": "text", "text": text});
            client.post(&format!("{base}/messages"), &body).await?;
        }
    }
    Ok(())
}

/// Shows what happened in the chat.
async fn note(client: &Client, number: &Number, with: &str, name: &str, data: &Value) -> Outcome {
    match name {
        "message" => {
            if let Ok(message) = serde_json::from_value::<Entry>(data["message"].clone()) {
                say(line(&message, with));
            }
        }
        "typing" if data["state"] != "paused" => say(format_args!("({with} is typing)")),
        "identity_changed" => say(format_args!("(the security code of {with} has changed)")),
        "receipt" if data["from_me"] == false => {
            let ids = data["ids"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            show_again(client, number, with, ids).await?;
        }
        "reaction" | "edit" | "revoke" | "decrypted" | "media" => {
            show_again(client, number, with, &[data["message"].clone()]).await?;
        }
        _ => {}
    }
    Ok(())
}

/// Shows messages as they are now.
async fn show_again(client: &Client, number: &Number, with: &str, ids: &[Value]) -> Outcome {
    for message in &messages(client, number, with).await? {
        if ids.iter().any(|id| *id == message.id.as_str()) {
            say(format_args!("   {}", line(message, with)));
        }
    }
    Ok(())
}

pub(super) async fn mark_read(client: &Client, number: &Number, with: &str) -> Outcome {
    let all = messages(client, number, with).await?;
    let unread = |one: &&Entry| !one.from_me && !one.undecryptable && one.status < Status::Read;
    let ids: Vec<&str> = all
        .iter()
        .filter(unread)
        .map(|one| one.id.as_str())
        .collect();
    if !ids.is_empty() {
        let body = json!({"to": with, "type": "read", "ids": ids});
        client
            .post(&format!("/control/phones/{number}/receipts"), &body)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_ticks_for_own_messages_only() {
        let mut message = Entry::new("A".to_owned(), true, "text", 0);
        message.text = Some("hi".to_owned());
        assert_eq!(line(&message, "@alice:localhost"), "me: hi ✓");
        message.advance(Status::Read);
        assert_eq!(line(&message, "@alice:localhost"), "me: hi ✓✓ read");
        message.from_me = false;
        assert_eq!(line(&message, "@alice:localhost"), "@alice:localhost: hi");
    }

    #[test]
    fn a_line_says_what_a_file_is() {
        let mut message = Entry::new("A".to_owned(), false, "round_video", 0);
        message.size = Some(7);
        message.duration = Some(3);
        message.caption = Some("look".to_owned());
        assert_eq!(line(&message, "ed"), "ed: (round video, 7 bytes, 3 s) look");
    }
}
