//! The events that tell people what became of a message.

use ruma::UserId;
use serde_json::{Value, json};
use store::reports::{Kind, NewReport};

use crate::notices::Reason;

/// How far a message has come, for its status event.
#[derive(Debug, Clone, Copy)]
pub(super) enum Progress<'a> {
    /// The gatekeeper has it.
    Sent,
    /// The contact has it.
    Delivered(&'a UserId),
}

/// The content of a `com.beeper.message_send_status` event about a message that went. Clients expect a delivery when the list
/// of receivers is there, be it empty.
pub(super) fn success(event_id: &str, progress: Progress<'_>) -> Value {
    let mut content = status(event_id, "SUCCESS");
    content["delivered_to_users"] = match progress {
        Progress::Sent => json!([]),
        Progress::Delivered(ghost) => json!([ghost]),
    };
    content
}

/// The same about one that waits or failed; nothing for what is about no message.
pub(super) fn trouble(report: &NewReport) -> Option<Value> {
    let reason = Reason::parse(&report.reason)?;
    let word = match (report.kind, reason) {
        (Kind::Note, _) => return None,
        (Kind::Waiting, _) => "PENDING",
        // Sending it again may help.
        (
            Kind::Failed,
            Reason::NotJoined
            | Reason::Unusable
            | Reason::Unanswered
            | Reason::SetAside
            | Reason::Full,
        ) => "FAIL_RETRIABLE",
        (Kind::Failed, Reason::Unsupported | Reason::Unshown | Reason::Refused | Reason::NoKey) => {
            "FAIL_PERMANENT"
        }
    };
    let mut content = status(&report.about, word);
    content["reason"] = match reason {
        Reason::Unsupported | Reason::Unshown => "com.beeper.unsupported_event",
        Reason::NoKey => "com.beeper.undecryptable_event",
        Reason::Refused | Reason::Unusable => "m.foreign_network_error",
        Reason::NotJoined => "m.no_permission",
        Reason::Unanswered | Reason::Full => "m.bridge_unavailable",
        Reason::SetAside => "m.event_not_handled",
    }
    .into();
    content["message"] = sentence(report, reason).into();
    Some(content)
}

fn status(event_id: &str, word: &str) -> Value {
    json!({
        "m.relates_to": { "rel_type": "m.reference", "event_id": event_id },
        "network": "whatsapp",
        "status": word,
    })
}

/// What a report says, in one or two sentences. The beginning says how sure it is.
fn sentence(report: &NewReport, reason: Reason) -> String {
    let begin = match (report.kind, reason) {
        (Kind::Waiting, _) => "Your message has not gone to WhatsApp yet",
        (_, Reason::Unusable | Reason::Unshown) => {
            "Your message reached WhatsApp but was not shown there"
        }
        _ => "Your message was not sent to WhatsApp",
    };
    format!("{begin}: {}.", report.body)
}

/// The content of the notice in the room that says the same. `replies` is whether it stands beside the message.
pub(super) fn notice(report: &NewReport, replies: bool) -> Value {
    let text = text(report);
    let mut content = json!({ "msgtype": "m.notice", "body": text });
    if replies && report.kind != Kind::Note {
        content["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": report.about } });
    }
    content
}

/// The content of an edit of such a notice.
pub(super) fn edit(report: &NewReport, notice: &str) -> Value {
    let text = text(report);
    json!({
        "msgtype": "m.notice",
        "body": format!("* {text}"),
        "m.new_content": { "msgtype": "m.notice", "body": text },
        "m.relates_to": { "rel_type": "m.replace", "event_id": notice },
    })
}

fn text(report: &NewReport) -> String {
    match (report.kind, Reason::parse(&report.reason)) {
        (Kind::Waiting, Some(reason)) => format!("⏳ {}", sentence(report, reason)),
        (Kind::Failed, Some(reason)) => format!("⚠️ {}", sentence(report, reason)),
        _ => report.body.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kind: Kind, reason: &str) -> NewReport {
        NewReport {
            about: "$event".to_owned(),
            login: "@anna:localhost".to_owned(),
            peer: "1@s.whatsapp.net".to_owned(),
            kind,
            reason: reason.to_owned(),
            body: "because".to_owned(),
            loud: true,
            created_ts: 0,
        }
    }

    #[test]
    fn the_wire_shapes() {
        let ghost = ruma::user_id!("@whatsapp_1:localhost");
        let waiting = report(Kind::Waiting, "unanswered");
        let failed = report(Kind::Failed, "unsupported");
        let note = report(Kind::Note, "");
        insta::assert_json_snapshot!([
            success("$event", Progress::Sent),
            success("$event", Progress::Delivered(ghost)),
            trouble(&waiting).expect("about a message"),
            trouble(&failed).expect("about a message"),
            trouble(&report(Kind::Failed, "unusable")).expect("about a message"),
            notice(&waiting, true),
            notice(&failed, false),
            edit(&failed, "$notice"),
            notice(&note, true),
        ]);
        assert_eq!(trouble(&note), None);
    }
}
