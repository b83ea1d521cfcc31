//! Every schema that was ever in use, with rows in it, comes up to date. The fixtures are databases as an older gatehouse
//! left them, written as SQL; `make_fixtures` adds the ones of migrations that have none yet.

use std::{collections::BTreeMap, fs, path::PathBuf};

use store::{
    Batch, Secret, Store,
    consents::{self, Consent},
    contacts::{self, Contact},
    crypto::{self, Change, Object},
    fading::{self, Fading},
    ghosts::{self, Ghost, Stage},
    inbox::{self, NewEvent, Transaction, to_device},
    logins::{self, Login, State},
    media::{self, Hosted, Missing},
    megolm,
    messages::{self, Direction, Kind, Message, Status},
    meta, outbox,
    portals::{self, NewPortal},
    preferences::{self, Preferences},
    quarantine,
    reports::{self, NewReport},
    sends,
    signal::{self, Session},
    tokens::{self, TokenKey},
    undecryptable,
};
use tests::database::{Database, execute};

crate::on_both! { every_schema_comes_up_to_date, }

const LOGIN: &str = "@alice:example.org";
const PEER: &str = "123@s.whatsapp.net";
const ROOM: &str = "!room:example.org";

fn fixtures(engine: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(engine)
}

fn migrations(engine: &str) -> BTreeMap<u32, String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../migrations")
        .join(engine);
    numbered(&folder)
}

/// Files whose names begin with a number, by it.
fn numbered(folder: &std::path::Path) -> BTreeMap<u32, String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (
                name[..4].parse().unwrap(),
                fs::read_to_string(path).unwrap(),
            )
        })
        .collect()
}

async fn every_schema_comes_up_to_date(first: Database) {
    let sqlite = first.folder().is_some();
    let engine = if sqlite { "sqlite" } else { "postgres" };
    let all = numbered(&fixtures(engine));
    assert!(all.len() >= 6, "the fixtures are in store/tests/fixtures");
    let fresh = first;
    fresh.open().await.close().await;
    let expected = schema(&fresh).await;
    for (version, sql) in all {
        let old = if sqlite {
            Database::sqlite()
        } else {
            Database::postgres().await
        };
        execute(old.url(), &sql).await.unwrap();
        let store = old.open().await;
        check(&store, version).await;
        store.close().await;
        assert_eq!(schema(&old).await, expected, "from {version:04}");
        // Once more, now that it is up to date.
        let store = old.open().await;
        check(&store, version).await;
        store.close().await;
    }
}

