//! With whom the bot talks, for whom ghosts are made, and who is turned down.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
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

#[tokio::test]
async fn the_bot_and_the_ghosts_know_whom_they_are_for() -> Result<()> {
    let mut options = Options::default();
    options.gatehouse.more =
        "[permissions]\n\"*\" = \"user\"\n\"@rude:localhost\" = \"block\"\n".to_owned();
    let stack = Stack::start("permissions", options).await?;
    let result = async {
        one_at_a_time(&stack).await?;
        turned_down(&stack).await?;
        only_so_many(&stack).await
    };
    result.await.map_err(|error| stack.explain(error))
}
