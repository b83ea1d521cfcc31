//! Keys of every kind.

use store::{
    Secret,
    crypto::{self, Change, Object},
    megolm::{self, Seen},
    prune,
    signal::{self, Session},
    tokens::{self, TokenKey},
};
use tests::database::Database;

use super::{LOGIN, PEER, commit};

crate::on_both! {
    prekeys_are_used_once,
    token_keys_rotate,
    crypto_objects,
    a_megolm_key_is_of_one_event,
}

async fn prekeys_are_used_once(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| {
        for id in 1..=5 {
            signal::put_prekey(batch, LOGIN, id, Secret::new(vec![id as u8]));
        }
        signal::put_signed_prekey(batch, LOGIN, 1, Secret::new(*b"one"), 10);
    })
    .await;
    commit(&store, |batch| {
        signal::prekey_uploaded(batch, LOGIN, 1);
        signal::prekey_uploaded(batch, LOGIN, 2);
        signal::put_signed_prekey(batch, LOGIN, 2, Secret::new(*b"two"), 20);
        signal::delete_prekey(batch, LOGIN, 1);
        let session = Session {
            record: Some(Secret::new(*b"ratchet")),
            identity: Some(vec![1; 32]),
        };
        signal::put_session(batch, LOGIN, PEER, &session, 1);
    })
    .await;
    assert!(signal::prekey(&store, LOGIN, 1).await.unwrap().is_none());
    assert_eq!(
        &*signal::prekey(&store, LOGIN, 2)
            .await
            .unwrap()
            .unwrap()
            .record,
        [2]
    );
    assert_eq!(signal::count_prekeys(&store, LOGIN).await.unwrap(), 4);
    assert_eq!(
        signal::prekey_ids(&store, LOGIN).await.unwrap(),
        [2, 3, 4, 5]
    );
    let to_upload = signal::prekeys_to_upload(&store, LOGIN, 2).await.unwrap();
    assert_eq!(
        to_upload.iter().map(|key| key.id).collect::<Vec<_>>(),
        [3, 4]
    );
    let (current, made) = signal::current_signed_prekey(&store, LOGIN)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (current.id, &*current.record, made),
        (2, b"two".as_slice(), 20)
    );
    assert!(
        signal::signed_prekey(&store, LOGIN, 1)
            .await
            .unwrap()
            .is_some(),
        "for late messages"
    );
    commit(&store, |batch| {
        signal::prune_signed_prekeys(batch, LOGIN, 100)
    })
    .await;
    assert!(
        signal::signed_prekey(&store, LOGIN, 1)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        signal::signed_prekey(&store, LOGIN, 2)
            .await
            .unwrap()
            .is_some()
    );

    let session = signal::session(&store, LOGIN, PEER).await.unwrap().unwrap();
    assert_eq!(session.record.as_deref(), Some(b"ratchet".as_slice()));
    let identity_only = Session {
        record: None,
        ..session
    };
    commit(&store, |batch| {
        signal::put_session(batch, LOGIN, PEER, &identity_only, 2)
    })
    .await;
    let session = signal::session(&store, LOGIN, PEER).await.unwrap().unwrap();
    assert!(session.record.is_none() && session.identity == Some(vec![1; 32]));
    commit(&store, |batch| signal::delete_session(batch, LOGIN, PEER)).await;
    assert!(
        signal::session(&store, LOGIN, PEER)
            .await
            .unwrap()
            .is_none()
    );
    store.close().await;
}

async fn token_keys_rotate(database: Database) {
    let store = database.open().await;
    for (kid, created_ts) in [("old", 1), ("new", 2)] {
        let pkcs8 = Secret::new(kid.as_bytes());
        let key = TokenKey {
            kid: kid.to_owned(),
            pkcs8,
            created_ts,
            retired_ts: None,
        };
        commit(&store, |batch| tokens::put(batch, &key)).await;
    }
    commit(&store, |batch| tokens::retire(batch, "old", 3)).await;
    let keys = tokens::list(&store).await.unwrap();
    assert_eq!((keys[0].kid.as_str(), keys[0].retired_ts), ("new", None));
    assert_eq!((keys[1].kid.as_str(), keys[1].retired_ts), ("old", Some(3)));
    assert_eq!(&*keys[1].pkcs8, b"old");
    commit(&store, |batch| tokens::delete(batch, "old")).await;
    assert_eq!(tokens::list(&store).await.unwrap().len(), 1);
    store.close().await;
}

