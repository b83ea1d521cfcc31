use store::{
    Batch, Secret, Store,
    consents::{self, Consent},
    contacts::{self, Contact},
    crypto::{self, Change, Object},
    fading::{self, Fading},
    ghosts::{self, Ghost, Stage},
    logins::{self, Login, State},
    messages::{self, Direction, Kind, Message, Status},
    portals::{self, NewPortal},
    prune,
    signal::{self, Session},
    tokens::{self, TokenKey},
};
use tests::database::Database;

crate::on_both! {
    logins_and_what_belongs_to_them,
    prekeys_are_used_once,
    ghosts_go_through_their_stages,
    portals_are_found_three_ways,
    a_status_only_moves_on,
    read_markers_find_their_messages,
    what_is_about_a_message,
    messages_fade,
    token_keys_rotate,
    crypto_objects,
}

const LOGIN: &str = "@alice:example.org";
const PEER: &str = "123@s.whatsapp.net";

async fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    store.commit(batch).await.unwrap();
}

fn login() -> Login {
    Login {
        mxid: LOGIN.to_owned(),
        state: State::Enlisting,
        jid: None,
        account_id: Some("account".to_owned()),
        registration_id: 77,
        identity: Some(Secret::new(*b"identity")),
        noise_key: Some(Secret::new(*b"noise")),
        next_prekey_id: 1,
        routing_info: None,
        management_room: None,
        last_error: None,
        created_ts: 1,
        updated_ts: 1,
    }
}

