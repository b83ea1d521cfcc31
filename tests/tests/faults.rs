//! What a network and a gatekeeper may do wrong, on demand: nothing is lost, doubled or out of order.

use serde_json::{Value, json};
use tests::Result;
use tests::chat::Chat;
use tests::client::Client;
use tests::stack::{Options, Stack};
use tests::wait::{self, PATIENCE};
use tests::workload::Workload;

/// A few messages both ways under these faults.
async fn under(stack: &Stack, client: &Client, prefix: &str, faults: Value) -> Result<()> {
    let workload = Workload::open(stack, client, prefix, 2, 12).await?;
    stack
        .sandbox
        .faults(json!({"reset": true, "seed": 7}))
        .await?;
    stack.sandbox.faults(faults.clone()).await?;
    workload.write().await?;
    let checked = workload.check().await;
    stack.sandbox.faults(json!({"reset": true})).await?;
    checked.map_err(|error| tests::Error::new(format!("under {faults}: {error}")))
}

/// One after the other, because the sandbox's faults hold for everybody.
#[tokio::test]
async fn messages_arrive_once_under_every_fault() -> Result<()> {
    let stack = Stack::start("faults", Options::default()).await?;
    let client = stack.enlisted_client("anna").await?;
    let result = async {
        under(&stack, &client, "+49151100000", json!({"duplicate": 0.3})).await?;
        under(
            &stack,
            &client,
            "+49151200000",
            json!({"lose_acks": 0.3, "drop_connection_every": 25}),
        )
        .await?;
        under(
            &stack,
            &client,
            "+49151300000",
            json!({"unknown_extras": 0.5}),
        )
        .await?;
        under(
            &stack,
            &client,
            "+49151400000",
            json!({"stream_error": 515}),
        )
        .await?;

        under(&stack, &client, "+49151600000", json!({"reorder": 0.4})).await?;
        under(&stack, &client, "+49151700000", json!({"delay_ms": 700})).await?;

        // A contact whose one-time prekeys are used up: the session opens without one.
        stack
            .sandbox
            .faults(json!({"prekeys_exhausted": true}))
            .await?;
        let workload = Workload::open(&stack, &client, "+49151500000", 1, 3).await?;
        workload.write().await?;
        workload.check().await
    }
    .await;
    result.map_err(|error| stack.explain(error))
}

/// A damaged message is asked for again, and the phone sends it anew.
#[tokio::test]
async fn a_damaged_message_is_asked_for_again() -> Result<()> {
    let stack = Stack::start("faults-damage", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        stack.sandbox.faults(json!({"corrupt": 1.0})).await?;
        let text = "damaged on the way";
        chat.phone.send(&chat.me, text).await?;
        let log = || async { Ok(stack.gatehouse.log()?.contains("retry").then_some(())) };
        wait::until("gatehouse to ask again", PATIENCE, log).await?;
        stack.sandbox.faults(json!({"reset": true})).await?;
        chat.seen(text, &json!({ "body": text })).await.map(drop)
    }
    .await;
    result.map_err(|error: tests::Error| stack.explain(error))
}

/// The phone was set up anew: its old session is void, and both sides find each other again.
#[tokio::test]
async fn a_contact_with_a_new_identity_is_still_reached() -> Result<()> {
    let stack = Stack::start("faults-identity", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        chat.phone.reinstall().await?;
        // Encrypted to the old identity: the phone asks for it again, and it is encrypted anew.
        chat.sent("after").await?;
        chat.received("it is still me").await.map(drop)
    }
    .await;
    result.map_err(|error: tests::Error| stack.explain(error))
}

/// A contact who writes as fast as it goes, over a connection that lets stanzas overtake one another.
#[tokio::test]
async fn a_fast_writer_is_read_in_order() -> Result<()> {
    const COUNT: usize = 150;
    let stack = Stack::start("faults-reorder", Options::default()).await?;
    let result = async {
        let options = json!({"encrypted": true, "is_direct": true});
        let chat = Chat::open_with(&stack, "anna", "+4915100000001", options).await?;
        let faults = json!({"seed": 5, "reorder": 0.4});
        stack.sandbox.faults(faults).await?;
        let texts: Vec<String> = (0..COUNT).map(|count| format!("number {count}")).collect();
        for (count, text) in texts.iter().enumerate() {
            chat.phone.send(&chat.me, text).await?;
            if count % 50 == 25 {
                // An answer, so that the phone goes on with another key.
                chat.sent(text).await?;
            }
        }
        let shown = || async {
            let timeline = chat.client.timeline(&chat.room).await?;
            let theirs = timeline.iter().filter(|event| event.sender == chat.ghost);
            Ok::<Vec<_>, tests::Error>(
                theirs
                    .filter_map(|event| event.body().map(str::to_owned))
                    .collect(),
            )
        };
        wait::until("all of them", PATIENCE * 2, || async {
            Ok((shown().await?.len() >= COUNT).then_some(()))
        })
        .await?;
        assert_eq!(shown().await?, texts);
        Ok(())
    }
    .await;
    result.map_err(|error: tests::Error| stack.explain(error))
}

/// The phone asks for a message again when the chat has gone on in another room.
#[tokio::test]
async fn a_message_of_a_former_room_is_sent_anew() -> Result<()> {
    let stack = Stack::start("faults-former-room", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        let (client, phone) = (&chat.client, &chat.phone);
        phone.options(json!({"online": false})).await?;
        client.send(&chat.room, "not read yet").await?;
        let on_its_way = || async {
            let status = stack.gatehouse.run(&["status", "--json"])?;
            let status: Value = serde_json::from_str(&status)?;
            let waits = ["inbox", "outbox"].map(|kind| status[kind].as_i64());
            Ok((waits == [Some(0); 2]).then_some(()))
        };
        wait::until("the gatekeeper to have it", PATIENCE, on_its_way).await?;
        client.leave(&chat.room).await?;
        let other = client.direct_chat(&chat.ghost).await?;
        client.wait_for_member(&other, &chat.ghost).await?;
        // The phone cannot read it any more, and asks for it.
        phone.reinstall().await?;
        phone.options(json!({"online": true})).await?;
        let shown = phone.wait_for_text(&chat.me, "not read yet").await;
        shown.map(drop)
    }
    .await;
    result.map_err(|error: tests::Error| stack.explain(error))
}