/// Every table, column and index, in order.
async fn schema(database: &Database) -> Vec<String> {
    let sql = if database.folder().is_some() {
        "SELECT m.name || ' ' || coalesce(c.name, '') || ' ' || coalesce(c.type, '') || ' ' || coalesce(c.\"notnull\", '') \
         || ' ' || coalesce(c.dflt_value, '') || ' ' || coalesce(c.pk, '') \
         FROM sqlite_schema m LEFT JOIN pragma_table_info(m.name) c ORDER BY 1"
    } else {
        "SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '') \
         FROM information_schema.columns WHERE table_schema = 'public' \
         UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    };
    rows(database.url(), sql).await
}

async fn rows(url: &str, sql: &str) -> Vec<String> {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    match url.strip_prefix("sqlite:") {
        Some(path) => {
            let pool = sqlx::SqlitePool::connect(path).await.unwrap();
            let rows = sqlx::query_scalar(sql).fetch_all(&pool).await.unwrap();
            pool.close().await;
            rows
        }
        None => {
            let pool = sqlx::PgPool::connect(url).await.unwrap();
            let rows = sqlx::query_scalar(sql).fetch_all(&pool).await.unwrap();
            pool.close().await;
            rows
        }
    }
}

fn login() -> Login {
    Login {
        mxid: LOGIN.to_owned(),
        state: State::Active,
        jid: Some("1-1@interop".to_owned()),
        account_id: Some("account".to_owned()),
        registration_id: 77,
        identity: Some(Secret::new(*b"identity")),
        noise_key: Some(Secret::new(*b"noise")),
        next_prekey_id: 2,
        routing_info: Some(b"route".to_vec()),
        management_room: Some("!bot:example.org".to_owned()),
        last_error: None,
        created_ts: 1,
        updated_ts: 1,
    }
}

/// A row in every table.
async fn fill(store: &Store) {
    let transaction = Transaction {
        hs: "example.org".to_owned(),
        txn_id: "1".to_owned(),
        received_ts: 1000,
        held: false,
        events: vec![NewEvent {
            event_id: "$inbox".to_owned(),
            room_id: ROOM.to_owned(),
            sender: LOGIN.to_owned(),
            kind: "m.room.encrypted".to_owned(),
            body: "{\"body\":\"of the event\"}".to_owned(),
        }],
        to_device: vec![to_device::NewMessage {
            user_id: "@whatsapp_123:example.org".to_owned(),
            device_id: "DEVICE".to_owned(),
            body: "{\"to\":\"device\"}".to_owned(),
        }],
        device_changes: Some("{}".to_owned()),
    };
    inbox::accept(store, transaction).await.unwrap();
    let mut batch = Batch::new();
    meta::put(&mut batch, meta::SERVER_NAME, "example.org");
    logins::put(&mut batch, &login());
    consents::put(
        &mut batch,
        &Consent {
            mxid: LOGIN.to_owned(),
            version: "1".to_owned(),
            text_sha256: "00".to_owned(),
            accepted_ts: 1,
            withdrawn_ts: None,
        },
    );
    signal::put_prekey(&mut batch, LOGIN, 1, Secret::new(*b"prekey"));
    signal::put_signed_prekey(&mut batch, LOGIN, 1, Secret::new(*b"signed"), 10);
    let session = Session {
        record: Some(Secret::new(*b"ratchet")),
        identity: Some(vec![1; 32]),
    };
    signal::put_session(&mut batch, LOGIN, PEER, &session, 1);
    contacts::put(
        &mut batch,
        &Contact {
            login: LOGIN.to_owned(),
            peer: PEER.to_owned(),
            phone: "123".to_owned(),
            alias: None,
        },
    );
    ghosts::put(
        &mut batch,
        &Ghost {
            mxid: "@whatsapp_123:example.org".to_owned(),
            phone: Some("+123".to_owned()),
            peer: Some(PEER.to_owned()),
            device_id: "DEVICE".to_owned(),
            stage: Stage::Signed,
            display_name: Some("+123".to_owned()),
            created_ts: 1,
        },
    );
    portals::put(
        &mut batch,
        &NewPortal {
            login: LOGIN.to_owned(),
            peer: PEER.to_owned(),
            ghost: "@whatsapp_123:example.org".to_owned(),
            room_id: Some(ROOM.to_owned()),
            encrypted: true,
            bot_joined: true,
            state: portals::State::Active,
        },
    );
    portals::leave_room(&mut batch, 1, "!former:example.org");
    messages::put(&mut batch, &message());
    outbox::put(&mut batch, stanza());
    sends::put(&mut batch, send());
    undecryptable::count(&mut batch, LOGIN, PEER, "lost", 5);
    crypto::apply(
        &mut batch,
        "@whatsapp_123:example.org|DEVICE",
        Change::Put {
            kind: "account",
            object: Object {
                k1: "a".to_owned(),
                k2: String::new(),
                value: Secret::new(*b"pickle"),
                tag: String::new(),
                flag: 0,
            },
        },
    );
    tokens::put(
        &mut batch,
        &TokenKey {
            kid: "kid".to_owned(),
            pkcs8: Secret::new(*b"pkcs8"),
            created_ts: 1,
            retired_ts: None,
        },
    );
    fading::put(&mut batch, &fading_row());
    reports::put(&mut batch, &report());
    let read_receipts = false;
    preferences::put(&mut batch, LOGIN, Preferences { read_receipts });
    media::put(&mut batch, hosted());
    media::put_missing(
        &mut batch,
        Missing {
            login: LOGIN.to_owned(),
            peer: PEER.to_owned(),
            stanza_id: "missing".to_owned(),
            content: Secret::new(*b"the message"),
            created_ts: 5,
        },
    );
    quarantine::put(
        &mut batch,
        &quarantine::Stanza {
            login: LOGIN.to_owned(),
            peer: PEER.to_owned(),
            stanza_id: "aside".to_owned(),
            stanza: vec![1, 2],
            reason: "no".to_owned(),
            received_ts: 5,
        },
    );
    megolm::put(
        &mut batch,
        &megolm::Seen {
            session_id: "session",
            message_index: 3,
            event_id: "$inbox",
            seen_ts: 5,
        },
    );
    store.commit(batch).await.unwrap();
}

fn message() -> Message {
    Message {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: "stanza".to_owned(),
        event_id: Some("$message".to_owned()),
        room_id: ROOM.to_owned(),
        direction: Direction::Out,
        status: Status::Sent,
        ts: 1000,
        kind: Kind::Message,
        target: None,
        gone: false,
    }
}

fn stanza() -> outbox::NewStanza {
    outbox::NewStanza {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: "stanza".to_owned(),
        kind: outbox::Kind::Message,
        stanza: b"ciphertext".to_vec(),
        event_id: Some("$message".to_owned()),
    }
}

fn send() -> sends::NewSend {
    sends::NewSend {
        txn_id: "txn".to_owned(),
        room_id: ROOM.to_owned(),
        sender: "@whatsapp_123:example.org".to_owned(),
        device_id: "DEVICE".to_owned(),
        method: sends::Method::Send,
        event_type: "m.room.encrypted".to_owned(),
        target: None,
        content: "{\"cipher\":\"text\"}".to_owned(),
        ts: 1000,
        login: Some(LOGIN.to_owned()),
        peer: Some(PEER.to_owned()),
        stanza_id: Some("in".to_owned()),
    }
}

fn fading_row() -> Fading {
    Fading {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: "fades".to_owned(),
        room_id: ROOM.to_owned(),
        due_ts: 9,
        when_read: false,
    }
}

fn report() -> NewReport {
    NewReport {
        about: "$message".to_owned(),
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        kind: reports::Kind::Failed,
        reason: "refused".to_owned(),
        body: "no".to_owned(),
        loud: true,
        created_ts: 5,
    }
}

fn hosted() -> Hosted {
    Hosted {
        reference: "reference".to_owned(),
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        event_id: "$file".to_owned(),
        keys: Secret::new([7; 64]),
        enc_sha256: vec![8; 32],
        length: 1 << 33,
        kind: "image".to_owned(),
        thumbnail: Some(Secret::new(*b"jpeg")),
        created_ts: 10,
        expires_ts: 1000,
    }
}

/// Everything that `fill` wrote and the schema `version` had is still there.
async fn check(store: &Store, version: u32) {
    let event = inbox::next(store, ROOM, 0, 9).await.unwrap().remove(0);
    assert_eq!(
        (event.event_id.as_str(), event.body.as_str()),
        ("$inbox", "{\"body\":\"of the event\"}")
    );
    let to_device = to_device::next(store, 0, 9).await.unwrap();
    assert_eq!(to_device[0].body.as_deref(), Some("{\"to\":\"device\"}"));
    assert_eq!(
        meta::get(store, meta::SERVER_NAME)
            .await
            .unwrap()
            .as_deref(),
        Some("example.org")
    );
    let found = logins::get(store, LOGIN).await.unwrap().unwrap();
    assert_eq!(found.identity.as_deref(), Some(b"identity".as_slice()));
    assert_eq!((found.state, found.next_prekey_id), (State::Active, 2));
    assert!(consents::current(store, LOGIN).await.unwrap().is_some());
    let prekey = signal::prekey(store, LOGIN, 1).await.unwrap().unwrap();
    assert_eq!(&*prekey.record, b"prekey");
    let signed = signal::current_signed_prekey(store, LOGIN).await.unwrap();
    assert_eq!(&*signed.unwrap().0.record, b"signed");
    let session = signal::session(store, LOGIN, PEER).await.unwrap().unwrap();
    assert_eq!(session.record.as_deref(), Some(b"ratchet".as_slice()));
    let contact = contacts::get(store, LOGIN, PEER).await.unwrap();
    assert_eq!(contact.unwrap().phone, "123");
    let ghost = ghosts::by_phone(store, "+123").await.unwrap().unwrap();
    assert_eq!(ghost.stage, Stage::Signed);
    let portal = portals::by_room(store, ROOM).await.unwrap().unwrap();
    assert_eq!((portal.encrypted, portal.timer), (true, 0));
    let kept = messages::get(store, LOGIN, PEER, "stanza").await.unwrap();
    assert!(kept.unwrap() == message());
    if version < 3 {
        // What was sent before statuses were told is not told now.
        let untold = messages::untold(store, LOGIN, PEER, 9).await.unwrap();
        assert!(untold.is_empty());
    }
    let queued = outbox::next(store, LOGIN, 0, 9).await.unwrap();
    assert_eq!(queued[0].stanza, b"ciphertext");
    let waiting = sends::next(store, ROOM, 0, 9).await.unwrap();
    assert_eq!(waiting[0].event.content, "{\"cipher\":\"text\"}");
    let lost = undecryptable::get(store, LOGIN, PEER, "lost").await;
    assert_eq!(lost.unwrap().unwrap().retries, 1);
    let acct = "@whatsapp_123:example.org|DEVICE";
    let object = crypto::get(store, acct, "account", "a", "").await.unwrap();
    assert_eq!(&*object.unwrap().value, b"pickle");
    assert_eq!(&*tokens::list(store).await.unwrap()[0].pkcs8, b"pkcs8");
    let fades = fading::due(store, 10, 9).await.unwrap();
    assert_eq!(fades.iter().any(|row| *row == fading_row()), version >= 2);
    let told = reports::get(store, "$message").await.unwrap();
    assert_eq!(told.is_some_and(|row| row.report == report()), version >= 3);
    let receipts = preferences::get(store, LOGIN).await.unwrap().read_receipts;
    assert_eq!(receipts, version < 3);
    let file = media::by_event(store, "$file").await.unwrap();
    assert_eq!(file.is_some_and(|file| *file.keys == [7; 64]), version >= 4);
    let missing = media::missing(store, LOGIN, PEER, "missing").await.unwrap();
    assert_eq!(missing.is_some(), version >= 4);
    let former = portals::by_former_room(store, "!former:example.org").await;
    assert_eq!(former.unwrap().is_some(), version >= 5);
    assert_eq!(quarantine::count(store).await.unwrap() == 1, version >= 8);
    let seen = megolm::event_of(store, "session", 3).await.unwrap();
    assert_eq!(seen.as_deref() == Some("$inbox"), version >= 9);
}

/// Writes the fixtures of the migrations that have none: the schema with a row in every table. Run it when a version is
/// released: `cargo test -p store --test it -- --ignored make_fixtures`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes into the sources"]
async fn make_fixtures() {
    let database = Database::sqlite();
    let store = database.open().await;
    fill(&store).await;
    store.close().await;
    for engine in ["sqlite", "postgres"] {
        let folder = fixtures(engine);
        fs::create_dir_all(&folder).unwrap();
        let done = numbered(&folder);
        let migrations = migrations(engine);
        for version in migrations.keys() {
            if done.contains_key(version) {
                continue;
            }
            let text = fixture(&database, engine, *version, &migrations).await;
            fs::write(folder.join(format!("{version:04}.sql")), text).unwrap();
        }
    }
}

async fn fixture(
    database: &Database,
    engine: &str,
    version: u32,
    migrations: &BTreeMap<u32, String>,
) -> String {
    let until = || migrations.range(..=version);
    // SQLite knows which columns there were.
    let plain = self::migrations("sqlite");
    let old = Database::sqlite();
    for (_, sql) in plain.range(..=version) {
        execute(old.url(), sql).await.unwrap();
    }
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut text = until().map(|(_, sql)| sql.as_str()).collect::<String>();
    let (time, bytes) = match engine {
        "sqlite" => ("TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP", "BLOB"),
        _ => ("TIMESTAMPTZ NOT NULL DEFAULT now()", "BYTEA"),
    };
    text.push_str(&format!(
        "\nCREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on {time}, \
         success BOOLEAN NOT NULL, checksum {bytes} NOT NULL, execution_time BIGINT NOT NULL);\n"
    ));
    for (number, sql) in until() {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, sql.as_bytes());
        let checksum = binary(engine, &hex::encode(digest));
        text.push_str(&format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES ({number}, '{number:04}', TRUE, {checksum}, 0);\n"
        ));
    }
    for table in rows(old.url(), tables).await {
        let names = format!("SELECT name FROM pragma_table_info('{table}')");
        let mut columns = rows(old.url(), &names).await;
        if engine == "postgres" {
            // Their numbers are the database's own business.
            columns.retain(|name| name != "seq" && name != "id" || table.starts_with("signal"));
        }
        let quoted: Vec<String> = columns
            .iter()
            .map(|name| format!("quote({name})"))
            .collect();
        let values = format!("SELECT {} FROM {table}", quoted.join(" || ', ' || "));
        for row in rows(database.url(), &values).await {
            let row = match engine {
                "sqlite" => row,
                _ => for_postgres(&row),
            };
            text.push_str(&format!(
                "INSERT INTO {table} ({}) VALUES ({row});\n",
                columns.join(", ")
            ));
        }
    }
    text
}

fn binary(engine: &str, hex: &str) -> String {
    match engine {
        "sqlite" => format!("X'{hex}'"),
        _ => format!("'\\x{hex}'"),
    }
}

/// SQLite's way to write bytes becomes PostgreSQL's. No text of the fixture has an X before a quotation mark.
fn for_postgres(row: &str) -> String {
    row.replace("X'", "'\\x")
}
