//! The homeserver was away for minutes: messages go again soon after its return.

use std::time::{Duration, Instant};

use tests::between::Fate;

use super::*;

/// How soon the first message each way must be there after the return of the homeserver.
const SOON: Duration = Duration::from_secs(30);

/// How long it is away, in seconds; the ten minutes that this is about by hand, with `GATEHOUSE_TEST_OUTAGE=600`.
fn outage() -> Result<usize> {
    number("GATEHOUSE_TEST_OUTAGE", 60)
}

#[tokio::test]
async fn messages_go_soon_after_the_homeserver_returns() -> Result<()> {
    let stack = Stack::start("recovery", Options::default()).await?;
    explained(&stack, returns(&stack).await)
}

async fn returns(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "anna", "+4915100000071").await?;
    let away = Duration::from_secs(outage()? as u64);
    stack.synapse.kill();
    let end = Instant::now() + away;
    // The phone goes on writing, from the first moment of the outage to its last.
    let mut count = 0;
    while Instant::now() < end {
        chat.phone.send(chat.me(), &format!("back {count}")).await?;
        count += 1;
        let pause = (away / 10).min(end.saturating_duration_since(Instant::now()));
        tokio::time::sleep(pause).await;
    }
    stack.synapse.go_on().await?;
    let back_again = Instant::now();
    let there = async {
        chat.client.send(&chat.room, "there").await?;
        chat.on_phone("there").await?;
        Ok::<_, Error>(back_again.elapsed())
    };
    let here = async {
        chat.seen("back 0").await?;
        Ok(back_again.elapsed())
    };
    let (there, here) = tokio::try_join!(there, here)?;
    println!(
        "after {} s without homeserver: {there:?} to WhatsApp, {here:?} to Matrix",
        away.as_secs()
    );
    assert!(there < SOON, "to WhatsApp after {there:?}");
    assert!(here < SOON, "to Matrix after {here:?}");
    chat.seen(&format!("back {}", count - 1)).await?;
    let mut expected = vec!["hello to you".to_owned()];
    expected.extend((0..count).map(|number| format!("back {number}")));
    assert_eq!(chat.texts_in_room().await?, expected, "once and in order");
    assert_eq!(chat.texts_on_phone().await?, ["hello", "there"]);
    Ok(())
}

/// What the homeserver sends again brings only events: the key is in the ghost's inbox.
#[tokio::test]
async fn a_late_key_is_found_although_its_transaction_failed() -> Result<()> {
    let stack = behind_proxies("late-key", &[]).await?;
    let result = async {
        let chat = Chat::open(&stack, "carla", "+4915100000073").await?;
        chat.client.hold_keys().await?;
        chat.client.discard_session(&chat.room).await?;
        chat.client.send(&chat.room, "locked").await?;
        waits(&stack, "waiting_for_keys", 1).await?;
        let to_bridge = &stack.between()?.to_bridge;
        let refused = to_bridge.struck();
        to_bridge.rule("PUT", "/transactions/", Fate::Refused(502));
        chat.client.release_keys().await?;
        wait::until("a transaction with the key", PATIENCE, || async {
            Ok((to_bridge.struck() > refused).then_some(()))
        })
        .await?;
        to_bridge.heal();
        chat.on_phone("locked").await
    }
    .await;
    explained(&stack, result)
}

/// A proxy whose homeserver is away says in its own words that there is nothing: that is no answer of the homeserver.
#[tokio::test]
async fn a_proxys_page_is_no_refusal() -> Result<()> {
    let options = Options {
        between: true,
        ..Options::default()
    };
    let stack = Stack::start("proxys-page", options).await?;
    let result = async {
        let chat = Chat::open(&stack, "berta", "+4915100000072").await?;
        let proxy = &stack.between()?.to_homeserver;
        for status in [404, 403, 302] {
            let before = proxy.struck();
            proxy.rule("", "", Fate::Page(status));
            chat.phone
                .send(chat.me(), &format!("back {status}"))
                .await?;
            chat.client
                .send(&chat.room, &format!("there {status}"))
                .await?;
            // More often than an event is tried that the homeserver refuses.
            wait::until("some attempts", PATIENCE, || async {
                Ok((proxy.struck() >= before + 6).then_some(()))
            })
            .await?;
            proxy.heal();
            chat.seen(&format!("back {status}")).await?;
            chat.on_phone(&format!("there {status}")).await?;
        }
        assert_eq!(set_aside(&stack)?.len(), 0);
        let expected = ["hello to you", "back 404", "back 403", "back 302"];
        assert_eq!(chat.texts_in_room().await?, expected, "once and in order");
        Ok(())
    };
    explained(&stack, result.await)
}
