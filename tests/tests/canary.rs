//! What users write is on no disk and no wire in the clear: a random text is sent both ways and looked for.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tests::postgres::Postgres;
use tests::sandbox::digits;
use tests::stack::{Options, Stack};
use tests::{Error, Result};

const NUMBER: &str = "+4915123456789";

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

    /// The files under `folder` that hold it.
    fn look(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for path in files(folder)? {
            // A file may go while we look: temporary ones do.
            if std::fs::read(&path).is_ok_and(|bytes| self.is_in(&bytes)) {
                found.push(path);
            }
        }
        Ok(found)
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
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

/// Sends the canaries both ways; they are on no disk and not on the wire.
async fn conversation_leaves_no_trace(stack: &Stack, elsewhere: &[&Path]) -> Result<()> {
    let (out, back) = (Canary::new()?, Canary::new()?);
    let phone = stack.sandbox.phone(NUMBER, "Bea").await?;
    let client = stack.enlisted_client("anna").await?;
    let ghost = stack.ghost(&phone);
    let room = client.direct_chat(&ghost).await?;
    client.wait_for_member(&room, &ghost).await?;
    client
        .send_html(&room, &out.text, &format!("<b>{}</b>", out.text))
        .await?;
    phone
        .wait_for_text(client.user_id(), &format!("*{}*", out.text))
        .await?;
    phone.send(client.user_id(), &back.text).await?;
    client.wait_for_text(&room, &ghost, &back.text).await?;

    // While it runs, after it was killed (the write-ahead log is not yet folded in), and after it ended in order.
    check_everywhere(stack, elsewhere, &[&out, &back]).await?;
    stack.gatehouse.kill();
    check_everywhere(stack, elsewhere, &[&out, &back]).await?;
    stack.gatehouse.start().await?;
    phone.send(client.user_id(), "still there?").await?;
    client.wait_for_text(&room, &ghost, "still there?").await?;
    stack.gatehouse.stop().await?;
    stack.synapse.stop().await?;
    check_everywhere(stack, elsewhere, &[&out, &back]).await?;

    let log = stack.gatehouse.log()?;
    assert!(
        !log.contains(digits(NUMBER)),
        "a phone number is in the log:\n{log}"
    );
    Ok(())
}

async fn check_everywhere(stack: &Stack, elsewhere: &[&Path], canaries: &[&Canary]) -> Result<()> {
    let wire = stack.sandbox.wire().await?;
    assert!(
        contains(&wire, b"e_regid"),
        "the record of the wire holds the enlistment"
    );
    let folders = [stack.gatehouse.folder(), stack.synapse.folder()];
    for canary in canaries {
        assert!(
            !canary.is_in(&wire),
            "content is on the wire to the gatekeeper"
        );
        for folder in folders.iter().chain(elsewhere) {
            let found = canary.look(folder)?;
            assert!(found.is_empty(), "content is in {found:?}");
        }
    }
    Ok(())
}

fn options() -> Options {
    let mut options = Options::default();
    // Temporary files land where we look, and the log says as much as it can.
    options.gatehouse.environment = vec![
        ("TMPDIR".to_owned(), ".".to_owned()),
        ("SQLITE_TMPDIR".to_owned(), ".".to_owned()),
        ("GATEHOUSE_LOG__LEVEL".to_owned(), "trace".to_owned()),
    ];
    options
}

#[tokio::test]
async fn content_is_nowhere_with_sqlite() -> Result<()> {
    let stack = Stack::start("canary", options()).await?;
    let result = conversation_leaves_no_trace(&stack, &[]).await;
    result.map_err(|error| stack.explain(error))?;
    // The search finds what is there: the user's id is in the database.
    let user = b"@anna:localhost";
    let known = files(stack.gatehouse.folder())?;
    assert!(
        known
            .iter()
            .any(|path| std::fs::read(path).is_ok_and(|bytes| contains(&bytes, user))),
        "the search does not even find the user in {known:?}"
    );
    Ok(())
}

#[tokio::test]
async fn content_is_nowhere_with_postgresql() -> Result<()> {
    let postgres = Postgres::start().await?;
    let mut options = options();
    options.gatehouse.database = Some(postgres.database("gatehouse")?);
    let stack = Stack::start("canary-postgres", options).await?;
    let result = conversation_leaves_no_trace(&stack, &[postgres.folder()]).await;
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
    assert!(
        !canary.is_in(
            STANDARD
                .encode("something else altogether, and long")
                .as_bytes()
        )
    );
    Ok(())
}
