//! 500 messages, interleaved both ways over five rooms, arrive once each and in order, whatever happens meanwhile.

use serde_json::{Value, json};
use tests::Result;
use tests::stack::{Options, Stack};
use tests::workload::Workload;
use tokio::sync::Mutex;

/// These runs take their turns: side by side they would only measure each other.
static TURN: Mutex<()> = Mutex::const_new(());

/// 5 rooms x 2 directions x 50; gatehouse is killed when so many of them have been sent.
async fn run(name: &str, faults: Value, kills: &[usize]) -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = Stack::start(name, Options::default()).await?;
    let client = stack.enlisted_client("anna").await?;
    let result = async {
        let workload = Workload::open(&stack, &client, "+49151000000", 5, 50).await?;
        stack.sandbox.faults(faults).await?;
        let kill = async {
            for at in kills {
                workload.wait_until_sent(*at).await?;
                stack.gatehouse.kill();
                stack.gatehouse.start().await?;
            }
            Ok(())
        };
        tokio::try_join!(workload.write(), kill)?;
        assert!(workload.sent() >= 500);
        workload.check().await
    }
    .await;
    result.map_err(|error| stack.explain(error))
}

#[tokio::test]
async fn all_arrive_once_and_in_order() -> Result<()> {
    run("five-hundred", json!({}), &[]).await
}

#[tokio::test]
async fn all_arrive_although_gatehouse_is_killed_three_times() -> Result<()> {
    run("five-hundred-kills", json!({}), &[100, 250, 400]).await
}

#[tokio::test]
async fn all_arrive_although_the_connection_drops_every_twenty_stanzas() -> Result<()> {
    run(
        "five-hundred-drops",
        json!({"drop_connection_every": 20}),
        &[],
    )
    .await
}
