//! Reactions, edits and deletions in bursts while gatehouse is killed: each counts once, and in its order.

use serde_json::{Value, json};
use tests::chat::{Chat, differs};
use tests::client::TimelineEvent;
use tests::stack::{Options, Stack};
use tests::{Result, gatehouse, wait};

/// Messages each way.
const COUNT: usize = 12;

/// Every fourth message is deleted in the end.
fn is_deleted(n: usize) -> bool {
    n % 4 == 3
}

async fn write(stack: &Stack, chat: &Chat) -> Result<()> {
    let (client, room, me) = (&chat.client, chat.room.as_str(), chat.me.as_str());
    for n in 0..COUNT {
        let id = chat.phone.send(me, &format!("there {n}")).await?;
        chat.phone.react(me, &id, "👍").await?;
        chat.phone
            .edit(me, &id, &format!("there {n} better"))
            .await?;
        chat.phone.react(me, &id, "❤️").await?;
        let event = client.send(room, &format!("here {n}")).await?;
        client.react(room, &event, "🎉").await?;
        client
            .edit(room, &event, &format!("here {n} better"))
            .await?;
        if is_deleted(n) {
            chat.phone.revoke(me, &id).await?;
            client.redact(room, &event).await?;
        }
        if n == 3 || n == 7 {
            stack.gatehouse.kill();
            stack.gatehouse.start().await?;
        }
    }
    chat.flush("at the end").await
}

/// What is wrong in the room, if anything is.
fn wrong_here(chat: &Chat, timeline: &[TimelineEvent], n: usize) -> Option<String> {
    let original = format!("there {n}");
    let shown: Vec<_> = timeline
        .iter()
        .filter(|event| {
            event.sender == chat.ghost
                && event.relation.is_null()
                && event.original["body"] == original.as_str()
        })
        .collect();
    if is_deleted(n) {
        return (!shown.is_empty()).then(|| format!("{original} is still there"));
    }
    let [event] = shown.as_slice() else {
        return Some(format!("{original} is there {} times", shown.len()));
    };
    let reactions: Vec<_> = timeline
        .iter()
        .filter_map(|each| each.reaction_to(&event.event_id))
        .collect();
    let better = format!("{original} better");
    (event.body() != Some(&*better) || reactions != ["❤️"])
        .then(|| format!("{}, with {reactions:?}", event.summary()))
}

/// What is wrong on the phone, if anything is.
fn wrong_there(chat: &Chat, shown: &[Value], n: usize) -> Option<String> {
    let better = format!("here {n} better");
    let mine: Vec<_> = shown
        .iter()
        .filter(|message| {
            let text = message["text"].as_str().unwrap_or_default();
            message["from_me"] == false && (text == better || text == format!("here {n}"))
        })
        .collect();
    if is_deleted(n) {
        return (!mine.is_empty()).then(|| format!("{better} is still there"));
    }
    let [message] = mine.as_slice() else {
        return Some(format!("{better} is there {} times", mine.len()));
    };
    let wanted = json!({
        "text": better, "edited": true, "reactions": [{"from": chat.me, "emoji": "🎉"}],
    });
    differs(message, &wanted)
}

async fn check(chat: &Chat) -> Result<()> {
    for n in 0..COUNT {
        let found = wait::until("the room to be right", wait::PATIENCE, || async {
            let timeline = chat.client.timeline(&chat.room).await?;
            Ok(wrong_here(chat, &timeline, n).is_none().then_some(()))
        });
        if let Err(error) = found.await {
            let timeline = chat.client.timeline(&chat.room).await?;
            panic!("{error}: {:?}", wrong_here(chat, &timeline, n));
        }
        let shown = chat.phone.shown(&chat.me).await?;
        assert_eq!(wrong_there(chat, &shown, n), None);
    }
    // Nothing came that could not be applied.
    let strays: Vec<_> = chat
        .client
        .timeline(&chat.room)
        .await?
        .into_iter()
        .filter(|event| event.content["msgtype"] == "m.notice" && !event.redacted)
        .map(|event| event.summary())
        .collect();
    assert!(strays.is_empty(), "{strays:#?}");
    let shown = chat.phone.shown(&chat.me).await?;
    let undecryptable = shown.iter().any(|message| message["undecryptable"] == true);
    assert!(!undecryptable, "{shown:#?}");
    Ok(())
}

#[tokio::test]
async fn each_counts_once_although_gatehouse_is_killed() -> Result<()> {
    let options = Options {
        gatehouse: gatehouse::Options::accepting_everything(),
        ..Options::default()
    };
    let stack = Stack::start("kinds-bursts", options).await?;
    let result = async {
        let chat = Chat::open(&stack, "dora", "+4915200000012").await?;
        write(&stack, &chat).await?;
        check(&chat).await
    };
    result.await.map_err(|error| stack.explain(error))
}