async fn crypto_objects(database: Database) {
    let store = database.open().await;
    let put = |k1: &str, k2: &str, tag: &str, flag| Change::Put {
        kind: "igs",
        object: Object {
            k1: k1.to_owned(),
            k2: k2.to_owned(),
            value: Secret::new(format!("{k1}/{k2}").as_bytes()),
            tag: tag.to_owned(),
            flag,
        },
    };
    commit(&store, |batch| {
        // Byte order, not the order of words: "B" < "a".
        for (k2, tag, flag) in [("a", "t", 0), ("B", "t", 1), ("c", "u", 0), ("+", "t", 0)] {
            crypto::apply(batch, "acct", put("room", k2, tag, flag));
        }
        crypto::apply(batch, "other", put("room", "a", "t", 0));
    })
    .await;
    let names = |objects: Vec<Object>| objects.into_iter().map(|o| o.k2).collect::<Vec<_>>();
    assert_eq!(
        names(
            crypto::tagged(&store, "acct", "igs", "t", "", 2)
                .await
                .unwrap()
        ),
        ["+", "B"]
    );
    assert_eq!(
        names(
            crypto::tagged(&store, "acct", "igs", "t", "B", 2)
                .await
                .unwrap()
        ),
        ["a"]
    );
    assert_eq!(crypto::all(&store, "acct", "igs").await.unwrap().len(), 4);
    assert_eq!(
        crypto::under(&store, "acct", "igs", "room")
            .await
            .unwrap()
            .len(),
        4
    );
    assert!(
        crypto::contains(&store, "acct", "igs", "room", "c")
            .await
            .unwrap()
    );
    let object = crypto::get(&store, "acct", "igs", "room", "c")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&*object.value, b"room/c");

    let left = async |acct: &str| crypto::all(&store, acct, "igs").await.unwrap().len();
    commit(&store, |batch| {
        let (k1, k2) = ("room".to_owned(), "c".to_owned());
        crypto::apply(
            batch,
            "acct",
            Change::Delete {
                kind: "igs",
                k1,
                k2,
            },
        );
    })
    .await;
    assert_eq!(left("acct").await, 3);
    commit(&store, |batch| crypto::prune(batch, "igs", 1)).await;
    assert_eq!((left("acct").await, left("other").await), (3, 1));
    // Those without a flag stay.
    commit(&store, |batch| crypto::prune(batch, "igs", 2)).await;
    assert_eq!((left("acct").await, left("other").await), (2, 1));
    commit(&store, |batch| crypto::forget(batch, "acct")).await;
    assert_eq!(left("acct").await, 0);
    store.close().await;
}

async fn a_megolm_key_is_of_one_event(database: Database) {
    let store = database.open().await;
    let seen = |event_id, seen_ts| Seen {
        session_id: "session",
        message_index: u32::MAX,
        event_id,
        seen_ts,
    };
    commit(&store, |batch| megolm::put(batch, &seen("$first", 10))).await;
    // The first one stays, and comes again without harm.
    for other in ["$second", "$first"] {
        commit(&store, |batch| megolm::put(batch, &seen(other, 20))).await;
    }
    let event_of = async |session, index| megolm::event_of(&store, session, index).await.unwrap();
    assert_eq!(
        event_of("session", u32::MAX).await.as_deref(),
        Some("$first")
    );
    assert_eq!(event_of("session", 0).await, None);
    assert_eq!(event_of("another", u32::MAX).await, None);
    commit(&store, |batch| prune::megolm_indexes(batch, 10)).await;
    assert!(event_of("session", u32::MAX).await.is_some());
    commit(&store, |batch| prune::megolm_indexes(batch, 11)).await;
    assert_eq!(event_of("session", u32::MAX).await, None);
}
