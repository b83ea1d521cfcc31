//! One text message crosses, both ways, encrypted on both sides.

use serde_json::json;
use tests::client::Client;
use tests::gatehouse::Transport;
use tests::postgres::Postgres;
use tests::stack::{Options, Stack};
use tests::wait::PATIENCE;
use tests::{Error, Result};
use tokio::sync::OnceCell;

/// One stack for the tests of this file; each has its own users and phones.
async fn stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_try_init(|| Stack::start("first-message", Options::default()))
        .await
}

/// Opens an encrypted chat with the bot and opts in there, reading what a careful user would.
async fn opt_in(stack: &Stack, client: &Client) -> Result<String> {
    let bot = stack.bot();
    let room = client.direct_chat(&bot).await?;
    client.wait_for_member(&room, &bot).await?;
    client.send(&room, "enable").await?;
    let warning = said(client, &room, &bot, "if you agree").await?;
    assert!(
        warning.contains("must read them"),
        "the warning says that the bridge reads: {warning}"
    );
    client.send(&room, "accept").await?;
    said(client, &room, &bot, "You are joined to WhatsApp").await?;
    Ok(room)
}

/// Waits for something that holds `part`, without any warning beside it.
async fn said(client: &Client, room: &str, sender: &str, part: &str) -> Result<String> {
    let event = client
        .wait_for(room, &format!("{part:?} from {sender}"), |event| {
            event.sender == sender && event.body().is_some_and(|body| body.contains(part))
        })
        .await?;
    assert!(event.is_clean(), "a shield beside {}", event.summary());
    Ok(event.body().unwrap_or_default().to_owned())
}

/// A whole conversation that the Matrix user begins.
async fn converse(stack: &Stack, user: &str, number: &str) -> Result<()> {
    let phone = stack.sandbox.phone(number, "Bea").await?;
    let ghost = stack.ghost(&phone);
    let client = stack.client(user).await?;
    let me = client.user_id().to_owned();
    opt_in(stack, &client).await?;

    let room = client.direct_chat(&ghost).await?;
    client.wait_for_member(&room, &ghost).await?;
    client.send(&room, "first from Matrix").await?;
    let shown = phone.wait_for_text(&me, "first from Matrix").await?;
    assert_eq!(
        shown.encrypted.as_deref(),
        Some("pkmsg"),
        "the first message opens the session"
    );

    let answer = phone.send(&me, "first from the phone").await?;
    let seen = client
        .wait_for_text(&room, &ghost, "first from the phone")
        .await?;
    assert!(seen.is_clean(), "a shield beside {}", seen.summary());
    phone.wait_for_status(&me, &answer, "delivered").await?;

    client.send(&room, "second from Matrix").await?;
    let shown = phone.wait_for_text(&me, "second from Matrix").await?;
    assert_eq!(
        shown.encrypted.as_deref(),
        Some("msg"),
        "after an answer the session stands"
    );
    let texts: Vec<_> = phone
        .messages(&me)
        .await?
        .into_iter()
        .map(|message| message.text)
        .collect();
    assert_eq!(
        texts,
        [
            "first from Matrix",
            "first from the phone",
            "second from Matrix"
        ]
        .map(|text| Some(text.to_owned()))
    );
    Ok(())
}

#[tokio::test]
async fn a_matrix_user_opts_in_and_writes_first() -> Result<()> {
    let stack = stack().await?;
    converse(stack, "anna", "+4915100000001")
        .await
        .map_err(|error| stack.explain(error))
}

#[tokio::test]
async fn the_phone_writes_first_and_the_user_is_invited_to_an_encrypted_room() -> Result<()> {
    let stack = stack().await?;
    let phone = stack.sandbox.phone("+4915100000002", "Ben").await?;
    let ghost = stack.ghost(&phone);
    let client = stack.enlisted_client("berta").await?;
    let me = client.user_id().to_owned();

    phone.send(&me, "hello, it is me").await?;
    let invitation = client
        .wait_for_invite(&ghost)
        .await
        .map_err(|error| stack.explain(error))?;
    assert!(
        invitation.is_direct,
        "a chat with one contact is a direct chat"
    );
    let room = invitation.room_id;
    client.join(&room).await?;
    let seen = client.wait_for_text(&room, &ghost, "hello, it is me").await;
    let seen = seen.map_err(|error| stack.explain(error))?;
    assert!(seen.is_clean(), "a shield beside {}", seen.summary());

    let timeline = client.timeline(&room).await?;
    let encrypted_at = timeline
        .iter()
        .position(|event| event.kind == "m.room.encryption");
    let first_message = timeline.iter().position(|event| event.state_key.is_none());
    assert!(
        encrypted_at < first_message && encrypted_at.is_some(),
        "encrypted before anything is said"
    );
    assert!(
        timeline
            .iter()
            .filter(|event| event.state_key.is_none())
            .all(|event| event.encrypted),
        "nothing is said in the clear"
    );

    client.send(&room, "who is me?").await?;
    phone
        .wait_for_text(&me, "who is me?")
        .await
        .map_err(|error| stack.explain(error))
        .map(drop)
}

