//! gatehouse is killed at each of its failpoints, and nothing is lost, doubled, out of order or unreadable.
//!
//! There are two databases and little time: of the failpoints of a scene, every other one is for SQLite and the rest is for PostgreSQL.
//! `GATEHOUSE_FAILPOINTS=all` kills at each of them with both, `GATEHOUSE_FAILPOINTS=signal.,outgoing.` at those whose names begin so.

mod broken;
mod chat;
mod scenes;
mod table;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tests::postgres::Postgres;
use tests::stack::{Options, Stack};
use tests::torture::model::Findings;
use tests::{Error, Result, cache};

use self::scenes::{Scene, Stage};
use self::table::{Row, Table};

/// How long a scene may take to come to its failpoint.
const DEATH: Duration = Duration::from_secs(60);
/// How long all of a scene may take to arrive after it.
const PATIENCE: Duration = Duration::from_secs(120);

/// The scenes in which a failpoint is passed: one in each direction that it is passed in.
fn scenes_of(point: &str) -> &'static [Scene] {
    use Scene::*;
    let step = point.trim_end_matches(".before").trim_end_matches(".after");
    match step {
        "transaction.commit" | "transaction.answer" | "inbox.take" | "megolm.decrypt"
        | "signal.encrypt" | "outgoing.commit" | "delivery.send" | "ack.come" | "ack.commit"
        | "ack.committed" | "status.send" | "status.commit" | "receipt.come" | "receipt.ack" => {
            &[TalkThere]
        }
        "incoming.take" | "signal.decrypt" | "incoming.commit" | "incoming.receipt"
        | "megolm.encrypt" | "posting.send" | "posting.commit" | "posting.committed" => &[TalkHere],
        "store.commit" | "wire.write" => &[TalkThere, TalkHere],
        "todevice.take" | "todevice.done" | "machine.commit" => &[NewRoomKey],
        "exchange.commit" | "exchanged.commit" => &[FirstThere, FirstHere],
        "devices.done" => &[NewDevice],
        "hosting.download" | "hosting.file" | "hosting.commit" => &[FileThere],
        "hosting.end.commit" | "shelf.removed.commit" => &[FileDeleted],
        "fetching.download" | "fetching.upload" | "fetching.uploaded" => &[FileHere],
        "fading.commit" | "fading.seen.commit" => &[SeenOnce],
        "again.commit" => &[AskedAgain],
        "notice.commit" | "notice.key.commit" | "notice.send" | "report.commit" => &[Told],
        "notice.gone" | "report.over.commit" | "delay.commit" => &[Delayed],
        "inbox.nothing.commit" | "withdraw.commit" => &[Withdrawn],
        "inbox.again.commit" | "inbox.aside.commit" => &[AsideThere],
        "replay.commit" => &[AsideThere, AsideHere],
        "incoming.aside.commit" | "incoming.back.commit" => &[AsideHere],
        "posting.again.commit" | "posting.aside.commit" => &[RefusedHere],
        "outbox.aside.commit" => &[DamagedStanza],
        "inbox.anew.commit" => &[DamagedEvent],
        "sends.aside.commit" => &[DamagedSend],
        "leave.request" | "leave.commit" => &[Leaving],
        "erase.leave" | "erase.rooms.commit" | "erase.former.commit" | "erase.user.commit" => {
            &[Erasure]
        }
        "portal.closed.commit" => &[RoomLeft],
        "portal.bot.commit" => &[BotRemoved],
        "botroom.left.commit" => &[BotLeft],
        "preferences.commit" => &[Preference],
        "read.commit" => &[ReadHere],
        "seen.send" => &[ReadThere],
        "portal.describe" | "portal.described.commit" => &[FirstThere],
        "portal.adopt" | "portal.invite" | "signal.bundle" | "signal.establish" => &[FirstThere],
        "portal.room"
        | "portal.join"
        | "portal.user"
        | "megolm.share.commit"
        | "megolm.share.send"
        | "megolm.claim"
        | "megolm.claimed.commit" => &[FirstHere],
        "member.done" | "contact.commit" | "portal.commit" | "megolm.query" => {
            &[FirstThere, FirstHere]
        }
        _ if step.starts_with("ghost.") => &[FirstThere, FirstHere],
        "retry.come" | "retry.commit" | "retry.ack" => &[RetryThere],
        "retry.ask" | "retry.keys.commit" => &[RetryHere],
        "placeholder.key.commit" | "placeholder.send" | "placeholder.commit" => &[Placeholder],
        "botroom.create" => &[Stranger],
        "identity.commit" | "identity.ack" => &[Reinstall],
        "consent.commit"
        | "enlist.keys.commit"
        | "enlist.request"
        | "enlist.commit"
        | "prekeys.make.commit"
        | "prekeys.upload"
        | "prekeys.uploaded.commit"
        | "botroom.join"
        | "botroom.commit"
        | "management.done" => &[Enlistment],
        "signedkey.commit" | "signedkey.upload" | "catchup.commit" | "sweep.commit" => &[Start],
        _ => &[],
    }
}

