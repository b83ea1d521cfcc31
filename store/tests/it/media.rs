use store::{
    Batch, Error, Secret, Store, logins,
    media::{self, Hosted, Missing},
};
use tests::database::Database;

crate::on_both! {
    a_hosted_file_lives_and_ends,
    an_event_has_one_file,
    missing_files_are_found_once,
    erasing_a_login_takes_its_files,
}

const LOGIN: &str = "@alice:example.org";
const PEER: &str = "123@s.whatsapp.net";

async fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) -> Result<(), Error> {
    let mut batch = Batch::new();
    fill(&mut batch);
    store.commit(batch).await
}

fn hosted(reference: &str, event_id: &str) -> Hosted {
    Hosted {
        reference: reference.to_owned(),
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        event_id: event_id.to_owned(),
        keys: Secret::new([7; 64]),
        enc_sha256: vec![8; 32],
        length: 1 << 33,
        kind: "image".to_owned(),
        thumbnail: Some(Secret::new(*b"jpeg")),
        created_ts: 10,
        expires_ts: 1000,
    }
}

async fn a_hosted_file_lives_and_ends(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| media::put(batch, hosted("a", "$1")))
        .await
        .unwrap();
    commit(&store, |batch| {
        media::put(
            batch,
            Hosted {
                thumbnail: None,
                ..hosted("b", "$2")
            },
        );
    })
    .await
    .unwrap();
    let found = media::by_event(&store, "$1").await.unwrap().unwrap();
    assert_eq!(found.reference, "a");
    assert_eq!(*found.keys, [7; 64]);
    assert_eq!(found.thumbnail.as_deref(), Some(b"jpeg".as_slice()));
    assert_eq!(found.length, 1 << 33);
    let other = media::by_reference(&store, "b").await.unwrap().unwrap();
    assert!(other.thumbnail.is_none());
    assert!(media::by_reference(&store, "c").await.unwrap().is_none());

    assert!(media::ended(&store, 999, 10).await.unwrap().is_empty());
    commit(&store, |batch| media::end(batch, "$1", 50))
        .await
        .unwrap();
    commit(&store, |batch| media::end(batch, "$1", 60))
        .await
        .unwrap();
    let found = media::by_event(&store, "$1").await.unwrap().unwrap();
    assert_eq!(found.expires_ts, 50, "it ends once");
    assert_eq!(media::ended(&store, 999, 10).await.unwrap(), ["a"]);
    assert_eq!(media::ended(&store, 1000, 10).await.unwrap(), ["a", "b"]);

    commit(&store, |batch| media::prune(batch, 5000))
        .await
        .unwrap();
    assert!(
        media::by_event(&store, "$1").await.unwrap().is_some(),
        "a row outlives its file"
    );
    commit(&store, |batch| media::removed(batch, "a"))
        .await
        .unwrap();
    assert_eq!(media::ended(&store, 1000, 10).await.unwrap(), ["b"]);
    assert_eq!(media::count(&store).await.unwrap(), 1);
    commit(&store, |batch| media::prune(batch, 5000))
        .await
        .unwrap();
    assert!(media::by_event(&store, "$1").await.unwrap().is_none());
    store.close().await;
}

async fn an_event_has_one_file(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| media::put(batch, hosted("a", "$1")))
        .await
        .unwrap();
    let second = commit(&store, |batch| media::put(batch, hosted("b", "$1"))).await;
    assert!(second.is_err(), "a second file for the same event");
    assert!(media::by_reference(&store, "b").await.unwrap().is_none());
    commit(&store, |batch| media::forget(batch, "a"))
        .await
        .unwrap();
    commit(&store, |batch| media::put(batch, hosted("b", "$1")))
        .await
        .unwrap();
    store.close().await;
}

async fn missing_files_are_found_once(database: Database) {
    let store = database.open().await;
    let missing = |content: &[u8]| Missing {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: "ID".to_owned(),
        content: Secret::new(content),
        created_ts: 5,
    };
    for content in [b"one".as_slice(), b"two"] {
        commit(&store, |batch| media::put_missing(batch, missing(content)))
            .await
            .unwrap();
    }
    let row = media::missing(&store, LOGIN, PEER, "ID").await.unwrap();
    assert_eq!(*row.unwrap().content, *b"two");
    commit(&store, |batch| media::found(batch, LOGIN, PEER, "ID"))
        .await
        .unwrap();
    let again = commit(&store, |batch| media::found(batch, LOGIN, PEER, "ID")).await;
    assert!(matches!(again, Err(Error::Conflict { .. })), "{again:?}");
    commit(&store, |batch| media::put_missing(batch, missing(b"x")))
        .await
        .unwrap();
    commit(&store, |batch| media::prune(batch, 6))
        .await
        .unwrap();
    let row = media::missing(&store, LOGIN, PEER, "ID").await.unwrap();
    assert!(row.is_none());
    store.close().await;
}

async fn erasing_a_login_takes_its_files(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| {
        media::put(batch, hosted("a", "$1"));
        media::put_missing(
            batch,
            Missing {
                login: LOGIN.to_owned(),
                peer: PEER.to_owned(),
                stanza_id: "ID".to_owned(),
                content: Secret::new(*b"x"),
                created_ts: 5,
            },
        );
    })
    .await
    .unwrap();
    commit(&store, |batch| logins::erase_all(batch, LOGIN))
        .await
        .unwrap();
    assert!(media::by_reference(&store, "a").await.unwrap().is_none());
    let row = media::missing(&store, LOGIN, PEER, "ID").await.unwrap();
    assert!(row.is_none());
    store.close().await;
}
