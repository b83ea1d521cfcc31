//! WhatsApp text as a Matrix message.
//!
//! The body is the text as it came, marks included: that is how a client without formatting shows it best. HTML is made only when
//! something in it is marked.

mod inline;

use gatekeeper::message::{Body, Quote};
use ruma::events::room::message::RoomMessageEventContent;
use serde_json::Value;

use super::{beginning, edit, fits, is_emoji, notice, places};

/// Translates a message into the content of an `m.room.message`. What Matrix could show better than the bridge does yet
/// becomes a text that says what came: nothing is dropped. Quoted words stand above a text; where the message that it
/// answers is in the room, take the quote out first.
#[must_use]
pub fn to_matrix(body: &Body) -> Value {
    match body {
        Body::Text { text, context } => {
            let quoted = context
                .reply_to
                .as_ref()
                .and_then(quote)
                .unwrap_or_default();
            text_content(&format!("{quoted}{text}"))
        }
        Body::Location(place) => places::to_matrix(place)
            .unwrap_or_else(|| notice("A location came that is nowhere on earth.")),
        Body::Edit { body, .. } => match &**body {
            Body::Text { text, .. } => text_content(&format!("(edited) {text}")),
            other => notice(&format!(
                "A message was edited on WhatsApp; it is now: {}.",
                other.kind()
            )),
        },
        Body::Reaction { emoji, .. } if emoji.is_empty() => {
            notice("A reaction was taken back on WhatsApp, from a message that is not here.")
        }
        Body::Reaction { emoji, .. } if is_emoji(emoji, SHOWN_BYTES) => notice(&format!(
            "{emoji} (a reaction to a message that is not here)"
        )),
        Body::Reaction { .. } => {
            notice("A reaction came from WhatsApp that is no emoji. It is not shown.")
        }
        Body::Revoke { .. } => notice("A message was deleted on WhatsApp that is not here."),
        Body::Timer { seconds: 0 } => {
            notice("Messages of this chat do not disappear on WhatsApp any more.")
        }
        Body::Timer { seconds } => notice(&format!(
            "Messages of this chat disappear on WhatsApp after {}. What comes from there is then deleted here too; what you write stays here.",
            duration(*seconds)
        )),
        other => notice(&format!(
            "Something came from WhatsApp that cannot be shown here: {}. Ask the sender to write it as text.",
            other.kind()
        )),
    }
}

/// The content of an edit of `event_id`. `original` is the content of a file whose caption changes.
#[must_use]
pub fn replacement(event_id: &str, body: &Body, original: Option<&Value>) -> Value {
    let new = match (original, body) {
        (Some(original), Body::Text { text, .. }) => {
            let mut new = original.clone();
            let words = text_content(text);
            let name = original["filename"].as_str().or(original["body"].as_str());
            new["filename"] = name.unwrap_or("file").into();
            for key in ["body", "format", "formatted_body"] {
                match words.get(key) {
                    Some(value) => new[key] = value.clone(),
                    None => drop(new.as_object_mut().and_then(|new| new.remove(key))),
                }
            }
            if text.is_empty() {
                new["body"] = new["filename"].clone();
            }
            new
        }
        _ => to_matrix(body),
    };
    edit(event_id, new)
}

/// Adds a note to what is written under a file; a file without a caption gets one.
pub fn note_below(content: &mut Value, note: &str) {
    let body = content["body"].as_str().unwrap_or_default().to_owned();
    let bare = content["filename"].as_str().is_none_or(|name| name == body);
    if bare {
        content["filename"] = body.into();
        content["body"] = note.into();
        return;
    }
    content["body"] = format!("{body}\n{note}").into();
    if let Some(html) = content["formatted_body"].as_str() {
        content["formatted_body"] = format!("{html}<br>{note}").into();
    }
}

/// Longest emoji that is shown in a text, in bytes.
const SHOWN_BYTES: usize = 64;

