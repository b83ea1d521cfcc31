//! What is left when a user goes.

use store::{
    Batch, Secret, Store, StoreConfig,
    consents::{self, Consent},
    contacts::{self, Contact},
    fading::{self, Fading},
    inbox::{self, NewEvent, Transaction},
    logins::{self, Login, State},
    media,
    messages::{self, Direction, Kind, Message, Status},
    outbox,
    portals::{self, NewPortal},
    preferences::{self, Preferences},
    reports,
    sends::{self, Method, NewSend},
    signal::{self, Session},
    undecryptable,
};
use tests::database::{Database, key};

crate::on_both! { an_erased_user_leaves_nothing, who_leaves_keeps_the_chats, }

const PEER: &str = "123@s.whatsapp.net";

async fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    store.commit(batch).await.unwrap();
}

fn user(name: &str) -> String {
    format!("@{name}:example.org")
}

fn send(name: &str, part: &str, room: &str) -> NewSend {
    NewSend {
        txn_id: format!("{name} {part}"),
        room_id: room.to_owned(),
        sender: "@bot:example.org".to_owned(),
        device_id: "D".to_owned(),
        method: Method::Send,
        event_type: "m.room.encrypted".to_owned(),
        target: None,
        content: "{}".to_owned(),
        ts: 1,
        login: None,
        peer: None,
        stanza_id: None,
    }
}

/// A user with something in every table that speaks of users.
async fn fill(store: &Store, name: &str) {
    let login = user(name);
    let room = |which: &str| format!("!{which}-{name}:example.org");
    commit(store, |batch| {
        logins::put(
            batch,
            &Login {
                mxid: login.clone(),
                state: State::Active,
                jid: Some(format!("1-{name}@interop")),
                account_id: Some(login.clone()),
                registration_id: 7,
                identity: Some(Secret::new(*b"identity")),
                noise_key: Some(Secret::new(*b"noise")),
                next_prekey_id: 2,
                routing_info: Some(vec![1]),
                management_room: None,
                last_error: None,
                created_ts: 1,
                updated_ts: 1,
            },
        );
        consents::put(
            batch,
            &Consent {
                mxid: login.clone(),
                version: "1".to_owned(),
                text_sha256: "00".to_owned(),
                accepted_ts: 1,
                withdrawn_ts: None,
            },
        );
        preferences::put(
            batch,
            &login,
            Preferences {
                read_receipts: false,
            },
        );
        contacts::put(
            batch,
            &Contact {
                login: login.clone(),
                peer: PEER.to_owned(),
                phone: "+123".to_owned(),
                alias: None,
            },
        );
        signal::put_prekey(batch, &login, 1, Secret::new(*b"one"));
        signal::put_signed_prekey(batch, &login, 1, Secret::new(*b"signed"), 1);
        let session = Session {
            record: Some(Secret::new(*b"ratchet")),
            identity: None,
        };
        signal::put_session(batch, &login, PEER, &session, 1);
        portals::put(
            batch,
            &NewPortal {
                login: login.clone(),
                peer: PEER.to_owned(),
                ghost: "@whatsapp_123:example.org".to_owned(),
                room_id: Some(room("now")),
                encrypted: true,
                bot_joined: true,
                state: portals::State::Active,
            },
        );
        messages::put(
            batch,
            &Message {
                login: login.clone(),
                peer: PEER.to_owned(),
                stanza_id: "1".to_owned(),
                event_id: Some(format!("$1-{name}")),
                room_id: room("now"),
                direction: Direction::Out,
                status: Status::Pending,
                ts: 1,
                kind: Kind::Message,
                target: None,
                gone: false,
            },
        );
        outbox::put(
            batch,
            outbox::NewStanza {
                login: login.clone(),
                peer: PEER.to_owned(),
                stanza_id: "1".to_owned(),
                kind: outbox::Kind::Message,
                stanza: vec![1],
                event_id: Some(format!("$1-{name}")),
            },
        );
        undecryptable::count(batch, &login, PEER, "2", 1);
        fading::put(
            batch,
            &Fading {
                login: login.clone(),
                peer: PEER.to_owned(),
                stanza_id: "3".to_owned(),
                room_id: room("now"),
                due_ts: 1,
                when_read: false,
            },
        );
        media::put(
            batch,
            media::Hosted {
                reference: format!("reference of {name}"),
                login: login.clone(),
                peer: PEER.to_owned(),
                event_id: format!("$file-{name}"),
                keys: Secret::new(vec![1; 64]),
                enc_sha256: vec![2; 32],
                length: 1,
                kind: "image".to_owned(),
                thumbnail: None,
                created_ts: 1,
                expires_ts: 2,
            },
        );
        media::put_missing(
            batch,
            media::Missing {
                login: login.clone(),
                peer: PEER.to_owned(),
                stanza_id: "4".to_owned(),
                content: Secret::new(*b"content"),
                created_ts: 1,
            },
        );
        reports::put(
            batch,
            &reports::NewReport {
                about: format!("$1-{name}"),
                login: login.clone(),
                peer: PEER.to_owned(),
                kind: reports::Kind::Waiting,
                reason: "no_key".to_owned(),
                body: "why".to_owned(),
                loud: true,
                created_ts: 1,
            },
        );
        sends::put(batch, send(name, "now", &room("now")));
        sends::put(batch, send(name, "before", &room("before")));
    })
    .await;
    let portal = portals::by_peer(store, &login, PEER)
        .await
        .unwrap()
        .unwrap();
    commit(store, |batch| {
        portals::leave_room(batch, portal.id, &room("before"));
    })
    .await;
    let events = ["now", "before"].map(|which| NewEvent {
        event_id: format!("$in-{which}-{name}"),
        room_id: room(which),
        sender: login.clone(),
        kind: "m.room.encrypted".to_owned(),
        body: "{}".to_owned(),
    });
    let transaction = Transaction {
        hs: "example.org".to_owned(),
        txn_id: format!("txn of somebody {}", name.len()),
        received_ts: 1,
        events: events.into(),
        ..Transaction::default()
    };
    inbox::accept(store, transaction).await.unwrap();
}

