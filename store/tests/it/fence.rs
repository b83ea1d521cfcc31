use store::{Batch, Error, Fence, meta};
use tests::database::Database;

crate::on_both! {
    a_failure_refuses_what_follows_it_in_its_series,
}

async fn a_failure_refuses_what_follows_it_in_its_series(database: Database) {
    let store = database.open().await;
    let fence = Fence::new();
    // Submitted without a pause, so that the writer takes them together.
    let pending: Vec<_> = (0..12)
        .map(|i| {
            let mut series = Batch::new();
            meta::put(&mut series, &format!("series{i}"), "x");
            if i == 4 {
                store::ghosts::set_stage(&mut series, "@nobody", store::ghosts::Stage::Signed);
            }
            series.fence(&fence);
            let mut other = Batch::new();
            meta::put(&mut other, &format!("other{i}"), "x");
            (i, store.submit(series), store.submit(other))
        })
        .collect();
    for (i, series, other) in pending {
        let result = series.await;
        match i {
            0..4 => result.unwrap(),
            4 => assert!(result.unwrap_err().is_conflict()),
            _ => assert!(matches!(result, Err(Error::Fenced)), "{i}: {result:?}"),
        }
        other.await.unwrap();
        let written = meta::get(&store, &format!("series{i}")).await.unwrap();
        assert_eq!(written.is_some(), i < 4, "{i}");
    }
    assert!(fence.is_broken());

    let mut late = Batch::new();
    meta::put(&mut late, "late", "x");
    late.fence(&fence);
    assert!(matches!(store.commit(late).await, Err(Error::Fenced)));

    let mut anew = Batch::new();
    meta::put(&mut anew, "anew", "x");
    anew.fence(&Fence::new());
    store.commit(anew).await.unwrap();
    store.close().await;
}