/// A number of seconds for people.
fn duration(seconds: u32) -> String {
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// The answered message as WhatsApp writes a quotation.
fn quote(quote: &Quote) -> Option<String> {
    match quote.body.as_deref()? {
        Body::Text { text, .. } => {
            let lines = beginning(text);
            Some(lines.lines().map(|line| format!("> {line}\n")).collect())
        }
        other => Some(format!("> ({})\n", other.kind())),
    }
}

/// A text as event content.
pub(super) fn text_content(text: &str) -> Value {
    let html = formatted(text).filter(|html| fits(text, Some(html)));
    let content = match html {
        Some(html) => RoomMessageEventContent::text_html(text, html),
        None => RoomMessageEventContent::text_plain(text),
    };
    // A struct of strings cannot fail to serialize; the plain text is what would be left of it.
    serde_json::to_value(content)
        .unwrap_or_else(|_| serde_json::json!({ "msgtype": "m.text", "body": text }))
}

/// A text as HTML; nothing if there is nothing in it to format.
fn formatted(text: &str) -> Option<String> {
    let mut page = Page::default();
    let mut rest = text;
    while let Some(code) = next_code_block(rest) {
        page.lines(rest.get(..code.start).unwrap_or_default());
        page.code(rest.get(code.start + 3..code.end - 3).unwrap_or_default());
        rest = rest.get(code.end..).unwrap_or_default();
        rest = rest.strip_prefix('\n').unwrap_or(rest);
    }
    if !rest.is_empty() {
        page.lines(rest);
    }
    page.marked.then_some(page.html)
}

/// Finds text between fences of three back-ticks that stands on lines of its own or spans lines. Shorter ones inside a line are
/// left to that line.
fn next_code_block(text: &str) -> Option<std::ops::Range<usize>> {
    let mut from = 0;
    loop {
        let start = from + text.get(from..)?.find("```")?;
        let inner = start + 3;
        let close = inner + text.get(inner..)?.find("```")?;
        let end = close + 3;
        let code = text.get(inner..close)?;
        let before = text.get(..start)?;
        let after = text.get(end..)?;
        let alone = (before.is_empty() || before.ends_with('\n'))
            && (after.is_empty() || after.starts_with('\n'));
        if code.trim().is_empty() {
            from = inner;
        } else if alone || code.contains('\n') {
            return Some(start..end);
        } else {
            from = end;
        }
    }
}

/// What a line is.
enum Line<'a> {
    Quote(&'a str),
    Bullet(&'a str),
    Number(u32, &'a str),
    Text(&'a str),
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        if let Some(rest) = line.strip_prefix("> ") {
            return Self::Quote(rest);
        }
        let item = line.strip_prefix("- ").or_else(|| line.strip_prefix("* "));
        if let Some(rest) = item.filter(|rest| !rest.trim().is_empty()) {
            return Self::Bullet(rest);
        }
        if let Some((number, rest)) = line.split_once(". ")
            && (1..=3).contains(&number.len())
            && number.bytes().all(|b| b.is_ascii_digit())
            && !rest.trim().is_empty()
            && let Ok(number) = number.parse()
        {
            return Self::Number(number, rest);
        }
        Self::Text(line)
    }
}

/// The block that is open.
#[derive(Default, PartialEq, Eq)]
enum Block {
    #[default]
    None,
    Text,
    Quote,
    Bullets,
    /// A numbered list, and the number that goes on with it.
    Numbers(u32),
}

/// The HTML as it grows.
#[derive(Default)]
struct Page {
    html: String,
    block: Block,
    /// Whether there is anything that plain text does not say as well.
    marked: bool,
}

impl Page {
    fn lines(&mut self, text: &str) {
        let text = text.strip_suffix('\n').unwrap_or(text);
        if text.is_empty() && self.html.is_empty() {
            return;
        }
        for line in text.split('\n') {
            self.line(Line::of(line));
        }
        self.close();
    }

    fn line(&mut self, line: Line<'_>) {
        let (open, tag, end) = match &line {
            Line::Quote(_) => (Block::Quote, "<blockquote>", ""),
            Line::Bullet(_) => (Block::Bullets, "<ul>", "</li>"),
            Line::Number(number, _) => (Block::Numbers(*number), "<ol>", "</li>"),
            Line::Text(_) => (Block::Text, "", ""),
        };
        if self.block == open {
            if matches!(line, Line::Quote(_) | Line::Text(_)) {
                self.html.push_str("<br>");
            }
        } else {
            self.close();
            match open {
                Block::Numbers(number) if number != 1 => {
                    self.html.push_str(&format!("<ol start=\"{number}\">"));
                }
                _ => self.html.push_str(tag),
            }
            self.marked |= open != Block::Text;
        }
        let text = match line {
            Line::Quote(text) | Line::Text(text) => text,
            Line::Bullet(text) => {
                self.html.push_str("<li>");
                text
            }
            Line::Number(_, text) => {
                self.html.push_str("<li>");
                text
            }
        };
        self.marked |= inline::write(text, &mut self.html);
        self.html.push_str(end);
        self.block = match open {
            Block::Numbers(number) => Block::Numbers(number + 1),
            other => other,
        };
    }

    fn close(&mut self) {
        let end = match std::mem::take(&mut self.block) {
            Block::None | Block::Text => "",
            Block::Quote => "</blockquote>",
            Block::Bullets => "</ul>",
            Block::Numbers(_) => "</ol>",
        };
        self.html.push_str(end);
    }

    fn code(&mut self, code: &str) {
        let code = code.strip_prefix('\n').unwrap_or(code);
        let code = code.strip_suffix('\n').unwrap_or(code);
        self.html.push_str("<pre><code>");
        inline::escape(code, &mut self.html);
        self.html.push_str("</code></pre>");
        self.marked = true;
    }
}

#[cfg(test)]
mod tests;
