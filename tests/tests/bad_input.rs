//! Bad input and missing neighbours: a clear error that says what to do, and nothing lost.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::plain::PlainUser;
use tests::stack::{Options, PASSWORD, Stack, enlist};
use tests::wait::{self, PATIENCE};
use tests::{Error, Result, http};
use tokio::sync::OnceCell;

/// One stack for the tests that leave its parts alone.
async fn stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_try_init(|| Stack::start("bad-input", Options::default()))
        .await
}

/// PUTs a body as a transaction; with the right token unless another is given.
async fn transaction(
    stack: &Stack,
    id: &str,
    body: Vec<u8>,
    token: Option<&str>,
) -> Result<(StatusCode, Value)> {
    let url = format!(
        "{}/_matrix/app/v1/transactions/{id}",
        stack.gatehouse.ports().appservice_url()
    );
    let token = match token {
        Some(token) => token.to_owned(),
        None => stack.gatehouse.token("hs_token")?,
    };
    let answer = http::client()?
        .request(Method::PUT, url)
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await?;
    let status = answer.status();
    let text = answer.text().await?;
    Ok((
        status,
        serde_json::from_str(&text).map_err(|_| Error::new(format!("no JSON: {text}")))?,
    ))
}

#[tokio::test]
async fn a_wrong_hs_token_is_forbidden() -> Result<()> {
    let stack = stack().await?;
    let events = json!({"events": []}).to_string().into_bytes();
    let (status, answer) =
        transaction(stack, "forbidden", events.clone(), Some("not the token")).await?;
    assert_eq!(
        (status, &answer["errcode"]),
        (StatusCode::FORBIDDEN, &json!("M_FORBIDDEN"))
    );
    let (status, answer) = transaction(stack, "forbidden", events, None).await?;
    assert_eq!(
        (status, answer),
        (StatusCode::OK, json!({})),
        "the refused one was not remembered as done"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_no_transaction_is_refused_and_the_next_is_taken() -> Result<()> {
    let stack = stack().await?;
    let (status, answer) = transaction(stack, "garbage", b"{\"events\": [".to_vec(), None).await?;
    assert_eq!(
        (status, &answer["errcode"]),
        (StatusCode::BAD_REQUEST, &json!("M_NOT_JSON"))
    );
    let (status, answer) = transaction(stack, "garbage", b"{\"events\": 7}".to_vec(), None).await?;
    assert_eq!(
        (status, &answer["errcode"]),
        (StatusCode::BAD_REQUEST, &json!("M_BAD_JSON"))
    );
    let (status, _) = transaction(stack, "garbage", b"{\"events\": []}".to_vec(), None).await?;
    assert_eq!(
        status,
        StatusCode::OK,
        "the id of a refused transaction is free"
    );
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_is_too_large_is_refused() -> Result<()> {
    let mut options = Options::default();
    options.gatehouse.more = "[limits]\ntransaction_bytes = 1048576\n".to_owned();
    let stack = Stack::prepare("bad-input-large", options).await?;
    stack.gatehouse.start().await?;
    let large = json!({"events": [], "filler": "x".repeat(2 * 1024 * 1024)})
        .to_string()
        .into_bytes();
    let (status, answer) = transaction(&stack, "large", large, None).await?;
    assert_eq!(
        (status, &answer["errcode"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!("M_TOO_LARGE"))
    );
    let advice = answer["error"].as_str().unwrap_or_default();
    assert!(
        advice.contains("limits.transaction_bytes"),
        "says what to change: {advice}"
    );
    Ok(())
}

/// The bot answers a command once, however often the homeserver brings it and whatever else is in there.
#[tokio::test]
async fn a_repeated_transaction_and_unknown_fields_do_no_harm() -> Result<()> {
    let stack = stack().await?;
    let user_id = stack.synapse.register("olga", PASSWORD).await?;
    let user = PlainUser::login(stack.synapse.url(), "olga", PASSWORD).await?;
    let room = user.chat_with(&stack.bot()).await?;
    let body = json!({
        "events": [{
            "type": "m.room.message", "event_id": "$brought-again", "room_id": room, "sender": user_id,
            "origin_server_ts": 1_700_000_000_000_u64, "content": {"msgtype": "m.text", "body": "version", "colour": "red"},
            "unsigned": {"age": 4, "org.example.new": [1, 2]}, "org.example.more": {"x": null},
        }],
        "ephemeral": [{"type": "org.example.unheard", "content": {}}],
        "org.example.field": {"deep": [[[]]]},
        "de.sorunome.msc2409.to_device": [],
    });
    let body = body.to_string().into_bytes();
    for id in ["repeated", "repeated", "another-id-same-event", "repeated"] {
        let (status, answer) = transaction(stack, id, body.clone(), None).await?;
        assert_eq!((status, answer), (StatusCode::OK, json!({})));
    }
    // A later question is answered after the earlier ones: what came before it is all there is.
    user.ask(&room, "status", |said| said.contains("not joined"))
        .await?;
    let answers = user.said(&room).await?;
    let versions = answers
        .iter()
        .filter(|said| said.starts_with("gatehouse "))
        .count();
    assert_eq!(versions, 1, "{answers:?}");
    Ok(())
}

/// Enlists a user whose phone then writes and is answered: everything works.
async fn works(stack: &Stack, user: &str, number: &str) -> Result<()> {
    let phone = stack.sandbox.phone(number, "Bea").await?;
    let client = stack.enlisted_client(user).await?;
    let ghost = stack.ghost(&phone);
    phone.send(client.user_id(), "are you there?").await?;
    let room = client.wait_for_invite(&ghost).await?.room_id;
    client.join(&room).await?;
    client
        .wait_for_text(&room, &ghost, "are you there?")
        .await?;
    client.send(&room, "yes").await?;
    phone.wait_for_text(client.user_id(), "yes").await.map(drop)
}

#[tokio::test]
async fn a_homeserver_that_is_down_at_the_start_is_waited_for() -> Result<()> {
    let stack = Stack::prepare("bad-input-homeserver", Options::default()).await?;
    stack.synapse.stop().await?;
    let process = stack.gatehouse.launch()?;
    process
        .wait_for_line("word of the homeserver", PATIENCE, |line| {
            let line = line.to_lowercase();
            (line.contains("homeserver") && (line.contains("again") || line.contains("retry")))
                .then_some(())
        })
        .await?;
    assert!(process.exited()?.is_none(), "keeps trying");
    stack.synapse.go_on().await?;
    works(&stack, "anna", "+4915100000001")
        .await
        .map_err(|error| stack.explain(error))
}

#[tokio::test]
async fn nothing_is_lost_while_a_neighbour_is_away() -> Result<()> {
    let stack = Stack::start("bad-input-outage", Options::default()).await?;
    let result = async {
        let phone = stack.sandbox.phone("+4915100000001", "Bea").await?;
        let client = stack.enlisted_client("anna").await?;
        let ghost = stack.ghost(&phone);
        let room = client.direct_chat(&ghost).await?;
        client.wait_for_member(&room, &ghost).await?;
        client.send(&room, "before").await?;
        phone.wait_for_text(client.user_id(), "before").await?;

        // The gatekeeper goes away: what the user writes is kept.
        stack.sandbox.stop().await?;
        for text in ["one", "two", "three"] {
            client.send(&room, text).await?;
        }
        stack.sandbox.go_on().await?;
        phone.wait_for_text(client.user_id(), "three").await?;

        // The homeserver goes away: what the phone writes is kept, and not acknowledged as delivered.
        stack.synapse.stop().await?;
        for text in ["four", "five", "six"] {
            phone.send(client.user_id(), text).await?;
        }
        stack.synapse.go_on().await?;
        client.wait_for_text(&room, &ghost, "six").await?;

        let shown: Vec<_> = phone
            .messages(client.user_id())
            .await?
            .into_iter()
            .filter_map(|m| m.text)
            .collect();
        assert_eq!(
            shown,
            ["before", "one", "two", "three", "four", "five", "six"]
        );
        let timeline = client.timeline(&room).await?;
        let arrived: Vec<_> = timeline
            .iter()
            .filter(|event| event.sender == ghost)
            .filter_map(|event| event.body())
            .collect();
        assert_eq!(arrived, ["four", "five", "six"]);

        // Gatehouse itself was away, and keys were sent meanwhile: they come in no transaction.
        let status = stack.gatehouse.stop().await?;
        assert!(status.success(), "an orderly end: {status}");
        client.discard_session(&room).await?;
        client.send(&room, "while you were out").await?;
        stack.gatehouse.start().await?;
        phone
            .wait_for_text(client.user_id(), "while you were out")
            .await
            .map(drop)
    }
    .await;
    result.map_err(|error| stack.explain(error))
}

#[tokio::test]
async fn what_was_written_in_a_room_that_its_user_left_is_sent() -> Result<()> {
    let stack = Stack::start("bad-input-left-room", Options::default()).await?;
    let result = async {
        let phone = stack.sandbox.phone("+4915100000006", "Bea").await?;
        let client = stack.enlisted_client("gerd").await?;
        let ghost = stack.ghost(&phone);
        let first = client.direct_chat(&ghost).await?;
        client.wait_for_member(&first, &ghost).await?;

        // No session yet and nobody to ask for the contact's keys: the message waits in the inbox.
        stack.sandbox.stop().await?;
        client.send(&first, "said and gone").await?;
        client.leave(&first).await?;
        let second = client.direct_chat(&ghost).await?;
        client.wait_for_member(&second, &ghost).await?;
        client.send(&second, "and back").await?;
        stack.sandbox.go_on().await?;

        for text in ["said and gone", "and back"] {
            phone.wait_for_text(client.user_id(), text).await?;
        }
        phone.send(client.user_id(), "here I am").await?;
        client
            .wait_for_text(&second, &ghost, "here I am")
            .await
            .map(drop)
    }
    .await;
    result.map_err(|error| stack.explain(error))
}

#[tokio::test]
async fn what_was_said_before_the_contact_came_stays_in_the_room() -> Result<()> {
    let stack = Stack::start("bad-input-history", Options::default()).await?;
    let result = async {
        let phone = stack.sandbox.phone("+4915100000008", "Bea").await?;
        let client = stack.enlisted_client("hans").await?;
        let ghost = stack.ghost(&phone);
        let room = client
            .create_room(json!({"invite": [], "encrypted": true}))
            .await?;
        for text in ["notes", "to", "myself"] {
            client.send(&room, text).await?;
        }
        // The bridge looks through the rooms when it starts, and after every gap.
        stack.gatehouse.kill();
        stack.gatehouse.start().await?;
        let invite = json!({"user_id": ghost});
        let path = format!("/_matrix/client/v3/rooms/{room}/invite");
        client.request("POST", &path, json!({}), invite).await?;
        client.wait_for_member(&room, &ghost).await?;
        client.wait_for_member(&room, &stack.bot()).await?;
        stack.gatehouse.kill();
        stack.gatehouse.start().await?;
        client.send(&room, "hello").await?;
        phone.wait_for_text(client.user_id(), "hello").await?;
        assert_eq!(phone.messages(client.user_id()).await?.len(), 1);
        let timeline = client.timeline(&room).await?;
        let notices: Vec<_> = timeline
            .iter()
            .filter(|event| event.sender == stack.bot() && event.body().is_some())
            .map(tests::client::TimelineEvent::summary)
            .collect();
        assert!(notices.is_empty(), "{notices:?}");
        Ok(())
    }
    .await;
    result.map_err(|error| stack.explain(error))
}

#[tokio::test]
async fn a_sandbox_that_is_down_at_the_start_is_waited_for() -> Result<()> {
    let stack = Stack::prepare("bad-input-gatekeeper", Options::default()).await?;
    stack.sandbox.stop().await?;
    stack.gatehouse.start().await?;
    let user_id = stack.synapse.register("anna", PASSWORD).await?;
    // The user has accepted, and nobody answers: the enlistment is gone on with as soon as somebody does.
    let user = PlainUser::login(stack.synapse.url(), "anna", PASSWORD).await?;
    let room = user.chat_with(&stack.bot()).await?;
    user.ask(&room, "enable", |said| said.contains("if you agree"))
        .await?;
    user.say(&room, "accept").await?;
    tests::wait::until("gatehouse to say that it waits", PATIENCE, || async {
        Ok(stack
            .gatehouse
            .log()?
            .contains("enlistment address cannot be reached")
            .then_some(()))
    })
    .await?;
    stack.sandbox.go_on().await?;
    tests::wait::until("the enlistment", PATIENCE, || async {
        stack.sandbox.partner_user(&user_id).await
    })
    .await
    .map_err(|error| stack.explain(error))?;

    // Enlisted already, and again nobody there at the start.
    stack.gatehouse.stop().await?;
    stack.sandbox.stop().await?;
    stack.gatehouse.start().await?;
    stack.sandbox.go_on().await?;
    tests::wait::until("the login to connect", PATIENCE, || async {
        let user = stack.sandbox.partner_user(&user_id).await?;
        Ok(user.filter(|user| user["connected"] == true).map(drop))
    })
    .await
    .map_err(|error| stack.explain(error))
}

/// Starts gatehouse with files that it must refuse and gives what it says.
async fn refused(stack: &Stack) -> Result<String> {
    let process = stack.gatehouse.launch()?;
    let status = tests::wait::until("gatehouse to refuse", Duration::from_secs(30), || async {
        process.exited()
    })
    .await
    .map_err(|error| stack.explain(error))?;
    assert!(!status.success(), "ended with {status}");
    let said = process.output()?;
    assert!(!said.contains("panicked"), "{said}");
    Ok(said)
}

#[tokio::test]
async fn a_registration_that_disagrees_with_the_configuration_is_refused() -> Result<()> {
    let stack = Stack::prepare("bad-input-mismatch", Options::default()).await?;
    let path = stack.gatehouse.registration();
    let right = std::fs::read_to_string(&path)?;
    for (from, to, name) in [
        ("whatsappbot", "anotherbot", "sender_localpart"),
        ("whatsapp_", "wa_", "whatsapp_"),
        ("hs_token", "hs_tokn", "hs_token"),
    ] {
        let wrong = right.replace(from, to);
        assert_ne!(wrong, right);
        std::fs::write(&path, wrong)?;
        let said = refused(&stack).await?;
        assert!(said.contains(name), "names {name}: {said}");
        assert!(said.contains("registration"), "says where: {said}");
    }
    std::fs::write(&path, right)?;
    stack.gatehouse.start().await
}

#[tokio::test]
async fn an_unknown_key_names_the_nearest() -> Result<()> {
    let mut options = Options::default();
    options.gatehouse.more = "[limits]\ntransaktion_bytes = 1\n".to_owned();
    let refusal = Stack::prepare("bad-input-key", options).await;
    let said = refusal
        .map(drop)
        .expect_err("an unknown key is refused")
        .to_string();
    assert!(said.contains("limits.transaktion_bytes"), "{said}");
    assert!(said.contains("did you mean transaction_bytes?"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_refused_enlistment_tells_the_user_why() -> Result<()> {
    // The gatekeeper expects another name in the tokens than the bridge gives.
    let options = Options {
        partner: Some("audience=somebody-else".to_owned()),
        ..Options::default()
    };
    let stack = Stack::start("bad-input-enlistment", options).await?;
    stack.synapse.register("anna", PASSWORD).await?;
    let refusal = enlist(stack.synapse.url(), "anna", PASSWORD, &stack.bot()).await;
    let said = refusal.expect_err("the gatekeeper refuses").to_string();
    assert!(said.contains("WhatsApp refused to register you"), "{said}");
    assert!(
        said.contains("token"),
        "gives the gatekeeper's reason: {said}"
    );
    Ok(())
}

#[tokio::test]
async fn a_refusal_that_is_worth_another_try_is_not_final() -> Result<()> {
    let mut options = Options {
        partner: Some("audience=somebody-else".to_owned()),
        ..Options::default()
    };
    options.gatehouse.more =
        "[gatekeeper.profile.failures]\nretry_enlistment = [\"bad_token\"]\n".to_owned();
    let stack = Stack::start("bad-input-enlistment-later", options).await?;
    stack.synapse.register("anna", PASSWORD).await?;
    let user = PlainUser::login(stack.synapse.url(), "anna", PASSWORD).await?;
    let room = user.chat_with(&stack.bot()).await?;
    user.ask(&room, "enable", |said| said.contains("if you agree"))
        .await?;
    user.ask(&room, "accept", |said| said.contains("I keep trying"))
        .await?;
    // What was wrong is mended; nobody writes anything more.
    stack.gatehouse.stop().await?;
    let config = stack.gatehouse.folder().join("config.toml");
    let mut text = std::fs::read_to_string(&config)?;
    text.push_str("[gatekeeper.profile.token]\naudience = \"somebody-else\"\n");
    std::fs::write(&config, text)?;
    stack.gatehouse.start().await?;
    wait::until("the enlistment", PATIENCE, || async {
        let said = user.said(&room).await?;
        let joined = said.iter().any(|said| said.starts_with("You are joined"));
        Ok(joined.then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_token_of_more_than_four_kilobytes_is_refused() -> Result<()> {
    // In the published form of a failure: HTTP 200 with the reason inside. That the bridge issues none is shown
    // beside its code.
    let stack = stack().await?;
    let byte = |count: usize| "A".repeat(count);
    let form = [
        ("authkey", byte(43)),
        ("e_keytype", "BQ".to_owned()),
        ("e_regid", byte(6)),
        ("e_ident", byte(43)),
        ("e_skey_id", byte(4)),
        ("e_skey_val", byte(43)),
        ("e_skey_sig", byte(86)),
        ("token", byte(4097)),
    ];
    let url = &stack.sandbox.addresses().enlistment;
    let answer = http::client()?.post(url).form(&form).send().await?;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await?;
    assert_eq!(answer["status"], "fail", "{answer}");
    assert!(answer["reason"].is_string(), "{answer}");
    Ok(())
}

/// The gatekeeper's certificate chain ends in another root than the configured one.
#[tokio::test]
async fn a_gatekeeper_with_a_foreign_root_is_not_talked_to() -> Result<()> {
    let mut options = Options::default();
    options.gatehouse.environment = vec![(
        "GATEHOUSE_GATEKEEPER__PROFILE__CHAT__TRUST_ROOT".to_owned(),
        format!("\"{}\"", "11".repeat(32)),
    )];
    let stack = Stack::start("bad-input-root", options).await?;
    let user_id = stack.enlisted("anna").await?;
    tests::wait::until("gatehouse to say so", PATIENCE, || async {
        Ok(stack
            .gatehouse
            .log()?
            .to_lowercase()
            .contains("certificate")
            .then_some(()))
    })
    .await
    .map_err(|error| stack.explain(error))?;
    let user = stack.sandbox.partner_user(&user_id).await?;
    assert!(
        user.is_some_and(|user| user["connected"] == false),
        "no connection stands"
    );
    Ok(())
}
