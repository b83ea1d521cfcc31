//! A database that takes nothing: what comes stays with those who sent it, not in memory.

use tests::database::Hold;
use tests::usage;

use super::*;

/// Messages each way; more by hand, with `GATEHOUSE_TEST_PRESSURE=3000`.
fn pressure() -> Result<usize> {
    number("GATEHOUSE_TEST_PRESSURE", 300)
}

#[tokio::test]
async fn a_stalled_database_holds_up_the_neighbours() -> Result<()> {
    let stack = Stack::start("backpressure", Options::default()).await?;
    explained(&stack, pushes_back(&stack).await)
}

async fn pushes_back(stack: &Stack) -> Result<()> {
    let count = pressure()?;
    let chat = Chat::open(stack, "anna", "+4915100000061").await?;
    let pid = stack.gatehouse.pid().unwrap_or_default();
    let resident = || -> Result<u64> { Ok(usage::memory(pid)?.resident / (1 << 20)) };
    let before = resident()?;
    let hold = Hold::take(stack.gatehouse.database_url()).await?;
    for number in 0..count {
        chat.client.send(&chat.room, &format!("{number}")).await?;
        let back = format!("back {number}");
        chat.phone.send(chat.me(), &back).await?;
    }
    // The homeserver has asked, and has no answer: nothing was taken from either side.
    let log = || async {
        let log = stack.gatehouse.log()?;
        Ok(log.contains("the database takes no writes").then_some(()))
    };
    wait::until("word of it in the log", PATIENCE * 2, log).await?;
    let user = stack.sandbox.partner_user(chat.me()).await?;
    let mailbox = user.map_or(0, |user| user["mailbox"].as_u64().unwrap_or_default());
    let (inbox, now) = (status(stack)?["inbox"].clone(), resident()?);
    println!(
        "{count} messages each way while the database is held: {before} MiB before, {now} MiB now, {mailbox} with the gatekeeper, {inbox} in the inbox"
    );
    assert!(mailbox >= count as u64, "the gatekeeper keeps its messages");
    assert_eq!(inbox, 0, "the homeserver keeps its events");
    assert!(now < before + 64, "memory does not grow with what waits");
    hold.release().await?;
    let (there, back) = (format!("{}", count - 1), format!("back {}", count - 1));
    let patience = PATIENCE * 6;
    chat.phone
        .until(chat.me(), "the last of them", patience, |messages| {
            let last = |message: &tests::sandbox::Message| message.text.as_ref() == Some(&there);
            messages.iter().any(last).then_some(())
        })
        .await?;
    wait::until("the last of them", patience, || async {
        Ok(chat.texts_in_room().await?.contains(&back).then_some(()))
    })
    .await?;
    let mut expected = vec!["hello".to_owned()];
    expected.extend((0..count).map(|number| number.to_string()));
    assert_eq!(chat.texts_on_phone().await?, expected, "once and in order");
    let mut expected = vec!["hello to you".to_owned()];
    expected.extend((0..count).map(|number| format!("back {number}")));
    assert_eq!(chat.texts_in_room().await?, expected, "once and in order");
    Ok(())
}
