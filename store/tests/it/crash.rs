//! A process that is killed while it commits. Everything it saw committed must be there.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use store::{Batch, Store, StoreConfig, meta};
use tests::database::{Database, key};

const CHILD: &str = "GATEHOUSE_STORE_CRASH_CHILD";

crate::on_both! { committed_batches_survive_a_kill, }

async fn committed_batches_survive_a_kill(database: Database) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::child_that_commits",
            "--nocapture",
            "--include-ignored",
        ])
        .env(CHILD, database.url())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut seen, mut last) = ([-1_i64; 8], 0);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut take = |line: String| {
        let Some((_, words)) = line.split_once("committed ") else {
            return false;
        };
        let (writer, i) = words.split_once(' ').unwrap();
        let writer: usize = writer.parse().unwrap();
        seen[writer] = seen[writer].max(i.trim().parse().unwrap());
        last += 1;
        last >= 400
    };
    while !take(
        lines
            .next()
            .expect("the child works until it is killed")
            .unwrap(),
    ) {}
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had told before it died counts too.
    lines.map_while(Result::ok).for_each(|line| {
        take(line);
    });

    let store = database.open().await;
    for (writer, told) in seen.into_iter().enumerate() {
        let left = meta::get(&store, &format!("left{writer}")).await.unwrap();
        let right = meta::get(&store, &format!("right{writer}")).await.unwrap();
        assert_eq!(left, right, "a batch is written whole");
        let stored: i64 = left.map_or(-1, |i| i.parse().unwrap());
        assert!(
            stored >= told,
            "writer {writer} was told {told}, stored is {stored}"
        );
    }
    store.close().await;
}

/// The child's part; alone it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_commits() {
    let Ok(url) = std::env::var(CHILD) else {
        return;
    };
    let store = Store::open(&StoreConfig::new(url), key()).await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for i in 0_i64.. {
                    let mut batch = Batch::new();
                    meta::put(&mut batch, &format!("left{writer}"), &i.to_string());
                    meta::put(&mut batch, &format!("right{writer}"), &i.to_string());
                    store.commit(batch).await.unwrap();
                    println!("committed {writer} {i}");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}
