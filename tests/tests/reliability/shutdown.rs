//! An end in order while people talk.

use std::time::Instant;

use tests::workload::Workload;

use super::*;

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
                println!("ended {:?} after SIGTERM under load", began.elapsed());
                assert!(status.success(), "an orderly end: {status}");
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
