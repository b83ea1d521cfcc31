//! Lost connections, lost sessions, changed identities, credentials of no use any more.

use std::time::Duration;

use super::*;

/// Rounds of the long conversation.
const ROUNDS: usize = 3;

/// Messages in each direction of a round.
const EACH: usize = 50;

/// A long conversation may take its time on a busy machine.
const LONG: Duration = Duration::from_secs(400);

#[tokio::test]
async fn three_hundred_messages_cross_with_three_reconnects() -> Result<()> {
    let stack = stack().await?;
    long(stack).await.map_err(|error| stack.explain(error))
}

/// One side speaks at a time: who sends and receives at once with this client mixes up its own sessions, which is mended,
/// but message by message.
async fn long(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "lou", "+4915160000003").await?;
    for round in 0..ROUNDS {
        for at in 0..EACH {
            if at == EACH / 2 && round % 2 == 0 {
                chat.phone.ask("drop", json!({})).await?;
            }
            let content = json!({"text": format!("in {round}.{at}")});
            chat.phone.send(&chat.peer, content).await?;
        }
        let all = expected("in", round);
        let arrived = || async {
            let events = chat.client.timeline(&chat.room).await?;
            let from = events.iter().filter(|event| event.sender == chat.ghost);
            let texts: Vec<_> = from.filter_map(|event| event.body()).collect();
            Ok((counted(texts.into_iter(), "in ") == all).then_some(()))
        };
        chat.client
            .until("each message once in the room", LONG, arrived)
            .await?;

        for at in 0..EACH {
            if at == EACH / 2 && round % 2 == 1 {
                chat.phone.ask("drop", json!({})).await?;
            }
            chat.client
                .send(&chat.room, &format!("out {round}.{at}"))
                .await?;
        }
        let all = expected("out", round);
        let arrived = || async {
            let messages = chat.phone.messages().await?;
            let texts = messages.iter().filter_map(said);
            Ok((counted(texts, "out ") == all).then_some(()))
        };
        tests::wait::until("each message once at the phone", LONG, arrived).await?;
    }
    let state = chat.phone.ask("state", json!({})).await?;
    assert_eq!(state["opened"], 4, "three times again");
    Ok(())
}

/// All texts up to this round, each once.
fn expected(way: &str, round: usize) -> HashMap<String, usize> {
    let rounds = (0..=round).flat_map(|round| (0..EACH).map(move |at| (round, at)));
    rounds
        .map(|(round, at)| (format!("{way} {round}.{at}"), 1))
        .collect()
}

#[tokio::test]
async fn lost_sessions_and_changed_identities_are_mended() -> Result<()> {
    // A stack of its own: a fault strikes everybody in it, and so does its clock.
    let mut settings = gatehouse::Options::accepting_everything();
    settings.environment.push(gatehouse::refusals_believed());
    let options = Options {
        gatehouse: settings,
        ..Options::default()
    };
    let stack = Stack::start("stock-trouble", options).await?;
    let result = async {
        lost(&stack).await?;
        reinstalled(&stack).await?;
        registered_anew(&stack).await
    };
    result.await.map_err(|error| stack.explain(error))
}

/// Neither side can read what comes, and asks for it again.
async fn lost(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "lea", "+4915160000004").await?;
    let user = |jid: &str| jid.split('@').next().unwrap_or_default().to_owned();
    let users = [user(&chat.peer), user(&chat.alias.lid)];
    let events = stack.sandbox.events().await?;
    chat.phone
        .ask("forget_sessions", json!({"users": users}))
        .await?;
    chat.sent("can you read this?").await?;
    events
        .wait_for("the client's retry receipt", |event| {
            event.name == "accepted" && event.data["type"] == "retry"
        })
        .await?;
    chat.received("I can again").await?;

    let events = stack.sandbox.events().await?;
    stack.sandbox.faults(json!({"corrupt": 1})).await?;
    let content = json!({"text": "can you read that?"});
    chat.phone.send(&chat.peer, content).await?;
    events
        .wait_for("the bridge's retry receipt", |event| {
            event.name == "forwarded" && event.data["type"] == "retry"
        })
        .await?;
    stack.sandbox.faults(json!({"corrupt": 0})).await?;
    chat.client
        .wait_for_text(&chat.room, &chat.ghost, "can you read that?")
        .await?;
    chat.sent("and on").await.map(drop)
}

/// The phone is installed anew: other credentials, and the old ones are of no use.
async fn reinstalled(stack: &Stack) -> Result<()> {
    let number = "+4915160000005";
    let mut chat = Chat::open(stack, "ida", number).await?;
    let folder = stack.folder().join("stock-ida-again");
    let again = StockClient::login(&stack.sandbox, number, &folder).await?;
    let old = std::mem::replace(&mut chat.phone, again);
    assert_eq!(old.knock().await?, 401);
    chat.client
        .wait_for(&chat.room, "the notice", |event| {
            event
                .body()
                .is_some_and(|body| body.contains("security code"))
        })
        .await?;
    chat.sent("is it still you?").await?;
    chat.received("it is").await.map(drop)
}

/// The user registers anew after a long time away: the client is told, and goes on.
async fn registered_anew(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "ria", "+4915160000006").await?;
    let before = stack.sandbox.partner_user(chat.client.user_id()).await?;
    stack.gatehouse.stop().await?;
    stack.sandbox.advance_clock(40 * 24 * 3600).await?;
    stack.gatehouse.start().await?;
    tests::wait::until("the end of the login", tests::wait::PATIENCE, || async {
        let user = stack.sandbox.partner_user(chat.client.user_id()).await?;
        Ok(user.filter(|user| user["enlisted"] == false).map(drop))
    })
    .await?;
    let (url, bot) = (stack.synapse.url(), stack.bot());
    tests::stack::enlist(url, "ria", tests::stack::PASSWORD, &bot).await?;
    let after = stack.sandbox.partner_user(chat.client.user_id()).await?;
    let jid = |user: &Option<Value>| user.as_ref().map(|user| user["jid"].clone());
    assert_eq!(jid(&before), jid(&after), "the same user, with other keys");
    // The chat goes on in its room.
    chat.received("new keys, same you").await?;
    chat.sent("so it seems").await.map(drop)
}
