//! What users write is on no disk and no wire in the clear: every row of the table is said both ways in random words, while all
//! goes well and while a neighbour is away, and the words are looked for.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::try_join_all;
use gatehouse::capabilities::{Feature, Row, TABLE};
use tests::between::{Fate, sends_of};
use tests::error::Context as _;
use tests::gatehouse::EVERY_KIND;
use tests::postgres::Postgres;
use tests::sandbox::digits;
use tests::stack::{Options, Stack};
use tests::wait::{self, PATIENCE};
use tests::{Error, Result};

use crate::trial::{Bench, EMOJI, MENTIONED, Side, Words};
use crate::{settings, try_cell, walk};

/// A random text and the shapes in which it could lie somewhere.
struct Canary {
    text: String,
    shapes: Vec<Vec<u8>>,
}

impl Canary {
    fn new() -> Result<Self> {
        let mut random = [0; 20];
        getrandom::fill(&mut random).map_err(|error| Error::new(error.to_string()))?;
        let text: String = random
            .iter()
            .map(|byte| char::from(b'a' + byte % 26))
            .collect();
        let utf16 = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut shapes = vec![
            text.clone().into_bytes(),
            utf16,
            hex::encode(&text).into_bytes(),
        ];
        // Base64 of a longer text that holds it at any offset: what does not depend on the neighbours.
        for offset in 0..3 {
            let encoded = STANDARD.encode(format!("{}{text}", &"xx"[..offset]));
            let from = [0, 2, 3][offset];
            let to = (offset + text.len()) * 8 / 6;
            shapes.push(encoded.as_bytes()[from..to].to_vec());
        }
        Ok(Self { text, shapes })
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.shapes.iter().any(|shape| contains(bytes, shape))
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => files.extend(self::files(&entry.path())?),
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    Ok(files)
}

/// The files under `folder` that hold what `found` finds. One may go while we look: temporary ones do.
fn holding(folder: &Path, found: impl Fn(&[u8]) -> bool) -> Result<Vec<PathBuf>> {
    let mut files = files(folder)?;
    files.retain(|path| std::fs::read(path).is_ok_and(|bytes| found(&bytes)));
    Ok(files)
}

/// Where the words are looked for.
struct Search<'a> {
    stack: &'a Stack,
    /// The folder of a database server.
    database: Option<&'a Path>,
    canary: &'a Canary,
}

impl Search<'_> {
    /// The database with its log of writes, the bridge's log, its temporary files and the files that it hosts, the homeserver's
    /// database and files, and what went to the gatekeeper, out of Noise.
    async fn finds_nothing(&self, when: &str) -> Result<()> {
        if self.stack.sandbox.is_running() {
            let wire = self.stack.sandbox.wire().await?;
            assert!(
                contains(&wire, b"e_regid"),
                "the record of the wire holds the enlistment"
            );
            assert!(!self.canary.is_in(&wire), "{when}: content is on the wire");
            let emoji = EMOJI.iter().any(|emoji| contains(&wire, emoji.as_bytes()));
            assert!(!emoji, "{when}: a reaction is on the wire");
        }
        let (ours, homeserver) = (self.stack.gatehouse.folder(), self.stack.synapse.folder());
        for folder in [Some(ours), Some(homeserver), self.database]
            .into_iter()
            .flatten()
        {
            let found = holding(folder, |bytes| self.canary.is_in(bytes))?;
            assert!(found.is_empty(), "{when}: content is in {found:?}");
        }
        // Reactions are in the clear on Matrix, as clients and homeservers count them; here they leave no trace.
        for folder in [Some(ours), self.database].into_iter().flatten() {
            let is_in = |bytes: &[u8]| EMOJI.iter().any(|emoji| contains(bytes, emoji.as_bytes()));
            let found = holding(folder, is_in)?;
            assert!(found.is_empty(), "{when}: a reaction is in {found:?}");
        }
        Ok(())
    }

    /// The same once more after a SIGKILL: what was not folded in yet is.
    async fn finds_nothing_after_a_kill(&self, when: &str) -> Result<()> {
        self.stack.gatehouse.kill();
        self.finds_nothing(&format!("{when}, killed")).await
    }
}

