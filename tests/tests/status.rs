//! What people are told: how far a message has come, that one waits, failed or cannot be read, who has read and who types.

use std::time::Duration;

use serde_json::{Value, json};
use tests::client::{Client, TimelineEvent};
use tests::plain::PlainUser;
use tests::sandbox::{Events, Phone};
use tests::stack::{Options, PASSWORD, Stack};
use tests::wait::{self, PATIENCE};
use tests::{Error, Result, http};
use tokio::sync::OnceCell;

/// The type of a status event.
const STATUS: &str = "com.beeper.message_send_status";
/// Longer than the half minute after which the user hears that something waits.
const LONG: Duration = Duration::from_secs(90);

/// One stack for the tests that leave its parts alone; each has its own users and phones.
async fn stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_try_init(|| Stack::start("status", Options::default()))
        .await
}

/// A Matrix user and a phone with a chat in which both have written.
struct Chat {
    client: Client,
    phone: Phone,
    ghost: String,
    room: String,
}

impl Chat {
    async fn open(stack: &Stack, user: &str, number: &str) -> Result<Self> {
        let phone = stack.sandbox.phone(number, "Bea").await?;
        let client = stack.enlisted_client(user).await?;
        let ghost = stack.ghost(&phone);
        let room = client.direct_chat(&ghost).await?;
        client.wait_for_member(&room, &ghost).await?;
        let chat = Self {
            client,
            phone,
            ghost,
            room,
        };
        chat.client.send(&chat.room, "hello").await?;
        chat.phone.wait_for_text(chat.me(), "hello").await?;
        chat.phone.send(chat.me(), "hello to you").await?;
        chat.seen("hello to you").await?;
        Ok(chat)
    }

    fn me(&self) -> &str {
        self.client.user_id()
    }

    async fn seen(&self, text: &str) -> Result<TimelineEvent> {
        self.client
            .wait_for_text(&self.room, &self.ghost, text)
            .await
    }

    /// The contents of the status events about a message, in order.
    async fn statuses(&self, event: &str) -> Result<Vec<Value>> {
        let timeline = self.client.timeline(&self.room).await?;
        Ok(timeline
            .into_iter()
            .filter(|each| each.kind == STATUS && each.relates("m.reference", event))
            .map(|each| {
                assert!(!each.encrypted, "clients expect it in the clear");
                each.content
            })
            .collect())
    }

    async fn wait_for_status(
        &self,
        event: &str,
        what: &str,
        accept: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let accept = &accept;
        let found = self
            .client
            .until(what, LONG, || async {
                Ok(self.statuses(event).await?.into_iter().find(accept))
            })
            .await;
        match found {
            Ok(status) => Ok(status),
            Err(error) => Err(Error::new(format!(
                "{error}; its statuses are {:#?}",
                self.statuses(event).await?
            ))),
        }
    }

    async fn wait_for_delivery(&self, event: &str) -> Result<Value> {
        self.wait_for_status(event, "the delivery of a message", |status| {
            status["delivered_to_users"] == json!([self.ghost])
        })
        .await
    }

    /// What the bot has said in the room, redacted or not, without edits.
    async fn notices(&self, bot: &str) -> Result<Vec<TimelineEvent>> {
        let timeline = self.client.timeline(&self.room).await?;
        Ok(timeline
            .into_iter()
            .filter(|each| each.sender == bot && each.relation["rel_type"] != "m.replace")
            .filter(|each| each.redacted || each.kind == "m.room.message")
            .collect())
    }

    async fn wait_for_notice(&self, bot: &str, part: &str) -> Result<TimelineEvent> {
        self.client
            .until(&format!("the bot to say {part:?}"), LONG, || async {
                let notices = self.notices(bot).await?;
                Ok(notices
                    .into_iter()
                    .find(|each| each.body().is_some_and(|body| body.contains(part))))
            })
            .await
    }

    /// The statuses of the phone's own messages, by text.
    async fn ticks(&self) -> Result<Vec<(String, String)>> {
        let messages = self.phone.messages(self.me()).await?;
        Ok(messages
            .into_iter()
            .filter(|message| message.from_me)
            .map(|message| (message.text.unwrap_or_default(), message.status))
            .collect())
    }
}