#[tokio::test]
async fn start_chat_opens_the_chat_and_a_second_time_the_same() -> Result<()> {
    let stack = stack().await?;
    let phone = stack.sandbox.phone("+4915100000003", "Cem").await?;
    let ghost = stack.ghost(&phone);
    let client = stack.client("carla").await?;
    let bot_room = opt_in(stack, &client).await?;
    client
        .send(&bot_room, "start-chat +49 151 00000003")
        .await?;
    let invitation = client
        .wait_for_invite(&ghost)
        .await
        .map_err(|error| stack.explain(error))?;
    client.join(&invitation.room_id).await?;
    let link = said(&client, &bot_room, &stack.bot(), "matrix.to").await?;
    assert!(
        link.contains(&invitation.room_id),
        "the bot names the room: {link}"
    );

    client.send(&invitation.room_id, "from a command").await?;
    phone
        .wait_for_text(client.user_id(), "from a command")
        .await
        .map_err(|error| stack.explain(error))?;

    client.send(&bot_room, "start-chat +4915100000003").await?;
    client
        .until("the second answer", PATIENCE, || async {
            let timeline = client.timeline(&bot_room).await?;
            let links = timeline
                .iter()
                .filter(|event| event.body().is_some_and(|body| body == link));
            Ok((links.count() == 2).then_some(()))
        })
        .await
}

#[tokio::test]
async fn a_chat_with_a_number_that_nobody_has_says_so() -> Result<()> {
    let stack = stack().await?;
    let client = stack.client("dora").await?;
    let bot_room = opt_in(stack, &client).await?;
    client
        .send(&bot_room, "start-chat +49 151 99999999")
        .await?;
    let said = said(&client, &bot_room, &stack.bot(), "cannot be opened").await?;
    assert!(said.contains("nobody with this number"), "{said}");
    Ok(())
}

#[tokio::test]
async fn formatting_survives_in_both_directions() -> Result<()> {
    let stack = stack().await?;
    let phone = stack.sandbox.phone("+4915100000004", "Dana").await?;
    let ghost = stack.ghost(&phone);
    let client = stack.enlisted_client("emil").await?;
    let me = client.user_id().to_owned();
    let room = client.direct_chat(&ghost).await?;
    client.wait_for_member(&room, &ghost).await?;
    client
        .send_html(
            &room,
            "bold it gone code",
            "<strong>bold</strong> <em>it</em> <del>gone</del> <code>code</code>",
        )
        .await?;
    phone
        .wait_for_text(&me, "*bold* _it_ ~gone~ `code`")
        .await
        .map_err(|error| stack.explain(error))?;

    phone
        .send(&me, "*bold* _it_ ~gone~ and https://example.org")
        .await?;
    let seen = client
        .wait_for(&room, "the formatted text", |event| {
            event.sender == ghost
                && event
                    .body()
                    .is_some_and(|body| body.contains("example.org"))
        })
        .await?;
    let html = seen.content["formatted_body"].as_str().unwrap_or_default();
    for part in ["<strong>bold</strong>", "<em>it</em>", "<del>gone</del>"] {
        assert!(html.contains(part), "{part} in {html}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_cross_is_told_and_delays_nothing() -> Result<()> {
    let stack = stack().await?;
    let phone = stack.sandbox.phone("+4915100000005", "Eda").await?;
    let ghost = stack.ghost(&phone);
    let client = stack.enlisted_client("frida").await?;
    let me = client.user_id().to_owned();
    let room = client.direct_chat(&ghost).await?;
    client.wait_for_member(&room, &ghost).await?;
    client
        .send_event(
            &room,
            "org.matrix.msc3381.poll.start",
            json!({
                "org.matrix.msc1767.text": "When?",
                "org.matrix.msc3381.poll.start": {
                    "question": {"org.matrix.msc1767.text": "When?"},
                    "answers": [{"id": "1", "org.matrix.msc1767.text": "Now"}],
                },
            }),
        )
        .await?;
    client.send(&room, "and a text").await?;
    phone
        .wait_for_text(&me, "and a text")
        .await
        .map_err(|error| stack.explain(error))?;
    client
        .until("the bot to say that it was not sent", PATIENCE, || async {
            for each in client.rooms().await? {
                if each.membership == "invite" && each.inviter.as_deref() == Some(&stack.bot()) {
                    client.join(&each.room_id).await?;
                }
                let timeline = client.timeline(&each.room_id).await?;
                let told = timeline.iter().find(|event| {
                    event.sender == stack.bot()
                        && event.body().is_some_and(|body| body.contains("not sent"))
                });
                if let Some(told) = told {
                    return Ok(Some(told.clone()));
                }
            }
            Ok(None)
        })
        .await
        .map_err(|error| stack.explain(error))?;
    let texts: Vec<_> = phone
        .messages(&me)
        .await?
        .into_iter()
        .map(|message| message.text)
        .collect();
    assert_eq!(
        texts,
        [Some("and a text".to_owned())],
        "what cannot cross does not arrive"
    );
    Ok(())
}

/// The other database, the other transport, the other room version.
#[tokio::test]
async fn a_conversation_over_tcp_with_postgresql_and_room_version_11() -> Result<()> {
    let postgres = Postgres::start().await?;
    let mut options = Options::default();
    options.gatehouse.database = Some(postgres.database("gatehouse")?);
    options.gatehouse.transport = Transport::Tcp;
    options.synapse.room_version = Some(11);
    let stack = Stack::start("first-message-postgres", options).await?;
    converse(&stack, "anna", "+4915100000001")
        .await
        .map_err(|error| stack.explain(error))?;
    let dump = postgres.dump("gatehouse")?;
    if !dump.contains("@anna:localhost") {
        return Err(Error::new("gatehouse did not keep its data in PostgreSQL"));
    }
    Ok(())
}