async fn logins_and_what_belongs_to_them(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| {
        logins::put(batch, &login());
        let text_sha256 = "00".to_owned();
        consents::put(
            batch,
            &Consent {
                mxid: LOGIN.to_owned(),
                version: "1".to_owned(),
                text_sha256,
                accepted_ts: 1,
                withdrawn_ts: None,
            },
        );
        contacts::put(
            batch,
            &Contact {
                login: LOGIN.to_owned(),
                peer: PEER.to_owned(),
                phone: "+123".to_owned(),
                alias: None,
            },
        );
    })
    .await;
    commit(&store, |batch| {
        logins::set_enlisted(batch, LOGIN, "1-1@interop", 2);
        logins::set_routing_info(batch, LOGIN, Some(b"route"));
        logins::set_management_room(batch, LOGIN, Some("!bot:example.org"));
        logins::take_prekey_ids(batch, LOGIN, 1, 31);
    })
    .await;
    let found = logins::by_jid(&store, "1-1@interop")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.state, State::Active);
    assert_eq!(found.identity.as_deref(), Some(b"identity".as_slice()));
    assert_eq!(found.noise_key.as_deref(), Some(b"noise".as_slice()));
    assert_eq!(found.routing_info.as_deref(), Some(b"route".as_slice()));
    assert_eq!((found.next_prekey_id, found.updated_ts), (31, 2));
    assert!(!format!("{found:?}").contains("noise\""));
    assert!(
        logins::by_account_id(&store, "account")
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        logins::by_management_room(&store, "!bot:example.org")
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(
        logins::in_state(&store, State::Active).await.unwrap().len(),
        1
    );
    assert_eq!(
        logins::in_state(&store, State::Refused)
            .await
            .unwrap()
            .len(),
        0
    );
    assert_eq!(
        contacts::by_phone(&store, LOGIN, "+123")
            .await
            .unwrap()
            .unwrap()
            .peer,
        PEER
    );
    assert!(contacts::get(&store, LOGIN, PEER).await.unwrap().is_some());

    let mut stale = Batch::new();
    logins::take_prekey_ids(&mut stale, LOGIN, 1, 31);
    assert!(
        store.commit(stale).await.unwrap_err().is_conflict(),
        "ids are given out once"
    );

    commit(&store, |batch| {
        logins::set_state(batch, LOGIN, State::Refused, Some("no"), 3);
        consents::withdraw(batch, LOGIN, 4);
    })
    .await;
    assert_eq!(
        logins::get(&store, LOGIN)
            .await
            .unwrap()
            .unwrap()
            .last_error
            .as_deref(),
        Some("no")
    );
    assert!(consents::current(&store, LOGIN).await.unwrap().is_none());
    assert_eq!(
        consents::history(&store, LOGIN).await.unwrap()[0].withdrawn_ts,
        Some(4)
    );

    commit(&store, |batch| logins::erase_all(batch, LOGIN)).await;
    assert!(logins::list(&store).await.unwrap().is_empty());
    assert!(contacts::list(&store, LOGIN).await.unwrap().is_empty());
    assert!(consents::history(&store, LOGIN).await.unwrap().is_empty());
    let mut missing = Batch::new();
    logins::set_state(&mut missing, LOGIN, State::Active, None, 5);
    assert!(store.commit(missing).await.unwrap_err().is_conflict());
    store.close().await;
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

async fn ghosts_go_through_their_stages(database: Database) {
    let store = database.open().await;
    let ghost = |n: u32| Ghost {
        mxid: format!("@whatsapp_{n}:example.org"),
        phone: Some(format!("+{n}")),
        peer: None,
        device_id: "DEVICE".to_owned(),
        stage: Stage::New,
        display_name: None,
        created_ts: 1,
    };
    commit(&store, |batch| {
        (1..=3).for_each(|n| ghosts::put(batch, &ghost(n)))
    })
    .await;
    let mxid = ghost(2).mxid;
    commit(&store, |batch| {
        ghosts::set_stage(batch, &mxid, Stage::Signed);
        ghosts::set_display_name(batch, &mxid, Some("Bea"));
        ghosts::set_peer(batch, &mxid, Some(PEER));
        // A second registration leaves the first alone.
        ghosts::put(batch, &ghost(2));
    })
    .await;
    let found = ghosts::get(&store, &mxid).await.unwrap().unwrap();
    assert_eq!(
        (found.stage, found.display_name.as_deref()),
        (Stage::Signed, Some("Bea"))
    );
    assert_eq!(found.peer.as_deref(), Some(PEER));
    assert_eq!(
        ghosts::by_phone(&store, "+2").await.unwrap().unwrap().mxid,
        mxid
    );
    assert_eq!(
        ghosts::at_stage(&store, Stage::New, 10)
            .await
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        ghosts::list(&store, &ghost(1).mxid, 1).await.unwrap()[0].mxid,
        mxid
    );
    commit(&store, |batch| ghosts::delete(batch, &mxid)).await;
    assert_eq!(ghosts::count(&store).await.unwrap(), 2);
    store.close().await;
}

async fn portals_are_found_three_ways(database: Database) {
    let store = database.open().await;
    let portal = NewPortal {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        ghost: "@whatsapp_123:example.org".to_owned(),
        room_id: None,
        encrypted: false,
        bot_joined: false,
        state: portals::State::New,
    };
    commit(&store, |batch| portals::put(batch, &portal)).await;
    let id = portals::by_peer(&store, LOGIN, PEER)
        .await
        .unwrap()
        .unwrap()
        .id;
    commit(&store, |batch| {
        portals::set_room(batch, id, Some("!room:example.org"));
        portals::set_flags(batch, id, true, true);
        portals::set_state(batch, id, portals::State::Active);
    })
    .await;
    let found = portals::by_room(&store, "!room:example.org")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.id, found.encrypted, found.bot_joined),
        (id, true, true)
    );
    assert_eq!(found.state, portals::State::Active);
    assert_eq!(portals::by_login(&store, LOGIN).await.unwrap().len(), 1);
    assert_eq!(
        portals::by_ghost(&store, &portal.ghost)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(portals::list(&store, 0, 10).await.unwrap().len(), 1);
    commit(&store, |batch| {
        portals::leave_room(batch, id, "!room:example.org");
        portals::set_room(batch, id, Some("!next:example.org"));
    })
    .await;
    let former = portals::by_former_room(&store, "!room:example.org").await;
    let room = former.unwrap().unwrap().room_id;
    assert_eq!(room.as_deref(), Some("!next:example.org"));
    commit(&store, |batch| {
        portals::return_to_room(batch, "!room:example.org");
    })
    .await;
    let former = portals::by_former_room(&store, "!room:example.org").await;
    assert!(former.unwrap().is_none());
    assert!(portals::get(&store, id).await.unwrap().is_some());
    commit(&store, |batch| portals::delete(batch, id)).await;
    assert!(portals::get(&store, id).await.unwrap().is_none());
    store.close().await;
}

fn message(stanza_id: &str, direction: Direction, ts: i64) -> Message {
    Message {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: stanza_id.to_owned(),
        event_id: Some(format!("${stanza_id}")),
        room_id: "!room:example.org".to_owned(),
        direction,
        status: Status::Pending,
        ts,
        kind: Kind::Message,
        target: None,
        gone: false,
    }
}