/// SIGKILL, and a new start.
async fn crash(stack: &Stack) -> Result<()> {
    stack.gatehouse.kill();
    stack.gatehouse.start().await
}

#[tokio::test]
async fn a_message_that_goes_at_once_gets_one_status() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "one", "+4915100000001").await?;
    let event = chat.client.send(&chat.room, "quick").await?;
    let status = chat.wait_for_delivery(&event).await?;
    assert_eq!(
        (&status["status"], &status["network"]),
        (&json!("SUCCESS"), &json!("whatsapp"))
    );
    // The next one's status comes after all of this one's.
    let next = chat.client.send(&chat.room, "next").await?;
    chat.wait_for_delivery(&next).await?;
    assert_eq!(chat.statuses(&event).await?.len(), 1);
    assert!(chat.notices(&stack.bot()).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn sent_delivered_and_read_are_told_as_they_come() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "ticks", "+4915100000002").await?;
    chat.phone.options(json!({"online": false})).await?;
    let first = chat.client.send(&chat.room, "first").await?;
    let second = chat.client.send(&chat.room, "second").await?;
    for event in [&first, &second] {
        chat.wait_for_status(event, "a message to be sent", |status| {
            status["status"] == "SUCCESS" && status["delivered_to_users"] == json!([])
        })
        .await?;
    }
    chat.phone.options(json!({"online": true})).await?;
    chat.wait_for_delivery(&first).await?;
    chat.wait_for_delivery(&second).await?;

    // Both at once, as WhatsApp does it: the ghost marks the last one.
    let ids: Vec<String> = chat
        .phone
        .messages(chat.me())
        .await?
        .into_iter()
        .filter(|message| !message.from_me)
        .map(|message| message.id)
        .collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    chat.phone.receipt(chat.me(), "read", &ids).await?;
    chat.client
        .wait_for_read(&chat.room, &chat.ghost, &second)
        .await?;
    Ok(())
}

/// A played voice message has been read too: Matrix knows no more than that.
#[tokio::test]
async fn played_is_read() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "played", "+4915100000003").await?;
    let event = chat.client.send(&chat.room, "listen").await?;
    let shown = chat.phone.wait_for_text(chat.me(), "listen").await?;
    chat.phone
        .receipt(chat.me(), "played", &[&shown.id])
        .await?;
    chat.client
        .wait_for_read(&chat.room, &chat.ghost, &event)
        .await
}

