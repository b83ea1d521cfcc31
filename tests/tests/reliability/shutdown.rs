//! An end in order while people talk.

use std::time::{Duration, Instant};

use tests::workload::Workload;

use super::*;
use crate::database::{Break as _, Locked};

/// In which the bridge must end, whatever it is in the middle of.
const BOUND: Duration = Duration::from_secs(5);

#[tokio::test]
async fn sigterm_under_load_loses_nothing() -> Result<()> {
    let stack = Stack::start("sigterm", Options::default()).await?;
    let result = async {
        let client = stack.enlisted_client("anna").await?;
        let workload = Workload::open(&stack, &client, "+49151700000", 3, 40).await?;
        let ends = async {
            for count in [40, 120] {
                workload.wait_until_sent(count).await?;
                let began = Instant::now();
                // It is not killed: `stop` fails if it has to be.
                let status = stack.gatehouse.stop().await?;
                let took = began.elapsed();
                println!("ended {took:?} after SIGTERM under load");
                assert!(status.success(), "an orderly end: {status}");
                assert!(took < BOUND, "{took:?}");
                stack.gatehouse.start().await?;
            }
            Ok::<(), Error>(())
        };
        let (written, ended) = tokio::join!(workload.write(), ends);
        written?;
        ended?;
        workload.check().await
    }
    .await;
    explained(&stack, result)
}

/// Everybody around it has stopped, and the database is locked by somebody else.
#[tokio::test]
async fn sigterm_does_not_wait_for_those_who_hang() -> Result<()> {
    let stack = Stack::start("sigterm-hanging", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915170000001").await?;
        let mut locked = Locked::of(&stack);
        locked.begin().await?;
        chat.client.send(&chat.room, "in the middle of it").await?;
        wait::until("the bridge to notice", PATIENCE, || async {
            let log = stack.gatehouse.log()?;
            Ok(log.contains("put off").then_some(()))
        })
        .await?;
        stack.sandbox.freeze();
        stack.synapse.freeze();
        let began = Instant::now();
        let status = stack.gatehouse.stop().await;
        let took = began.elapsed();
        stack.synapse.thaw();
        stack.sandbox.thaw();
        locked.end().await?;
        let status = status?;
        println!("ended {took:?} after SIGTERM among the hanging");
        assert!(status.success(), "an orderly end: {status}");
        assert!(took < BOUND, "{took:?}");
        stack.gatehouse.start().await?;
        chat.on_phone("in the middle of it").await
    }
    .await;
    explained(&stack, result)
}
