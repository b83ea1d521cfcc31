//! What is wrong with a chat: its contents, its statuses, its notices.

use serde_json::Value;
use tests::client::TimelineEvent;
use tests::torture::model::{Findings, Seen, compare};

use super::Must;

/// The type of the events that say what became of a message.
const STATUS: &str = "com.beeper.message_send_status";

/// What a look found to be wrong.
#[derive(Default)]
pub(super) struct Found {
    pub(super) findings: Findings,
    pub(super) details: Vec<String>,
}

impl Found {
    pub(super) fn contents(&mut self, place: &str, is: &[Seen], must: &[Seen]) {
        let found = compare(is, must);
        if is != must {
            self.details.push(format!(
                "{place} shows {is:?} instead of {must:?} ({found})"
            ));
        }
        self.findings += found;
    }

    pub(super) fn wrong(&mut self, what: String) {
        self.findings.wrong += 1;
        self.details.push(what);
    }

    pub(super) fn status(&mut self, what: String) {
        self.findings.status += 1;
        self.details.push(what);
    }

    /// The last that is said of each of the user's messages is that it was delivered.
    pub(super) fn delivered(&mut self, there: &[Must], timeline: &[TimelineEvent]) {
        for must in there.iter().filter(|must| must.seen != Seen::Deleted) {
            let Some(id) = &must.id else { continue };
            let last = timeline
                .iter()
                .rfind(|event| event.kind == STATUS && event.relates("m.reference", id));
            let status = last.map_or(&Value::Null, |event| &event.content);
            let to = status["delivered_to_users"].as_array();
            if status["status"] != "SUCCESS" || to.is_none_or(Vec::is_empty) {
                self.status(format!("{:?} has the status {status}", must.seen));
            }
        }
    }

    /// The phone knows of each of its messages that it was delivered.
    pub(super) fn ticked(&mut self, here: &[Must], shown: &[Value]) {
        for must in here.iter().filter(|must| must.seen != Seen::Deleted) {
            let Some(id) = &must.id else { continue };
            let status = shown
                .iter()
                .find(|each| each["id"] == id.as_str())
                .map_or(&Value::Null, |each| &each["status"]);
            if status != "delivered" && status != "read" {
                self.status(format!("{:?} is {status} on the phone", must.seen));
            }
        }
    }

    /// So many notices in the room say that something is in the way, not counting what `people` say.
    pub(super) fn notices(&mut self, timeline: &[TimelineEvent], people: [&str; 2], must: usize) {
        let notices: Vec<_> = timeline
            .iter()
            .filter(|event| !event.redacted && !people.contains(&event.sender.as_str()))
            .filter_map(TimelineEvent::body)
            .filter(|body| body.starts_with('⏳') || body.starts_with('⚠'))
            .collect();
        if notices.len() != must {
            self.status(format!("{notices:?} instead of {must} notices"));
        }
    }
}
