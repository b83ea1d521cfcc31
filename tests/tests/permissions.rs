//! With whom the bot talks, for whom ghosts are made, and who is turned down.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::chat::Chat;
use tests::client::TimelineEvent;
use tests::plain::PlainUser;
use tests::stack::{Options, PASSWORD, Stack};
use tests::wait::{self, PATIENCE};
use tests::{Result, http};

async fn user(stack: &Stack, name: &str) -> Result<PlainUser> {
    stack.synapse.register(name, PASSWORD).await?;
    PlainUser::login(stack.synapse.url(), name, PASSWORD).await
}

/// Makes a room without encryption.
async fn room(user: &PlainUser, invite: &[&str]) -> Result<String> {
    let body = json!({"invite": invite, "preset": "private_chat"});
    let made = user
        .request(Method::POST, "v3/createRoom", Some(body))
        .await?;
    Ok(made["room_id"].as_str().unwrap_or_default().to_owned())
}

async fn invite(user: &PlainUser, room: &str, whom: &str) -> Result<()> {
    let path = format!("v3/rooms/{room}/invite");
    let body = json!({"user_id": whom});
    user.request(Method::POST, &path, Some(body))
        .await
        .map(drop)
}

async fn join(user: &PlainUser, room: &str) -> Result<()> {
    let path = format!("v3/rooms/{room}/join");
    let joined = user.request(Method::POST, &path, Some(json!({}))).await;
    joined.map(drop)
}

/// Waits until somebody has left a room, or declined to join, and gives the reason.
async fn left(user: &PlainUser, room: &str, who: &str) -> Result<String> {
    let path = format!("v3/rooms/{room}/state/m.room.member/{who}");
    wait::until(&format!("{who} to leave"), PATIENCE, || async {
        let member = user.request(Method::GET, &path, None).await?;
        let reason = member["reason"].as_str().unwrap_or_default().to_owned();
        Ok((member["membership"] == "leave").then_some(reason))
    })
    .await
}

async fn one_at_a_time(stack: &Stack) -> Result<()> {
    let (anna, bert) = (user(stack, "anna").await?, user(stack, "bert").await?);
    let bot = stack.bot();
    // Somebody comes into the chat of two.
    let chat = anna.chat_with(&bot).await?;
    anna.ask(&chat, "version", |said| said.starts_with("gatehouse "))
        .await?;
    invite(&anna, &chat, bert.user_id()).await?;
    join(&bert, &chat).await?;
    let reason = left(&anna, &chat, &bot).await?;
    assert!(reason.contains("one person at a time"), "{reason:?}");
    // It is asked into a room with others in it.
    let club = room(&anna, &[bert.user_id()]).await?;
    join(&bert, &club).await?;
    invite(&anna, &club, &bot).await?;
    let reason = left(&anna, &club, &bot).await?;
    assert!(reason.contains("one person at a time"), "{reason:?}");
    // A new chat of two is as good as the first.
    let chat = anna.chat_with(&bot).await?;
    anna.ask(&chat, "version", |said| said.starts_with("gatehouse "))
        .await
        .map(drop)
}

async fn turned_down(stack: &Stack) -> Result<()> {
    let rude = user(stack, "rude").await?;
    let bot = stack.bot();
    let chat = room(&rude, &[&bot]).await?;
    let reason = left(&rude, &chat, &bot).await?;
    assert!(reason.contains("may not use this bridge"), "{reason:?}");
    let ghost = stack.ghost_of("+4915400000001");
    let chat = room(&rude, &[&ghost]).await?;
    let reason = left(&rude, &chat, &ghost).await?;
    assert!(reason.contains("may not use this bridge"), "{reason:?}");
    let sync = rude.request(Method::GET, "v3/sync", None).await?;
    let invited = &sync["rooms"]["invite"];
    assert!(
        invited.as_object().is_none_or(serde_json::Map::is_empty),
        "no room is made to say so: {invited}"
    );
    Ok(())
}

/// Looks for ghosts as the homeserver does for anybody who asks it.
async fn look_for(stack: &Stack, number: u32) -> Result<(StatusCode, Value)> {
    let user = stack.ghost_of(&format!("+49154000{number:05}"));
    let url = format!(
        "{}/_matrix/app/v1/users/{user}",
        stack.gatehouse.ports().appservice_url()
    );
    let token = stack.gatehouse.token("hs_token")?;
    let answer = http::client()?.get(url).bearer_auth(token).send().await?;
    Ok((answer.status(), answer.json().await?))
}

async fn only_so_many(stack: &Stack) -> Result<()> {
    let (status, _) = look_for(stack, 100).await?;
    assert_eq!(status, StatusCode::OK);
    let looks = (101..125).map(|number| look_for(stack, number));
    let answers = futures_util::future::try_join_all(looks).await?;
    let limited = answers
        .iter()
        .find(|(status, _)| *status == StatusCode::TOO_MANY_REQUESTS);
    assert!(
        limited.is_some_and(|(_, answer)| answer["errcode"] == "M_LIMIT_EXCEEDED"),
        "{answers:?}"
    );
    // Those that are there are found all the same.
    let (status, _) = look_for(stack, 100).await?;
    assert_eq!(status, StatusCode::OK);
    Ok(())
}

/// A room is the chat with one contact: another one that is invited there turns it down, and nothing else happens.
async fn one_contact_in_a_room(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "carl", "+4915400000201").await?;
    let management = chat.client.direct_chat(&chat.bot).await?;
    chat.client.wait_for_member(&management, &chat.bot).await?;
    let other = stack.sandbox.phone("+4915400000202", "Dan").await?;
    chat.client.invite(&chat.room, &stack.ghost(&other)).await?;
    chat.client
        .wait_for(&management, "a word about it", |event| {
            event
                .body()
                .is_some_and(|body| body.contains("the chat with another contact"))
        })
        .await?;
    chat.flush("after the invitation").await
}

/// What is written in the clear may be anybody's: in an encrypted chat the bot does not obey it.
async fn only_what_is_encrypted(stack: &Stack) -> Result<()> {
    let client = stack.enlisted_client("dana").await?;
    let bot = stack.bot();
    let room = client.direct_chat(&bot).await?;
    client.wait_for_member(&room, &bot).await?;
    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/clear");
    let body = json!({"msgtype": "m.text", "body": "disable"});
    client.request("PUT", &path, json!({}), body).await?;
    let is_answer = |part: &'static str| {
        let bot = bot.clone();
        move |event: &TimelineEvent| {
            event.sender == bot && event.body().is_some_and(|body| body.contains(part))
        }
    };
    client
        .wait_for(&room, "a word about it", is_answer("what you wrote is not"))
        .await?;
    client.send(&room, "status").await?;
    client
        .wait_for(&room, "the status", is_answer("You are joined"))
        .await
        .map(drop)
}

#[tokio::test]
async fn the_bot_and_the_ghosts_know_whom_they_are_for() -> Result<()> {
    let mut options = Options::default();
    options.gatehouse.more =
        "[permissions]\n\"*\" = \"user\"\n\"@rude:localhost\" = \"block\"\n".to_owned();
    let stack = Stack::start("permissions", options).await?;
    let result = async {
        one_at_a_time(&stack).await?;
        turned_down(&stack).await?;
        one_contact_in_a_room(&stack).await?;
        only_what_is_encrypted(&stack).await?;
        only_so_many(&stack).await
    };
    result.await.map_err(|error| stack.explain(error))
}
