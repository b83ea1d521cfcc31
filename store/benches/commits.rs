//! Durable batches per second, with many submitters at once: six changes each, like one message on its way through.
//!
//! `cargo bench -p store --bench commits`

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use store::{
    Batch, Secret,
    crypto::{self, Change, Object},
    messages::{self, Direction, Message, Status},
    outbox::{self, Kind, NewStanza},
    signal::{self, Session},
};
use tests::database::Database;

/// How long each line is measured.
const TIME: Duration = Duration::from_secs(3);
/// The same when `cargo test` only wants to see it run.
const GLANCE: Duration = Duration::from_millis(50);

fn main() {
    let time = if std::env::args().any(|arg| arg == "--bench") {
        TIME
    } else {
        GLANCE
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        line("engine      submitters  batches/s  p50 ms  p99 ms");
        for submitters in [1, 16, 256] {
            measure("SQLite", Database::sqlite(), submitters, time).await;
        }
        for submitters in [1, 16, 256] {
            let database = Database::postgres().await;
            durable(&database).await;
            measure("PostgreSQL", database, submitters, time).await;
        }
    });
}

/// The test server does not flush its files unless it is told to.
async fn durable(database: &Database) {
    let pool = sqlx::PgPool::connect(database.url()).await.unwrap();
    sqlx::query("ALTER SYSTEM SET fsync = on")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("SELECT pg_reload_conf()")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}

async fn measure(engine: &str, database: Database, submitters: usize, time: Duration) {
    let store = database.open().await;
    let start = Instant::now();
    let tasks: Vec<_> = (0..submitters)
        .map(|submitter| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < time {
                    let batch = message(submitter, times.len());
                    let before = Instant::now();
                    store.commit(batch).await.unwrap();
                    times.push(before.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    let (p50, p99) = (at(50), at(99));
    line(&format!(
        "{engine:<12}{submitters:>10}{rate:>11.0}{p50:>8.2}{p99:>8.2}"
    ));
    store.close().await;
}

/// What one message from Matrix writes: the device's keys, the ratchet, the stanza, the message, and the
/// acknowledgement of the stanza before it.
fn message(submitter: usize, n: usize) -> Batch {
    let login = format!("@user{}:example.org", submitter % 32);
    let peer = format!("{submitter}@s.whatsapp.net");
    let (id, before) = (
        format!("{submitter}-{n}"),
        format!("{submitter}-{}", n.wrapping_sub(1)),
    );
    let mut batch = Batch::new();
    let object = Object {
        k1: "!room:example.org".to_owned(),
        k2: String::new(),
        value: Secret::new(vec![7; 1200]),
        tag: String::new(),
        flag: 0,
    };
    crypto::apply(
        &mut batch,
        &peer,
        Change::Put {
            kind: "outbound",
            object,
        },
    );
    let session = Session {
        record: Some(Secret::new(vec![7; 420])),
        identity: Some(vec![1; 32]),
    };
    signal::put_session(&mut batch, &login, &peer, &session, 1);
    outbox::put(
        &mut batch,
        NewStanza {
            login: login.clone(),
            peer: peer.clone(),
            stanza_id: id.clone(),
            kind: Kind::Message,
            stanza: vec![7; 300],
            event_id: Some(format!("${id}")),
        },
    );
    messages::put(
        &mut batch,
        &Message {
            login: login.clone(),
            peer: peer.clone(),
            stanza_id: id.clone(),
            event_id: Some(format!("${id}")),
            room_id: "!room:example.org".to_owned(),
            direction: Direction::Out,
            status: Status::Pending,
            ts: 1,
            kind: messages::Kind::Message,
            target: None,
            gone: false,
        },
    );
    outbox::take(&mut batch, &login, &before, Kind::Message, &peer);
    messages::advance(&mut batch, &login, &peer, &before, Status::Sent);
    batch
}

fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
