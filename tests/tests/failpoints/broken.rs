//! The test that counts losses and doubles is tested: with durability broken on purpose it must find them.

use std::time::Duration;

use tests::stack::{Options, Stack};
use tests::torture::actors::Actors;
use tests::torture::model::Findings;
use tests::torture::plan::{Mix, plan};
use tests::{Result, gatehouse};
use tokio::sync::Mutex;

/// One after the other: three stacks at once would only be in each other's way.
static TURN: Mutex<()> = Mutex::const_new(());

/// The deaths: where a promise that is kept is closest to being broken.
const POINTS: [&str; 3] = [
    "transaction.commit.before",
    "incoming.commit.before",
    "posting.commit",
];
/// How often gatehouse dies at each of them.
const ROUNDS: usize = 2;

/// Runs the workload of the torture test while gatehouse dies at the points; says what it finds.
async fn torture(breakage: &str) -> Result<(Findings, Vec<String>)> {
    let _turn = TURN.lock().await;
    let environment = vec![("GATEHOUSE_BREAK".to_owned(), breakage.to_owned())];
    let options = Options {
        gatehouse: gatehouse::Options {
            failpoints: true,
            environment,
            ..gatehouse::Options::default()
        },
        ..Options::default()
    };
    let stack = Stack::start(&format!("broken-{breakage}"), options).await?;
    let mix = Mix {
        messages: 60,
        users: 1,
        contacts: 1,
        files: 0,
        edits: 0,
        deletions: 0,
        reactions: 0,
        reads: 0,
    };
    let result = async {
        let actors = Actors::open(&stack, plan(1, &mix), mix.users, mix.contacts).await?;
        let deaths = async {
            for point in POINTS.iter().cycle().take(POINTS.len() * ROUNDS) {
                stack.gatehouse.kill_at(point)?;
                stack
                    .gatehouse
                    .wait_for_death(point, crate::PATIENCE)
                    .await?;
                stack.gatehouse.spare()?;
                stack.gatehouse.start().await?;
            }
            Ok(())
        };
        // Slowly enough that there is somebody who writes at each death.
        let pause = Some(Duration::from_millis(700));
        tokio::try_join!(actors.act(pause), deaths)?;
        actors.settle(&stack, Duration::from_secs(40)).await
    };
    result.await.map_err(|error| stack.explain(error))
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_broken() -> Result<()> {
    let (findings, details) = torture("nothing").await?;
    assert!(findings.is_clean(), "{findings}: {details:#?}");
    Ok(())
}

#[tokio::test]
async fn early_answers_lose_messages_both_ways() -> Result<()> {
    let (findings, details) = torture("early-answers").await?;
    assert!(findings.lost > 0, "{findings}: {details:#?}");
    for side in ["Matrix", "Phone"] {
        let of_side = format!("written by {side}: lost ");
        let lost = details
            .iter()
            .any(|line| line.contains(&of_side) && !line.contains(&format!("{of_side}0")));
        assert!(lost, "none of those written by {side}: {details:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn random_ids_double_messages() -> Result<()> {
    let (findings, details) = torture("random-ids").await?;
    assert!(findings.doubled > 0, "{findings}: {details:#?}");
    Ok(())
}