/// Which of the failpoints are for a database if they are shared out.
#[derive(Clone, Copy)]
enum Share {
    Even,
    Odd,
}

/// What is to be done: failpoints with their scenes, those of the same scene one after the other.
fn plan(share: Share) -> Result<Vec<(String, Scene)>> {
    let only = std::env::var("GATEHOUSE_FAILPOINTS").unwrap_or_default();
    let wanted = |name: &str| {
        only.is_empty() || only == "all" || only.split(',').any(|start| name.starts_with(start))
    };
    let mut plan = Vec::new();
    for name in failpoints::names().filter(|name| wanted(name)) {
        let scenes = scenes_of(&name);
        if scenes.is_empty() {
            return Err(Error::new(format!(
                "no scene passes the failpoint {name}: say which"
            )));
        }
        plan.extend(scenes.iter().map(|scene| (name.clone(), *scene)));
    }
    plan.sort_by_key(|(_, scene)| *scene);
    if only.is_empty() {
        return Ok(plan.into_iter().skip(share as usize).step_by(2).collect());
    }
    Ok(plan)
}

/// Plays one scene in which gatehouse dies at `point`.
async fn strike(stage: &Stage, point: &str, scene: Scene) -> Result<Row> {
    let gatehouse = &stage.stack.gatehouse;
    let mut row = Row::new(point, scene);
    stage.prepare(scene).await?;
    stage.rises(false);
    gatehouse.kill_at(point)?;
    if scene.begins_with_a_start() {
        gatehouse.launch()?;
    }
    let death = async {
        let died = gatehouse.wait_for_death(point, DEATH).await;
        gatehouse.spare()?;
        let begin = Instant::now();
        if died.is_ok() {
            gatehouse.start().await?;
        }
        stage.rises(true);
        died.map(|()| begin)
    };
    let (begin, acted) = tokio::join!(death, stage.act(scene));
    let begin = match (begin, &acted) {
        (Err(error), Err(scene)) => return Err(Error::new(format!("{error}; the scene: {scene}"))),
        (begin, _) => begin?,
    };
    row.killed = true;
    let (findings, details) = match acted {
        Ok(()) => stage.settle(PATIENCE).await?,
        Err(error) => (Findings::default(), vec![error.to_string()]),
    };
    row.recovery = begin.elapsed();
    row.findings = findings;
    row.details = details;
    Ok(row)
}

async fn every_point(name: &str, options: Options, share: Share) -> Result<Table> {
    let mut table = Table::new(name);
    let stack = Arc::new(Stack::start(&format!("failpoints-{name}"), options).await?);
    let result = async {
        let mut stage = Stage::open(stack.clone()).await?;
        for (point, scene) in plan(share)? {
            let row = match strike(&stage, &point, scene).await {
                Ok(row) => row,
                Err(error) => {
                    let mut row = Row::new(&point, scene);
                    row.details.push(error.to_string());
                    row
                }
            };
            cache::progress(&format!("{name}: {row}"));
            if !row.is_clean() {
                // What is wrong once stays wrong in these chats: the next one begins with others.
                cache::progress(&stack.gatehouse.tail(30));
                stack.gatehouse.spare()?;
                stack.gatehouse.kill();
                stage.mend().await?;
                stack.gatehouse.start().await?;
                stage.renew().await?;
            }
            table.add(row);
        }
        // What came late has come by now.
        let (findings, details) = stage.settle_all().await?;
        table.late(findings, details);
        Ok(table)
    }
    .await;
    result.map_err(|error| stack.explain(error))
}

async fn run(name: &str, database: Option<String>, share: Share) -> Result<()> {
    let mut options = Options {
        gatehouse: scenes::settings(),
        between: true,
        ..Options::default()
    };
    options.gatehouse.database = database;
    let table = every_point(name, options, share).await?;
    table.print();
    assert!(table.is_clean(), "{}", table.complaints());
    Ok(())
}

#[tokio::test]
async fn nothing_is_lost_with_sqlite() -> Result<()> {
    run("sqlite", None, Share::Even).await
}

#[tokio::test]
async fn nothing_is_lost_with_postgresql() -> Result<()> {
    let server = Postgres::start().await?;
    let database = Some(server.database("gatehouse")?);
    run("postgresql", database, Share::Odd).await
}