/// The ids in the read receipts that a phone got, receipt by receipt.
fn read_receipts(events: &Events, phone: &Phone) -> Vec<Vec<String>> {
    events
        .seen()
        .into_iter()
        .filter(|event| event.name == "receipt" && event.data["phone"] == phone.number())
        .filter(|event| event.data["from_me"] == false && event.data["type"] == "read")
        .map(|event| serde_json::from_value(event.data["ids"].clone()).unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn reading_in_matrix_is_told_once_and_for_all_before() -> Result<()> {
    let stack = Stack::start("status-read", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        let events = stack.sandbox.events().await?;
        let mut ids = Vec::new();
        let mut shown = Vec::new();
        for text in ["1", "2", "3", "4", "5"] {
            ids.push(chat.phone.send(chat.me(), text).await?);
            shown.push(chat.seen(text).await?.event_id);
        }
        let read = |from: usize, to: usize| ids.get(from..to).unwrap_or_default().to_vec();

        // A private receipt is nobody's business. What follows shows that it had its time.
        chat.client
            .mark_read_privately(&chat.room, &shown[4])
            .await?;
        chat.client.mark_read(&chat.room, &shown[2]).await?;
        chat.phone
            .wait_for_status(chat.me(), &ids[2], "read")
            .await?;
        let ticks = chat.ticks().await?;
        assert_eq!(
            ticks.get(4..).unwrap_or_default(),
            [("4", "delivered"), ("5", "delivered")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        let receipts = read_receipts(&events, &chat.phone);
        assert_eq!(receipts.len(), 1, "one for all of them: {receipts:?}");
        let mut first = chat.phone.messages(chat.me()).await?;
        first.retain(|message| message.text.as_deref() == Some("hello to you"));
        let mut wanted: Vec<String> = first.into_iter().map(|message| message.id).collect();
        wanted.extend(read(0, 3));
        assert_eq!(receipts.concat(), wanted);

        // Over a crash nothing is said again; and an event that is no message stands for those before it.
        crash(&stack).await?;
        let own = chat.client.send(&chat.room, "mine").await?;
        chat.wait_for_delivery(&own).await?;
        let status = chat
            .client
            .wait_for(&chat.room, "a status event", |each| {
                each.kind == STATUS && each.relates("m.reference", &own)
            })
            .await?;
        chat.client.mark_read(&chat.room, &status.event_id).await?;
        chat.phone
            .wait_for_status(chat.me(), &ids[4], "read")
            .await?;
        assert_eq!(
            read_receipts(&events, &chat.phone).concat(),
            [wanted, read(3, 5)].concat()
        );
        wait::until("the outbox to be empty", PATIENCE, || async {
            let url = format!(
                "{}/_gatehouse/status",
                stack.gatehouse.ports().appservice_url()
            );
            let token = stack.gatehouse.token("as_token")?;
            let answer = http::client()?.get(url).bearer_auth(token).send().await?;
            let status: Value = answer.error_for_status()?.json().await?;
            Ok((status["outbox"] == 0).then_some(()))
        })
        .await?;
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

#[tokio::test]
async fn who_keeps_reading_private_does_not_tell() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "private", "+4915100000004").await?;
    let (me, bot) = (chat.me().to_owned(), stack.bot());
    let management = chat.client.direct_chat(&bot).await?;
    chat.client.wait_for_member(&management, &bot).await?;
    let told = async |command: &str, part: &str| -> Result<()> {
        chat.client.send(&management, command).await?;
        chat.client
            .wait_for(&management, part, |event| {
                event.sender == bot && event.body().is_some_and(|body| body.contains(part))
            })
            .await
            .map(drop)
    };
    told("read-receipts off", "receipts are off: your").await?;
    told("status", "Read receipts are off.").await?;
    let hidden = chat.phone.send(&me, "in private").await?;
    let shown = chat.seen("in private").await?;
    chat.client.mark_read(&chat.room, &shown.event_id).await?;
    // The homeserver has it before the next message, and what was read in private stays so.
    chat.client
        .wait_for_read(&chat.room, &me, &shown.event_id)
        .await?;
    chat.client.send(&chat.room, "a sign").await?;
    chat.phone.wait_for_text(&me, "a sign").await?;
    told("read-receipts on", "receipts are on: your").await?;
    let open = chat.phone.send(&me, "in the open").await?;
    let shown = chat.seen("in the open").await?;
    chat.client.mark_read(&chat.room, &shown.event_id).await?;
    chat.phone.wait_for_status(&me, &open, "read").await?;
    let messages = chat.phone.messages(&me).await?;
    let status = messages.iter().find(|message| message.id == hidden);
    assert_eq!(
        status.map(|message| message.status.as_str()),
        Some("delivered")
    );
    Ok(())
}

#[tokio::test]
async fn typing_goes_both_ways_and_does_not_come_back() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "typist", "+4915100000005").await?;
    let events = stack.sandbox.events().await?;
    let typing = |state: &str| {
        let (number, state) = (chat.phone.number().to_owned(), state.to_owned());
        move |event: &tests::sandbox::Event| {
            event.name == "typing"
                && event.data["phone"] == *number
                && event.data["state"] == *state
        }
    };
    chat.client.typing(&chat.room, true).await?;
    events
        .wait_for("typing on the phone", typing("composing"))
        .await?;
    chat.client.typing(&chat.room, false).await?;
    events
        .wait_for("the end of typing", typing("paused"))
        .await?;

    let before = events.seen().len();
    for state in ["composing", "recording"] {
        chat.phone.typing(chat.me(), state).await?;
        chat.client
            .wait_for_typing(&chat.room, &chat.ghost, true)
            .await?;
        chat.phone.typing(chat.me(), "paused").await?;
        chat.client
            .wait_for_typing(&chat.room, &chat.ghost, false)
            .await?;
    }
    // A message ends it without a word.
    chat.phone.typing(chat.me(), "composing").await?;
    chat.client
        .wait_for_typing(&chat.room, &chat.ghost, true)
        .await?;
    chat.phone.send(chat.me(), "written").await?;
    chat.client
        .wait_for_typing(&chat.room, &chat.ghost, false)
        .await?;
    // So does time, if the end is lost.
    chat.phone.typing(chat.me(), "composing").await?;
    chat.client
        .wait_for_typing(&chat.room, &chat.ghost, true)
        .await?;
    chat.client
        .wait_for_typing(&chat.room, &chat.ghost, false)
        .await?;
    let echoes = events
        .seen()
        .split_off(before)
        .into_iter()
        .filter(|event| event.name == "typing" && event.data["phone"] == chat.phone.number())
        .count();
    assert_eq!(echoes, 0, "the ghost's typing came back to its phone");
    Ok(())
}

#[tokio::test]
async fn what_cannot_go_is_told_by_status_and_notice() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "poll", "+4915100000006").await?;
    let poll = json!({"org.matrix.msc3381.poll.start": {
        "question": {"body": "Tea?"}, "kind": "org.matrix.msc3381.poll.disclosed", "max_selections": 1,
        "answers": [{"id": "y", "org.matrix.msc1767.text": "yes"}],
    }});
    let event = chat
        .client
        .send_event(&chat.room, "org.matrix.msc3381.poll.start", poll)
        .await?;
    let status = chat
        .wait_for_status(&event, "a failure", |status| {
            status["status"] == "FAIL_PERMANENT"
        })
        .await?;
    assert_eq!(status["reason"], "com.beeper.unsupported_event", "{status}");
    let notice = chat.wait_for_notice(&stack.bot(), "was not sent").await?;
    assert!(notice.is_clean(), "{}", notice.summary());
    assert_eq!(notice.answers(), Some(event.as_str()));
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|said| notice.body().is_some_and(|body| body.ends_with(said))),
        "they say the same: {status} {:?}",
        notice.body()
    );
    Ok(())
}