/// Whether a row says something that can wait in a database.
fn can_wait(row: &&Row) -> bool {
    // The others say nothing, or change how the whole chat is.
    !matches!(
        row.feature,
        Feature::ReadReceipt
            | Feature::DeliveryReceipt
            | Feature::Typing
            | Feature::Presence
            | Feature::Timer
            | Feature::Undecryptable
    )
}

/// Everything is said at once while it cannot arrive; the search looks; then the way is free again, and everything arrives.
async fn while_it_waits(
    bench: &Bench<'_>,
    from: Side,
    search: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    bench.hold_up();
    let cells = TABLE.iter().filter(can_wait).map(|row| async move {
        let cell = try_cell(bench, row, from).await;
        cell.map_err(|error| Error::new(format!("{from:?}, {}: {error}", row.title)))
    });
    let absent = TABLE.iter().filter(can_wait).filter(|row| match from {
        Side::Matrix => row.to_whatsapp.words.is_empty(),
        Side::WhatsApp => row.to_matrix.words.is_empty(),
    });
    let all = TABLE.iter().filter(can_wait).count() - absent.count();
    let looking = async {
        wait::until("everything to be said", PATIENCE, || async {
            Ok((bench.waiting() == all).then_some(()))
        })
        .await?;
        search().await?;
        bench.go_on();
        Ok::<_, Error>(())
    };
    tokio::try_join!(try_join_all(cells), looking).map(drop)
}

/// Waits until something waits in the bridge's database, under this key of its status.
async fn something_waits(stack: &Stack, what: &str) -> Result<()> {
    wait::until(&format!("{what} not to be empty"), PATIENCE, || async {
        let status = stack.gatehouse.status().await?;
        Ok((status[what].as_i64() > Some(0)).then_some(()))
    })
    .await
}

async fn gatekeeper_away(search: &Search<'_>, bench: &Bench<'_>) -> Result<()> {
    let (stack, chat) = (search.stack, &bench.chat);
    // One waits for its key as well.
    chat.client.hold_keys().await?;
    chat.client.discard_session(&chat.room).await?;
    let locked = bench.words.next();
    chat.client.send(&chat.room, &locked).await?;
    chat.client.discard_session(&chat.room).await?;
    chat.client.pass_later_keys().await?;
    stack.sandbox.stop().await?;
    let first = bench.words.next();
    chat.client.send(&chat.room, &first).await?;
    while_it_waits(bench, Side::Matrix, async || {
        something_waits(stack, "outbox").await?;
        search.finds_nothing("the gatekeeper is away").await?;
        search
            .finds_nothing_after_a_kill("the gatekeeper is away")
            .await?;
        stack.sandbox.go_on().await?;
        stack.gatehouse.start().await
    })
    .await?;
    chat.phone.wait_for_text(&chat.me, &first).await?;
    chat.client.release_keys().await?;
    chat.phone.wait_for_text(&chat.me, &locked).await.map(drop)
}

async fn homeserver_away(search: &Search<'_>, bench: &Bench<'_>) -> Result<()> {
    let (stack, chat) = (search.stack, &bench.chat);
    // One lies in the database already: without the homeserver none would come so far if the ghost has to ask for devices first.
    let way = &stack.between()?.to_homeserver;
    let sends = sends_of(&chat.ghost, &chat.room);
    way.rule("PUT", &sends, Fate::Page(502));
    let first = bench.words.next();
    chat.phone.send(&chat.me, &first).await?;
    something_waits(stack, "sends").await?;
    stack.synapse.stop().await?;
    way.heal();
    while_it_waits(bench, Side::WhatsApp, async || {
        search.finds_nothing("the homeserver is away").await?;
        search
            .finds_nothing_after_a_kill("the homeserver is away")
            .await?;
        stack.synapse.go_on().await?;
        stack.gatehouse.start().await
    })
    .await?;
    chat.client
        .wait_for_text(&chat.room, &chat.ghost, &first)
        .await
        .map(drop)
}

/// No core of the process can be written: neither the limit allows it nor, where the system pipes cores past the limit,
/// the process itself.
fn no_core_dumps(stack: &Stack) -> Result<()> {
    let pid = stack.gatehouse.pid().context("gatehouse runs")?;
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let core = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let sizes: Vec<_> = core.into_iter().flat_map(str::split_whitespace).collect();
    assert_eq!(sizes, ["0", "0", "bytes"], "core dumps are off");
    // Of a process that may not be dumped, what shows its memory belongs to root. (Of root's own it does anyway.)
    let memory = std::fs::metadata(format!("/proc/{pid}/mem"))?;
    assert_eq!(memory.uid(), 0, "the process may be dumped");
    Ok(())
}

