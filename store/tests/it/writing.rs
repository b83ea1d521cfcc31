use store::{
    Batch, Error, Store, StoreConfig, inbox, messages,
    messages::{Direction, Message, Status},
    meta, portals,
};
use tests::database::{Database, key};

crate::on_both! {
    a_failed_batch_leaves_no_trace_and_spares_its_neighbours,
    commits_follow_the_order_of_submission,
    the_last_write_of_a_key_wins,
    a_guard_counts_its_own_rows_only,
    many_writers_lose_nothing,
    a_full_queue_makes_committers_wait,
    dropping_the_answer_does_not_take_the_batch_back,
}

fn message(stanza_id: &str) -> Message {
    Message {
        login: "@alice:example.org".to_owned(),
        peer: "1@s.whatsapp.net".to_owned(),
        stanza_id: stanza_id.to_owned(),
        event_id: None,
        room_id: "!room:example.org".to_owned(),
        direction: Direction::Out,
        status: Status::Pending,
        ts: 1,
        kind: messages::Kind::Message,
        target: None,
        gone: false,
    }
}

async fn exists(store: &Store, stanza_id: &str) -> bool {
    let message = message(stanza_id);
    messages::get(store, &message.login, &message.peer, stanza_id)
        .await
        .unwrap()
        .is_some()
}

async fn a_failed_batch_leaves_no_trace_and_spares_its_neighbours(database: Database) {
    let store = database.open().await;
    let mut first = Batch::new();
    messages::put(&mut first, &message("taken"));
    store.commit(first).await.unwrap();

    // Submitted without a pause, so that the writer takes them together.
    let pending: Vec<_> = (0..20)
        .map(|i| {
            let mut batch = Batch::new();
            messages::put(&mut batch, &message(&format!("new{i}")));
            if i % 3 == 1 {
                messages::put(&mut batch, &message("taken"));
            }
            store.submit(batch)
        })
        .collect();
    for (i, pending) in pending.into_iter().enumerate() {
        let result = pending.await;
        if i % 3 == 1 {
            assert!(matches!(result, Err(Error::Conflict(_))), "{i}: {result:?}");
        } else {
            result.unwrap();
        }
        assert_eq!(exists(&store, &format!("new{i}")).await, i % 3 != 1, "{i}");
    }

    // A unique key refuses too, and alone.
    let portal = portals::NewPortal {
        login: "@alice:example.org".to_owned(),
        peer: "1@s.whatsapp.net".to_owned(),
        ghost: "@whatsapp_1:example.org".to_owned(),
        room_id: Some("!room:example.org".to_owned()),
        encrypted: true,
        bot_joined: false,
        state: portals::State::New,
    };
    for expected in [true, false] {
        let mut batch = Batch::new();
        meta::put(
            &mut batch,
            "round",
            if expected { "first" } else { "second" },
        );
        portals::put(&mut batch, &portal);
        let result = store.commit(batch).await;
        assert_eq!(result.is_ok(), expected, "{result:?}");
        assert!(expected || result.unwrap_err().is_conflict());
    }
    assert_eq!(meta::get(&store, "round").await.unwrap().unwrap(), "first");
    store.close().await;
}

async fn commits_follow_the_order_of_submission(database: Database) {
    let store = database.open().await;
    let mut last = None;
    for i in 0..300 {
        let mut batch = Batch::new();
        meta::put(&mut batch, "counter", &i.to_string());
        if i % 7 == 0 {
            meta::remove(&mut batch, "counter");
            meta::put(&mut batch, "counter", &i.to_string());
        }
        last = Some(store.submit(batch));
    }
    last.unwrap().await.unwrap();
    assert_eq!(meta::get(&store, "counter").await.unwrap().unwrap(), "299");

    let mut batch = Batch::new();
    meta::put(&mut batch, "counter", "300");
    meta::remove(&mut batch, "counter");
    store.commit(batch).await.unwrap();
    assert_eq!(meta::get(&store, "counter").await.unwrap(), None);
    store.close().await;
}

async fn the_last_write_of_a_key_wins(database: Database) {
    let store = database.open().await;
    let mut batch = Batch::new();
    for i in 0..10 {
        meta::put(&mut batch, &format!("key{}", i % 3), &i.to_string());
    }
    store.commit(batch).await.unwrap();
    for (key, value) in [("key0", "9"), ("key1", "7"), ("key2", "8")] {
        assert_eq!(meta::get(&store, key).await.unwrap().unwrap(), value);
    }
    store.close().await;
}

/// Two batches whose guards would cancel out if only the sum counted: one changes no row, the other one.
async fn a_guard_counts_its_own_rows_only(database: Database) {
    let store = database.open().await;
    let mut first = Batch::new();
    messages::put(&mut first, &message("twice"));
    messages::put(&mut first, &message("twice"));
    assert!(store.commit(first).await.unwrap_err().is_conflict());
    assert!(!exists(&store, "twice").await);

    let mut gone = Batch::new();
    inbox::done(&mut gone, 12345);
    assert!(store.commit(gone).await.unwrap_err().is_conflict());
    store.close().await;
}

async fn many_writers_lose_nothing(database: Database) {
    let store = database.open().await;
    let writers: Vec<_> = (0..32)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for i in 0..25 {
                    let mut batch = Batch::new();
                    messages::put(&mut batch, &message(&format!("{writer}-{i}")));
                    meta::put(&mut batch, &format!("writer{writer}"), &i.to_string());
                    store.commit(batch).await.unwrap();
                    // What is committed can be read at once.
                    assert!(exists(&store, &format!("{writer}-{i}")).await);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(messages::count(&store).await.unwrap(), 32 * 25);
    store.close().await;
}

async fn a_full_queue_makes_committers_wait(database: Database) {
    let mut config = StoreConfig::new(database.url());
    config.queue = 4;
    let store = Store::open(&config, key()).await.unwrap();
    let writers: Vec<_> = (0..64)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut batch = Batch::new();
                messages::put(&mut batch, &message(&i.to_string()));
                store.ready().await;
                store.commit(batch).await
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(messages::count(&store).await.unwrap(), 64);
    store.close().await;
}

async fn dropping_the_answer_does_not_take_the_batch_back(database: Database) {
    let store = database.open().await;
    let mut batch = Batch::new();
    meta::put(&mut batch, "unheard", "yes");
    drop(store.submit(batch));
    store.close().await;
    let store = database.open().await;
    assert_eq!(meta::get(&store, "unheard").await.unwrap().unwrap(), "yes");
    store.close().await;
}

/// A server that restarts, or a firewall that forgets: the next batch goes over a new connection, which has the lock again.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_replaced() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let other = sqlx::PgPool::connect(database.url()).await.unwrap();
    let mut lost = 0;
    for round in 0..3 {
        let sql = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sqlx::query(sql).execute(&other).await.unwrap();
        loop {
            let mut batch = Batch::new();
            messages::put(&mut batch, &message(&format!("round{round}")));
            match store.commit(batch).await {
                Ok(()) => break,
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    lost += 1;
                    assert!(lost < 100, "{error}");
                }
            }
        }
        assert!(exists(&store, &format!("round{round}")).await);
    }
    assert!(
        lost > 0,
        "the connection was cut, so a batch must have failed"
    );
    let error = Store::open(&StoreConfig::new(database.url()), key())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InUse(_)), "{error}");
    store.close().await;
}
