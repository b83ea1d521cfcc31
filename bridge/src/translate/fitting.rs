//! What fits into an event: a homeserver takes 64 KiB, and encryption makes content longer by a third.

use serde_json::{Value, json};

use super::notice;

/// Bytes of JSON that the words of an event may take, formatted ones included.
const WORDS: usize = 40_000;
/// Bytes of JSON that the content of an event may take before it is encrypted.
const CONTENT: usize = 46_000;
/// Characters that are shown of what is too long.
const BEGINNING: usize = 500;

/// Bytes that a text takes in JSON.
fn written(text: &str) -> usize {
    let escaped = |c: char| match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        c if c.is_control() => 6,
        c => c.len_utf8(),
    };
    text.chars().map(escaped).sum()
}

/// Whether a text, with its formatted form if there is one, fits into an event.
#[must_use]
pub fn fits(text: &str, html: Option<&str>) -> bool {
    written(text) + html.map_or(0, written) <= WORDS
}

/// The beginning of a text that is too long to be shown as a whole, and a mark where it breaks off.
#[must_use]
pub fn beginning(text: &str) -> String {
    match text.char_indices().nth(BEGINNING) {
        Some((end, _)) => format!("{} …", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The edit that gives an event other content. Clients that know no edits see the new words behind an asterisk, or where there
/// is no room for them twice, their beginning.
#[must_use]
pub fn edit(event_id: &str, mut new: Value) -> Value {
    if let Some(new) = new.as_object_mut() {
        // An edit cannot make a message answer another one.
        new.remove("m.relates_to");
        new.remove("m.new_content");
    }
    let mut content = new.clone();
    let words = new["body"].as_str().unwrap_or_default();
    let html = new["formatted_body"].as_str();
    if written(words) + html.map_or(0, written) > WORDS / 2 {
        content["body"] = format!("* {}", beginning(words)).into();
        if let Some(content) = content.as_object_mut() {
            content.remove("format");
            content.remove("formatted_body");
        }
    } else {
        content["body"] = format!("* {words}").into();
        if let Some(html) = html {
            content["formatted_body"] = format!("* {html}").into();
        }
    }
    content["m.new_content"] = new;
    content["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": event_id });
    content
}

/// Content that the homeserver takes: what is too long even so (a name of a hundred thousand letters) becomes a word that it
/// came.
#[must_use]
pub fn bounded(content: Value) -> Value {
    if content.to_string().len() <= CONTENT {
        return content;
    }
    let mut told = notice(
        "Something came from WhatsApp that is too long to be shown here. Ask the sender to write it in parts.",
    );
    let relation = content.get("m.relates_to");
    if let Some(relation) = relation.filter(|relation| relation.to_string().len() < 1000) {
        told["m.relates_to"] = relation.clone();
    }
    if told["m.relates_to"]["rel_type"] == "m.replace" {
        told["m.new_content"] = json!({ "msgtype": "m.notice", "body": told["body"] });
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What encryption and the event around it make of some content, in bytes, at the most.
    fn encrypted(content: &Value) -> usize {
        content.to_string().len() * 4 / 3 + 3000
    }

    #[test]
    fn edits_of_long_texts_fit() {
        for length in [10, 19_000, 39_000] {
            let text = "\"".repeat(length / 2);
            assert!(fits(&text, None));
            let edit = edit("$event", json!({"msgtype": "m.text", "body": text}));
            assert_eq!(edit["m.new_content"]["body"], text);
            assert!(encrypted(&bounded(edit)) < 65_536, "{length}");
        }
        assert!(!fits(&"\u{1}".repeat(7000), None));
        assert!(!fits(&"x".repeat(30_000), Some(&"x".repeat(30_000))));
    }

    #[test]
    fn what_cannot_fit_is_told() {
        let huge = json!({"msgtype": "m.location", "body": "x".repeat(100_000), "m.relates_to": {"m.in_reply_to": {"event_id": "$a"}}});
        let told = bounded(huge.clone());
        assert_eq!(told["m.relates_to"], huge["m.relates_to"]);
        assert!(
            told["body"]
                .as_str()
                .unwrap_or_default()
                .contains("too long")
        );
        let told = bounded(edit("$event", huge));
        assert_eq!(told["m.relates_to"]["event_id"], "$event");
        assert_eq!(told["m.new_content"]["body"], told["body"]);
        let small = json!({"body": "x"});
        assert_eq!(bounded(small.clone()), small);
    }

    #[test]
    fn a_beginning_breaks_off_between_characters() {
        assert_eq!(beginning("short"), "short");
        let long = beginning(&"文".repeat(1000));
        assert_eq!(long.chars().count(), BEGINNING + 2);
    }
}