/// Says everything; it is on no disk and not on the wire.
async fn conversations_leave_no_trace(stack: &Stack, database: Option<&Path>) -> Result<()> {
    let canary = Canary::new()?;
    let words = Words::new(&canary.text);
    let search = Search {
        stack,
        database,
        canary: &canary,
    };
    let (_, capabilities) = settings(&EVERY_KIND, true);
    let numbers = ["+4915270000001", "+4915270000002"];
    let open = async |user: &str, number: &str, side: Side| {
        Bench::open(stack, user, number, side, &capabilities, &words).await
    };
    let ours = open("anna", numbers[0], Side::Matrix).await?;
    let theirs = open("berta", numbers[1], Side::WhatsApp).await?;
    let everything = |_: &Row| true;
    let (there, here) = tokio::join!(
        walk(&ours, Side::Matrix, everything),
        walk(&theirs, Side::WhatsApp, everything)
    );
    there.and(here)?;
    search.finds_nothing("all is well").await?;
    no_core_dumps(stack)?;
    search.finds_nothing_after_a_kill("all is well").await?;
    stack.gatehouse.start().await?;

    let ours = open("clara", "+4915270000003", Side::Matrix).await?;
    gatekeeper_away(&search, &ours).await?;
    let theirs = open("doris", "+4915270000004", Side::WhatsApp).await?;
    homeserver_away(&search, &theirs).await?;

    let log = stack.gatehouse.log()?;
    for number in numbers.map(digits).iter().chain([&MENTIONED]) {
        assert!(!log.contains(number), "a phone number is in the log");
    }
    stack.gatehouse.stop().await?;
    stack.synapse.stop().await?;
    search.finds_nothing("all has ended").await
}

fn options(database: Option<String>) -> Options {
    let (mut bridge, _) = settings(&EVERY_KIND, true);
    bridge.database = database;
    // Temporary files land where we look, and the log says as much as it can.
    for (key, value) in [
        ("TMPDIR", "."),
        ("SQLITE_TMPDIR", "."),
        ("GATEHOUSE_LOG__LEVEL", "trace"),
    ] {
        bridge.environment.push((key.to_owned(), value.to_owned()));
    }
    Options {
        gatehouse: bridge,
        between: true,
        ..Options::default()
    }
}

#[tokio::test]
async fn content_is_nowhere_with_sqlite() -> Result<()> {
    let stack = Stack::start("canary", options(None)).await?;
    let result = conversations_leave_no_trace(&stack, None).await;
    result.map_err(|error| stack.explain(error))?;
    // The search finds what is there: the user's id is in the database.
    let found = holding(stack.gatehouse.folder(), |bytes| {
        contains(bytes, b"@anna:localhost")
    })?;
    assert!(!found.is_empty(), "the search does not even find the user");
    Ok(())
}

#[tokio::test]
async fn content_is_nowhere_with_postgresql() -> Result<()> {
    let postgres = Postgres::start().await?;
    let database = postgres.database("gatehouse")?;
    let stack = Stack::start("canary-postgres", options(Some(database))).await?;
    let result = conversations_leave_no_trace(&stack, Some(postgres.folder())).await;
    result.map_err(|error| stack.explain(error))?;
    assert!(
        postgres.dump("gatehouse")?.contains("@anna:localhost"),
        "the search reads the right database"
    );
    Ok(())
}

#[test]
fn the_search_knows_its_shapes() -> Result<()> {
    let canary = Canary::new()?;
    for prefix in ["", "a", "ab", "abc"] {
        let text = format!("{prefix}{} and more", canary.text);
        assert!(
            canary.is_in(STANDARD.encode(&text).as_bytes()),
            "base64 after {prefix:?}"
        );
        assert!(canary.is_in(text.as_bytes()));
        assert!(canary.is_in(hex::encode(&text).as_bytes()));
    }
    let other = STANDARD.encode("something else altogether, and long");
    assert!(!canary.is_in(other.as_bytes()));
    Ok(())
}
