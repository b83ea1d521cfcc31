//! One chat hangs: the others do not notice. One chat has thousands of messages: another one's goes past them. Nobody takes
//! them: they lie in tables, not in memory.

use std::time::{Duration, Instant};

use tests::between::{Between, Fate};
use tests::plain::PlainUser;
use tests::stack::PASSWORD;
use tests::usage;

use super::*;

/// Messages of a burst; the 10,000 that this is about by hand, with `GATEHOUSE_TEST_BURST=10000`.
fn burst() -> Result<usize> {
    number("GATEHOUSE_TEST_BURST", 600)
}

/// How long messages take there and back, each after the other: the median.
async fn median(chat: &Chat, what: &str) -> Result<Duration> {
    let mut times = Vec::new();
    for count in 0..9 {
        let began = Instant::now();
        let (there, back) = (
            format!("{what} there {count}"),
            format!("{what} back {count}"),
        );
        chat.client.send(&chat.room, &there).await?;
        chat.on_phone(&there).await?;
        chat.phone.send(chat.me(), &back).await?;
        chat.seen(&back).await?;
        times.push(began.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

/// As fast as before, as far as a busy machine can tell: a chat that waits for another's time-out takes ten times as long.
fn is_undisturbed(what: &str, before: Duration, now: Duration) {
    println!("{what}: median {now:?}, before {before:?}");
    assert!(
        now < before * 5 + Duration::from_secs(5),
        "{what}: {now:?} where it was {before:?}"
    );
}

#[tokio::test]
async fn what_hangs_delays_nobody_else() -> Result<()> {
    let stack = behind_proxies("isolation", &[("GATEHOUSE_LIMITS__WORKERS", "8")]).await?;
    explained(&stack, hangs(&stack, stack.between()?).await)
}

async fn hangs(stack: &Stack, between: &Between) -> Result<()> {
    let good = Chat::open(stack, "anna", "+4915100000031").await?;
    let stuck = Chat::open(stack, "berta", "+4915100000032").await?;
    let before = median(&good, "before").await?;

    // The homeserver answers nothing about one room.
    between.to_homeserver.rule("", &stuck.room, Fate::Hangs);
    stuck.phone.send(stuck.me(), "does not come").await?;
    stuck.client.send(&stuck.room, "goes all the same").await?;
    is_undisturbed("a room hangs", before, median(&good, "room").await?);
    between.to_homeserver.heal();
    stuck.seen("does not come").await?;
    stuck.on_phone("goes all the same").await?;

    // The media server takes requests and gives nothing. Texts of the same contact wait behind their pictures, nobody else's do.
    between.to_media.rule("", "/", Fate::Hangs);
    let mut pictures = Vec::new();
    for count in 0..4 {
        let upload = stuck.phone.upload_generated("image", 50_000, count).await?;
        let picture =
            serde_json::json!({"kind": "image", "mimetype": "image/jpeg", "upload": upload.upload});
        stuck.phone.say(stuck.me(), picture).await?;
        pictures.push(upload.sha256);
    }
    is_undisturbed(
        "the media server hangs",
        before,
        median(&good, "media").await?,
    );
    let (room, ghost) = (stuck.room.clone(), stuck.ghost.clone());
    let other = Chat::with(stack, stuck.client, "+4915100000033").await?;
    is_undisturbed(
        "the same user's other chat",
        before,
        median(&other, "other").await?,
    );
    let began = Instant::now();
    between.to_media.heal();
    let client = &other.client;
    let come = client.until("all pictures", PATIENCE * 4, || async {
        let timeline = client.timeline(&room).await?;
        let mut come = Vec::new();
        for event in timeline.iter().filter(|event| event.sender == ghost) {
            let message = event.kind == "m.room.message";
            if let Some(file) = event.content.get("file").filter(|_| message) {
                come.push(client.download(file, None).await?.sha256);
            }
        }
        Ok((come.len() >= pictures.len()).then_some(come))
    });
    assert_eq!(come.await?, pictures, "once and in order");
    println!(
        "all pictures {:?} after the media server's return",
        began.elapsed()
    );

    // A contact whose keys the gatekeeper does not give.
    let keyless = stack.sandbox.phone("+4915100000034", "Cem").await?;
    let ghost = stack.ghost(&keyless);
    let room = other.client.direct_chat(&ghost).await?;
    other.client.wait_for_member(&room, &ghost).await?;
    let takes_part = |on: bool| keyless.options(serde_json::json!({"third_party_chats": on}));
    takes_part(false).await?;
    other.client.send(&room, "behind closed doors").await?;
    waits(stack, "inbox", 1).await?;
    is_undisturbed(
        "a contact has no keys",
        before,
        median(&good, "keys").await?,
    );
    is_undisturbed(
        "the same user's other chat",
        before,
        median(&other, "beside").await?,
    );
    takes_part(true).await?;
    keyless
        .wait_for_text(other.me(), "behind closed doors")
        .await?;

    // A login that gets no further than an open connection.
    between.to_gatekeeper.stall_new(true);
    let opened = between.to_gatekeeper.opened();
    let user = stack.synapse.register("carla", PASSWORD).await?;
    let plain = PlainUser::login(stack.synapse.url(), "carla", PASSWORD).await?;
    let management = plain.chat_with(&stack.bot()).await?;
    plain
        .ask(&management, "enable", |said| said.contains("if you agree"))
        .await?;
    plain.say(&management, "accept").await?;
    wait::until("the login to connect in vain", PATIENCE, || async {
        Ok((between.to_gatekeeper.opened() > opened).then_some(()))
    })
    .await?;
    is_undisturbed("a login is stuck", before, median(&good, "login").await?);
    between.to_gatekeeper.stall_new(false);
    let sent = keyless.send(&user, "welcome").await?;
    keyless
        .until(&user, "the login to work", PATIENCE * 3, |messages| {
            let of = |message: &&tests::sandbox::Message| message.id == sent;
            let message = messages.iter().find(of);
            message.filter(|message| message.status != "sent").map(drop)
        })
        .await
}

#[tokio::test]
async fn another_room_goes_past_a_burst_that_lies_in_tables() -> Result<()> {
    let stack = behind_proxies("burst", &[]).await?;
    explained(&stack, goes_past(&stack).await)
}

async fn goes_past(stack: &Stack) -> Result<()> {
    let count = burst()?;
    // For thousands there is more time.
    let patience = PATIENCE * 6 + Duration::from_millis(200 * count as u64);
    let long = Chat::open(stack, "anna", "+4915100000041").await?;
    let phone = stack.sandbox.phone("+4915100000042", "Cem").await?;
    let ghost = stack.ghost(&phone);
    let room = long.client.direct_chat(&ghost).await?;
    long.client.wait_for_member(&room, &ghost).await?;
    long.client.send(&room, "hello").await?;
    phone.wait_for_text(long.me(), "hello").await?;
    let pid = stack.gatehouse.pid().unwrap_or_default();
    let resident = || -> Result<u64> { Ok(usage::memory(pid)?.resident / (1 << 20)) };

    // The gatekeeper is away, and one chat writes and writes.
    stack.sandbox.stop().await?;
    let before = resident()?;
    for number in 0..count {
        long.client.send(&long.room, &format!("{number}")).await?;
    }
    long.client.send(&room, "past them").await?;
    waits(stack, "inbox", count as i64 - 200).await?;
    let found = status(stack)?;
    println!(
        "{count} messages wait: {before} MiB before, {} MiB now; {found}",
        resident()?
    );
    assert!(
        found["outbox"].as_i64() < Some(200),
        "the rest is in the inbox: {found}"
    );
    assert!(
        resident()? < before + 64,
        "memory does not grow with what waits"
    );

    stack.sandbox.go_on().await?;
    let events = stack.sandbox.events().await?;
    phone.wait_for_text(long.me(), "past them").await?;
    let shown = long.texts_on_phone().await?.len();
    println!("{shown} of {count} were before it, at the latest count");
    long.phone
        .until(long.me(), "the last of them", patience, |messages| {
            let last = (count - 1).to_string();
            messages
                .iter()
                .any(|each| each.text.as_deref() == Some(&last))
                .then_some(())
        })
        .await?;
    let mut expected = vec!["hello".to_owned()];
    expected.extend((0..count).map(|number| number.to_string()));
    assert_eq!(long.texts_on_phone().await?, expected, "once and in order");
    let arrived: Vec<_> = events
        .seen()
        .into_iter()
        .filter(|event| event.name == "message")
        .collect();
    let place = arrived
        .iter()
        .position(|event| event.data["phone"] == phone.number());
    println!("it was number {place:?} of {}", arrived.len());
    // Those that were on their way already, and what a page more adds.
    assert!(
        place.is_some_and(|place| place < 300),
        "it went past the burst: {place:?}"
    );

    // The other way: the homeserver is away, and the phone writes and writes.
    stack.synapse.stop().await?;
    let before = resident()?;
    for number in 0..count {
        long.phone
            .send(long.me(), &format!("back {number}"))
            .await?;
    }
    println!(
        "{count} messages come in vain: {before} MiB before, {} MiB now",
        resident()?
    );
    assert!(
        resident()? < before + 64,
        "the gatekeeper keeps them, not our memory"
    );
    stack.synapse.go_on().await?;
    let last = format!("back {}", count - 1);
    wait::until("the last of them", patience, || async {
        Ok(long.texts_in_room().await?.contains(&last).then_some(()))
    })
    .await?;
    let mut expected = vec!["hello to you".to_owned()];
    expected.extend((0..count).map(|number| format!("back {number}")));
    assert_eq!(long.texts_in_room().await?, expected, "once and in order");
    Ok(())
}