/// The phone has it and will not show it.
#[tokio::test]
async fn what_the_other_side_does_not_show_is_told() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "unshown", "+4915100000007").await?;
    chat.phone.options(json!({"refused": ["text"]})).await?;
    let event = chat.client.send(&chat.room, "not for you").await?;
    let status = chat
        .wait_for_status(&event, "a failure", |status| {
            status["status"] == "FAIL_PERMANENT"
        })
        .await?;
    assert_eq!(status["reason"], "com.beeper.unsupported_event", "{status}");
    let notice = chat
        .wait_for_notice(&stack.bot(), "was not shown there")
        .await?;
    assert_eq!(notice.answers(), Some(event.as_str()));
    chat.phone.options(json!({"refused": []})).await?;
    let event = chat.client.send(&chat.room, "for you").await?;
    chat.wait_for_delivery(&event).await.map(drop)
}

/// The gatekeeper takes a message only later: one notice, edited while it is tried, gone when it went.
#[tokio::test]
async fn a_refusal_for_now_is_told_until_it_ends() -> Result<()> {
    let stack = Stack::start("status-refusal", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        let bot = stack.bot();
        stack.sandbox.faults(json!({"refuse": 429})).await?;
        let event = chat.client.send(&chat.room, "too much").await?;
        let status = chat
            .wait_for_status(&event, "a message to be put off", |status| {
                status["status"] == "PENDING"
            })
            .await?;
        assert!(
            status["message"]
                .as_str()
                .is_some_and(|said| said.contains("429")),
            "{status}"
        );
        let notice = chat.wait_for_notice(&bot, "code 429)").await?;
        // It is sent again after a crash, refused again, and the same notice says so.
        crash(&stack).await?;
        let edited = chat.wait_for_notice(&bot, "2 times and more").await?;
        assert_eq!(edited.event_id, notice.event_id);
        stack.sandbox.faults(json!({"reset": true})).await?;
        chat.wait_for_delivery(&event).await?;
        chat.client
            .wait_for_redaction(&chat.room, &notice.event_id)
            .await?;
        assert_eq!(chat.notices(&bot).await?.len(), 1);

        // A refusal for good stays.
        stack.sandbox.faults(json!({"refuse": 479})).await?;
        let event = chat.client.send(&chat.room, "never").await?;
        let status = chat
            .wait_for_status(&event, "a failure", |status| {
                status["status"] == "FAIL_PERMANENT"
            })
            .await?;
        assert_eq!(status["reason"], "m.foreign_network_error", "{status}");
        chat.wait_for_notice(&bot, "was not sent").await?;
        stack.sandbox.faults(json!({"reset": true})).await?;
        let shown = chat.phone.messages(chat.me()).await?;
        assert!(
            shown
                .iter()
                .all(|message| message.text.as_deref() != Some("never"))
        );
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

/// The gatekeeper is away for long, and the bridge dies in between.
#[tokio::test]
async fn a_message_that_waits_for_the_gatekeeper_is_told_so_until_it_went() -> Result<()> {
    let stack = Stack::start("status-away", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        let bot = stack.bot();
        stack.sandbox.stop().await?;
        let first = chat.client.send(&chat.room, "first").await?;
        let second = chat.client.send(&chat.room, "second").await?;
        for event in [&first, &second] {
            chat.wait_for_status(event, "a message to be pending", |status| {
                status["status"] == "PENDING"
            })
            .await?;
        }
        crash(&stack).await?;
        let notice = chat.wait_for_notice(&bot, "does not answer").await?;
        crash(&stack).await?;
        stack.sandbox.go_on().await?;
        chat.phone.wait_for_text(chat.me(), "second").await?;
        chat.client
            .wait_for_redaction(&chat.room, &notice.event_id)
            .await?;
        chat.wait_for_delivery(&first).await?;
        chat.wait_for_delivery(&second).await?;
        let notices = chat.notices(&bot).await?;
        assert_eq!(notices.len(), 1, "one for the room: {notices:#?}");
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

/// The key of a message comes late: the user hears of it, and the message still goes.
#[tokio::test]
async fn a_message_without_its_key_waits_for_it() -> Result<()> {
    let stack = Stack::start("status-key", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        let bot = stack.bot();
        chat.client.hold_keys().await?;
        chat.client.discard_session(&chat.room).await?;
        let locked = chat.client.send(&chat.room, "locked").await?;
        let notice = chat
            .wait_for_notice(&bot, "key to it has not arrived")
            .await?;
        assert_eq!(notice.answers(), Some(locked.as_str()));
        chat.wait_for_status(&locked, "a message to be pending", |status| {
            status["status"] == "PENDING" && status["reason"] == "com.beeper.undecryptable_event"
        })
        .await?;
        // The key comes while the bridge is down: in no transaction, only by /sync.
        stack.gatehouse.kill();
        assert!(chat.client.release_keys().await? > 0, "keys were kept");
        stack.gatehouse.start().await?;
        chat.phone.wait_for_text(chat.me(), "locked").await?;
        chat.wait_for_delivery(&locked).await?;
        chat.client
            .wait_for_redaction(&chat.room, &notice.event_id)
            .await?;

        // And while it runs.
        chat.client.hold_keys().await?;
        chat.client.discard_session(&chat.room).await?;
        chat.client.send(&chat.room, "locked again").await?;
        let notice = chat
            .client
            .until("the bot to say so again", LONG, || async {
                let notices = chat.notices(&bot).await?;
                Ok(notices.into_iter().find(|each| !each.redacted))
            });
        let notice = notice.await?;
        chat.client.release_keys().await?;
        chat.phone.wait_for_text(chat.me(), "locked again").await?;
        chat.client
            .wait_for_redaction(&chat.room, &notice.event_id)
            .await?;
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

/// A message from WhatsApp that cannot be read for a while: something stands for it, and becomes it.
#[tokio::test]
async fn a_placeholder_becomes_the_message() -> Result<()> {
    let stack = Stack::start("status-placeholder", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        // Damaged on the way, and when it is asked for the phone has no network.
        stack
            .sandbox
            .faults(json!({"corrupt": 1.0, "delay_ms": 2000}))
            .await?;
        let id = chat.phone.send(chat.me(), "damaged").await?;
        chat.phone.options(json!({"online": false})).await?;
        stack.sandbox.faults(json!({"reset": true})).await?;
        let placeholder = chat
            .client
            .wait_for(&chat.room, "a placeholder", |event| {
                event.sender == chat.ghost
                    && event
                        .body()
                        .is_some_and(|body| body.starts_with("Waiting for this message"))
            })
            .await?;
        assert!(placeholder.is_clean(), "{}", placeholder.summary());
        crash(&stack).await?;
        chat.phone.options(json!({"online": true})).await?;
        let message = chat.seen("damaged").await?;
        assert_eq!(message.event_id, placeholder.event_id);
        assert!(message.edited.is_some());
        // The placeholder is the message from now on.
        chat.client
            .mark_read(&chat.room, &placeholder.event_id)
            .await?;
        chat.phone.wait_for_status(chat.me(), &id, "read").await?;
        chat.phone.send(chat.me(), "after").await?;
        chat.seen("after").await?;
        let timeline = chat.client.timeline(&chat.room).await?;
        let shown: Vec<_> = timeline
            .iter()
            .filter(|event| event.sender == chat.ghost && event.relation["rel_type"] != "m.replace")
            .filter_map(|event| event.body())
            .collect();
        assert_eq!(shown, ["hello to you", "damaged", "after"]);
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

#[tokio::test]
async fn a_message_that_is_lost_for_good_is_told() -> Result<()> {
    let stack = Stack::start("status-lost", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        stack.sandbox.faults(json!({"corrupt": 1.0})).await?;
        chat.phone.send(chat.me(), "damaged for good").await?;
        chat.client
            .wait_for(&chat.room, "word of the loss", |event| {
                event.sender == chat.ghost
                    && event
                        .body()
                        .is_some_and(|body| body.contains("could not be decrypted"))
            })
            .await?;
        stack.sandbox.faults(json!({"reset": true})).await?;
        chat.phone.send(chat.me(), "whole").await?;
        chat.seen("whole").await?;
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

#[tokio::test]
async fn a_new_identity_is_told_once_and_messages_go_on() -> Result<()> {
    let stack = Stack::start("status-identity", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        let bot = stack.bot();
        let changes = async || -> Result<usize> {
            let notices = chat.notices(&bot).await?;
            let said = notices.iter().filter_map(|each| each.body());
            Ok(said.filter(|body| body.contains("security code")).count())
        };
        chat.phone.reinstall().await?;
        chat.client.send(&chat.room, "who are you?").await?;
        chat.phone.wait_for_text(chat.me(), "who are you?").await?;
        chat.wait_for_notice(&bot, "security code").await?;
        chat.phone.send(chat.me(), "still me").await?;
        chat.seen("still me").await?;
        crash(&stack).await?;
        chat.client.send(&chat.room, "fine").await?;
        chat.phone.wait_for_text(chat.me(), "fine").await?;
        assert_eq!(changes().await?, 1);

        // The other side writes first, while the bridge is down.
        stack.gatehouse.kill();
        chat.phone.reinstall().await?;
        chat.phone.send(chat.me(), "me again").await?;
        stack.gatehouse.start().await?;
        chat.seen("me again").await?;
        chat.client
            .until("a second notice", PATIENCE, || async {
                Ok((changes().await? == 2).then_some(()))
            })
            .await?;
        chat.client.send(&chat.room, "fine again").await?;
        chat.phone.wait_for_text(chat.me(), "fine again").await?;
        assert_eq!(changes().await?, 2);
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

#[tokio::test]
async fn an_enlistment_that_is_put_off_is_told_once() -> Result<()> {
    let stack = Stack::prepare("status-enlistment", Options::default()).await?;
    let result = async {
        stack.sandbox.stop().await?;
        stack.gatehouse.start().await?;
        stack.synapse.register("anna", PASSWORD).await?;
        let user = PlainUser::login(stack.synapse.url(), "anna", PASSWORD).await?;
        let room = user.chat_with(&stack.bot()).await?;
        user.ask(&room, "enable", |said| said.contains("if you agree"))
            .await?;
        user.ask(&room, "accept", |said| said.contains("I keep trying"))
            .await?;
        crash(&stack).await?;
        wait::until("another attempt", PATIENCE, || async {
            let log = stack.gatehouse.log()?;
            let tries = log.matches("enlistment address cannot be reached").count();
            Ok((tries >= 4).then_some(()))
        })
        .await?;
        stack.sandbox.go_on().await?;
        wait::until("the enlistment", PATIENCE, || async {
            let said = user.said(&room).await?;
            Ok(said
                .iter()
                .any(|said| said.starts_with("You are joined"))
                .then_some(()))
        })
        .await?;
        let said = user.said(&room).await?;
        let told = said.iter().filter(|said| said.contains("I keep trying"));
        assert_eq!(told.count(), 1, "{said:?}");
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

/// After 40 days without a connection the gatekeeper does not know the user any more.
#[tokio::test]
async fn the_end_of_a_login_is_told_once() -> Result<()> {
    let stack = Stack::start("status-ended", Options::default()).await?;
    let result = async {
        stack.synapse.register("anna", PASSWORD).await?;
        let user = PlainUser::login(stack.synapse.url(), "anna", PASSWORD).await?;
        let room = user.chat_with(&stack.bot()).await?;
        user.ask(&room, "enable", |said| said.contains("if you agree"))
            .await?;
        user.ask(&room, "accept", |said| said.starts_with("You are joined"))
            .await?;
        stack.gatehouse.stop().await?;
        stack.sandbox.advance_clock(40 * 24 * 3600).await?;
        stack.gatehouse.start().await?;
        let told = async || -> Result<usize> {
            let said = user.said(&room).await?;
            Ok(said
                .iter()
                .filter(|said| said.contains("not joined to WhatsApp any more"))
                .count())
        };
        wait::until("word of the end", PATIENCE, || async {
            Ok((told().await? == 1).then_some(()))
        })
        .await?;
        crash(&stack).await?;
        user.ask(&room, "status", |said| said.contains("You are not joined"))
            .await?;
        user.ask(&room, "version", |said| said.starts_with("gatehouse "))
            .await?;
        assert_eq!(told().await?, 1);
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

/// Nobody is given an empty key set, and until there is a key the bridge is not ready.
#[tokio::test]
async fn the_first_start_is_ready_with_its_first_key() -> Result<()> {
    let stack = Stack::prepare("status-first", Options::default()).await?;
    let ports = stack.gatehouse.ports();
    let jwks = format!("{}/.well-known/oauth/openid/jwks", ports.public_url());
    let ready = format!("{}/_matrix/mau/ready", ports.appservice_url());
    stack.gatehouse.launch()?;
    let keys = wait::until("a key set", PATIENCE, || async {
        let client = http::client()?;
        // Ready first: what is ready stays so, and its key set must have a key.
        let is_ready = client.get(&ready).send().await;
        let is_ready = is_ready.is_ok_and(|answer| answer.status().is_success());
        let Ok(answer) = client.get(&jwks).send().await else {
            return Ok(None);
        };
        if !answer.status().is_success() {
            assert!(!is_ready, "ready without a key");
            return Ok(None);
        }
        Ok(Some(answer.json::<Value>().await?))
    })
    .await?;
    assert!(
        keys["keys"].as_array().is_some_and(|keys| !keys.is_empty()),
        "{keys}"
    );
    Ok(())
}