/// Where a word stands in the database, as table and column. Event ids that were seen are no user's data, and do not count.
async fn found(database: &Database, word: &str) -> Vec<String> {
    let (tables, columns): (&str, fn(&str) -> String) = if database.url().starts_with("sqlite:") {
        (
            "SELECT name FROM sqlite_master WHERE type = 'table'",
            |table| format!("SELECT name FROM pragma_table_info('{table}')"),
        )
    } else {
        (
            "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'",
            |table| {
                format!(
                    "SELECT column_name::text FROM information_schema.columns WHERE table_name = '{table}'"
                )
            },
        )
    };
    let mut found = Vec::new();
    for table in query(database, tables.to_owned()).await {
        if table == "inbox_events" {
            continue;
        }
        for column in query(database, columns(&table)).await {
            let sql = format!(
                "SELECT CAST(COUNT(*) AS TEXT) FROM \"{table}\" WHERE CAST(\"{column}\" AS TEXT) LIKE '%{word}%'"
            );
            if query(database, sql).await != ["0"] {
                found.push(format!("{table}.{column}"));
            }
        }
    }
    found
}

async fn query(database: &Database, sql: String) -> Vec<String> {
    let sql = sqlx::AssertSqlSafe(sql);
    if let Some(path) = database.url().strip_prefix("sqlite:") {
        let pool = sqlx::SqlitePool::connect(path).await.unwrap();
        let rows = sqlx::query_scalar(sql).fetch_all(&pool).await.unwrap();
        pool.close().await;
        rows
    } else {
        let pool = sqlx::PgPool::connect(database.url()).await.unwrap();
        let rows = sqlx::query_scalar(sql).fetch_all(&pool).await.unwrap();
        pool.close().await;
        rows
    }
}

async fn an_erased_user_leaves_nothing(database: Database) {
    let store = database.open().await;
    fill(&store, "alice").await;
    fill(&store, "bob").await;
    let before = found(&database, "alice").await;
    for table in [
        "logins",
        "consents",
        "preferences",
        "contacts",
        "signal_prekeys",
        "signal_signed_prekeys",
        "signal_sessions",
        "portals",
        "former_rooms",
        "messages",
        "outbox",
        "undecryptable",
        "fading",
        "media",
        "media_missing",
        "reports",
        "sends",
        "inbox",
    ] {
        assert!(
            before
                .iter()
                .any(|place| place.starts_with(&format!("{table}."))),
            "{table} holds something of her: {before:?}"
        );
    }
    let bob = found(&database, "bob").await;

    commit(&store, |batch| logins::erase_rooms(batch, &user("alice"))).await;
    commit(&store, |batch| {
        logins::erase_former_rooms(batch, &user("alice"));
    })
    .await;
    commit(&store, |batch| logins::erase_all(batch, &user("alice"))).await;
    assert_eq!(found(&database, "alice").await, Vec::<String>::new());
    assert_eq!(found(&database, "bob").await, bob, "he stays");
    store.close().await;
    // Nothing is missed at the next start.
    let store = Store::open(&StoreConfig::new(database.url()), key())
        .await
        .unwrap();
    assert_eq!(logins::list(&store).await.unwrap().len(), 1);
    store.close().await;
}

async fn who_leaves_keeps_the_chats(database: Database) {
    let store = database.open().await;
    fill(&store, "alice").await;
    let login = user("alice");
    commit(&store, |batch| {
        logins::set_left(batch, &login, 9);
        logins::forget_identity(batch, &login);
    })
    .await;
    let row = logins::get(&store, &login).await.unwrap().unwrap();
    assert_eq!((row.state, row.updated_ts), (State::Left, 9));
    assert!(row.jid.is_none() && row.identity.is_none() && row.noise_key.is_none());
    assert!(
        signal::session(&store, &login, PEER)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(signal::count_prekeys(&store, &login).await.unwrap(), 0);
    assert_eq!(outbox::count(&store).await.unwrap(), 0);
    assert!(
        portals::by_peer(&store, &login, PEER)
            .await
            .unwrap()
            .is_some()
    );
    let message = messages::get(&store, &login, PEER, "1").await.unwrap();
    assert!(message.is_some());
    store.close().await;
}
