//! A short torture run: a few people talk while this and that breaks. `cargo xtask torture` is the long one.

use std::time::Duration;

use tests::Result;
use tests::stack::Options;
use tests::torture::Torture;
use tests::torture::faults::Fault;
use tests::torture::plan::Mix;

#[tokio::test]
async fn nothing_is_lost_doubled_or_out_of_order() -> Result<()> {
    let run = Torture {
        seed: 1,
        mix: Mix {
            messages: 60,
            users: 1,
            contacts: 2,
            ..Mix::default()
        },
        faults: vec![
            Fault::Kill,
            Fault::Drop,
            Fault::HomeserverUnanswered,
            Fault::TransactionsUnanswered,
        ],
        spell: Some(Duration::from_secs(3)),
        spread: Some(Duration::from_secs(20)),
        patience: Duration::from_secs(180),
        postgres: None,
        stack: Options::default(),
    };
    let outcome = run.run().await?;
    assert!(outcome.is_clean(), "{outcome}");
    assert!(!outcome.recoveries.is_empty());
    Ok(())
}