async fn a_status_only_moves_on(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| {
        messages::put(batch, &message("1", Direction::Out, 1))
    })
    .await;
    for (to, now) in [
        (Status::Failed, Status::Failed),
        (Status::Delivered, Status::Delivered),
        (Status::Sent, Status::Delivered),
        (Status::Read, Status::Read),
        (Status::Delivered, Status::Read),
        (Status::Played, Status::Played),
    ] {
        commit(&store, |batch| {
            messages::advance(batch, LOGIN, PEER, "1", to)
        })
        .await;
        assert_eq!(
            messages::get(&store, LOGIN, PEER, "1")
                .await
                .unwrap()
                .unwrap()
                .status,
            now
        );
    }
    assert_eq!(
        messages::by_stanza(&store, LOGIN, "1").await.unwrap().len(),
        1
    );
    commit(&store, |batch| {
        messages::put(batch, &message("2", Direction::Out, 1));
        prune::messages(batch, 2);
    })
    .await;
    assert!(
        messages::get(&store, LOGIN, PEER, "1")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        messages::get(&store, LOGIN, PEER, "2")
            .await
            .unwrap()
            .is_some(),
        "not delivered yet"
    );
    store.close().await;
}

async fn read_markers_find_their_messages(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| {
        for (id, direction, ts) in [
            ("a", Direction::In, 10),
            ("b", Direction::In, 20),
            ("c", Direction::Out, 30),
            ("d", Direction::In, 40),
        ] {
            messages::put(batch, &message(id, direction, ts));
        }
    })
    .await;
    let room = "!room:example.org";
    let last = messages::last_until(&store, room, Direction::In, 35)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(last.stanza_id, "b");
    let unread = |messages: Vec<Message>| {
        messages
            .into_iter()
            .map(|m| m.stanza_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        unread(messages::unread_until(&store, room, 40, 10).await.unwrap()),
        ["d", "b", "a"]
    );
    commit(&store, |batch| {
        messages::advance(batch, LOGIN, PEER, "b", Status::Read)
    })
    .await;
    assert_eq!(
        unread(messages::unread_until(&store, room, 30, 10).await.unwrap()),
        ["a"]
    );
    assert!(
        messages::last_until(&store, room, Direction::In, 9)
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
    assert_eq!((left("acct").await, left("other").await), (1, 0));
    commit(&store, |batch| crypto::forget(batch, "acct")).await;
    assert_eq!(left("acct").await, 0);
    store.close().await;
}

async fn what_is_about_a_message(database: Database) {
    let store = database.open().await;
    let about = |id: &str, kind, ts| Message {
        kind,
        target: Some("1".to_owned()),
        ..message(id, Direction::In, ts)
    };
    commit(&store, |batch| {
        messages::put(batch, &message("1", Direction::In, 1));
        messages::put(batch, &about("3", Kind::Edit, 3));
        messages::put(batch, &about("2", Kind::Reaction, 2));
        messages::put(batch, &message("4", Direction::In, 4));
    })
    .await;
    commit(&store, |batch| messages::set_gone(batch, LOGIN, PEER, "2")).await;
    let found = messages::about(&store, LOGIN, PEER, "1").await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|row| (row.stanza_id.as_str(), row.kind, row.gone))
        .collect();
    assert_eq!(
        found,
        [("2", Kind::Reaction, true), ("3", Kind::Edit, false)]
    );
    let unread = messages::unread_until(&store, "!room:example.org", 9, 9)
        .await
        .unwrap();
    let unread: Vec<_> = unread.iter().map(|row| row.stanza_id.as_str()).collect();
    assert_eq!(unread, ["4", "1"], "a reaction is not read");
    store.close().await;
}

async fn messages_fade(database: Database) {
    let store = database.open().await;
    let fade = |id: &str, due_ts, when_read| Fading {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: id.to_owned(),
        room_id: "!room:example.org".to_owned(),
        due_ts,
        when_read,
    };
    commit(&store, |batch| {
        messages::put(batch, &message("1", Direction::In, 1));
        messages::put(batch, &message("2", Direction::In, 2));
        fading::put(batch, &fade("1", 100, true));
        fading::put(batch, &fade("2", 50, false));
        fading::put(batch, &fade("2", 10, false));
    })
    .await;
    assert_eq!(fading::next(&store).await.unwrap(), Some(50));
    assert!(fading::due(&store, 49, 9).await.unwrap().is_empty());
    let room = "!room:example.org";
    assert!(fading::unread(&store, room, 0, 9).await.unwrap().is_empty());
    let read = fading::unread(&store, room, 9, 9).await.unwrap();
    assert_eq!(read.len(), 1);
    commit(&store, |batch| fading::set_due(batch, &read[0], 20)).await;
    let due = fading::due(&store, 50, 9).await.unwrap();
    let ids: Vec<_> = due.iter().map(|row| row.stanza_id.as_str()).collect();
    assert_eq!(ids, ["1", "2"]);
    commit(&store, |batch| {
        due.iter().for_each(|row| fading::done(batch, row))
    })
    .await;
    assert_eq!(fading::next(&store).await.unwrap(), None);
    store.close().await;
}
