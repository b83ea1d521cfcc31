//! What users write is on no disk and no wire in the clear: a random text is sent both ways and looked for.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::client::{Client, TimelineEvent};
use tests::error::Context as _;
use tests::postgres::Postgres;
use tests::sandbox::{Phone, digits};
use tests::stack::{Options, Stack};
use tests::{Error, Result};

const NUMBER: &str = "+4915123456789";
/// Reactions that are nowhere by chance.
const OUT: &str = "🧿";
const BACK: &str = "🪬";

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

/// The number of words that a conversation of every kind holds.
const WORDS: usize = 22;

/// Words that are told in one conversation, each found nowhere else.
struct Words {
    canaries: Vec<Canary>,
    told: usize,
}

impl Words {
    fn new() -> Result<Self> {
        let canaries = (0..WORDS).map(|_| Canary::new()).collect::<Result<_>>()?;
        Ok(Self { canaries, told: 0 })
    }

    /// The next one.
    fn next(&mut self) -> Result<String> {
        let canary = self.canaries.get(self.told);
        self.told += 1;
        Ok(canary.context("more words")?.text.clone())
    }
}

/// A user and a contact who say everything that can be said.
struct Talk<'a> {
    client: &'a Client,
    phone: &'a Phone,
    ghost: &'a str,
    room: &'a str,
}

impl Talk<'_> {
    fn me(&self) -> &str {
        self.client.user_id()
    }

    /// Waits until the phone shows a word somewhere in a message.
    async fn on_phone(&self, word: &str) -> Result<Value> {
        self.phone
            .wait_for(self.me(), "a word on the phone", |shown| {
                shown["from_me"] == false && shown.to_string().contains(word)
            })
            .await
    }

    /// Waits until the room shows a word somewhere in an event of the contact.
    async fn in_room(&self, word: &str) -> Result<TimelineEvent> {
        self.client
            .wait_for(self.room, "a word in the room", |event| {
                event.sender == self.ghost && event.content.to_string().contains(word)
            })
            .await
    }

    async fn user_sends(&self, words: &mut Words) -> Result<()> {
        let (client, room) = (self.client, self.room);
        let word = words.next()?;
        let first = client
            .send_html(room, &word, &format!("<b>{word}</b>"))
            .await?;
        self.on_phone(&word).await?;
        let word = words.next()?;
        let answer = client.reply(room, &first, &word).await?;
        self.on_phone(&word).await?;
        let word = words.next()?;
        client.edit(room, &answer, &word).await?;
        self.on_phone(&word).await?;
        let word = words.next()?;
        client
            .send_message(room, json!({"msgtype": "m.emote", "body": word}))
            .await?;
        self.on_phone(&word).await?;
        let word = words.next()?;
        let place =
            json!({"msgtype": "m.location", "body": word, "geo_uri": "geo:52.5163,13.3777"});
        client.send_message(room, place).await?;
        self.on_phone(&word).await?;
        for (msgtype, mimetype) in [("m.file", "text/plain"), ("m.image", "image/jpeg")] {
            let (inside, name, caption) = (words.next()?, words.next()?, words.next()?);
            let file = client
                .upload_base64(&STANDARD.encode(format!("{inside} ").repeat(400)))
                .await?;
            let content = json!({
                "msgtype": msgtype, "body": caption, "filename": format!("{name}.txt"), "file": file.file,
                "info": {"mimetype": mimetype, "size": file.size},
            });
            client.send_message(room, content).await?;
            let shown = self.on_phone(&caption).await?;
            let id = shown["id"].as_str().context("an id")?.to_owned();
            self.phone
                .wait_for(self.me(), "the file on the phone", |shown| {
                    shown["id"] == id.as_str() && shown["media"] == "ready"
                })
                .await?;
            let got = self.phone.file(&id).await?;
            assert_eq!(got.sha256, file.sha256);
        }
        Ok(())
    }

    async fn phone_sends(&self, words: &mut Words) -> Result<()> {
        let (phone, me) = (self.phone, self.me());
        let word = words.next()?;
        let first = phone.send(me, &word).await?;
        self.in_room(&word).await?;
        let word = words.next()?;
        let answer = json!({"kind": "text", "text": word, "reply_to": first});
        let answer = phone.say(me, answer).await?;
        self.in_room(&word).await?;
        let word = words.next()?;
        phone.edit(me, &answer, &word).await?;
        self.in_room(&word).await?;
        let (name, address) = (words.next()?, words.next()?);
        let place = json!({"kind": "location", "latitude": 1.5, "longitude": 2.5, "name": name, "address": address});
        phone.say(me, place).await?;
        self.in_room(&name).await?;
        let word = words.next()?;
        let contact =
            json!({"kind": "contact", "contacts": [{"name": word, "phone": "+4915187654321"}]});
        phone.say(me, contact).await?;
        self.in_room(&word).await?;
        let (question, option) = (words.next()?, words.next()?);
        let poll = json!({"kind": "poll", "text": question, "options": [option, "no"]});
        phone.say(me, poll).await?;
        self.in_room("poll").await?;
        let (inside, name, caption) = (words.next()?, words.next()?, words.next()?);
        let file = json!({
            "kind": "document", "mimetype": "text/plain", "file_name": format!("{name}.txt"), "caption": caption,
            "data_base64": STANDARD.encode(format!("{inside} ").repeat(400)),
        });
        phone.say(me, file).await?;
        let event = self.in_room(&caption).await?;
        self.client
            .download(&event.content["file"], None)
            .await
            .map(drop)
    }
}

/// Says everything both ways; it is on no disk and not on the wire.
async fn conversation_leaves_no_trace(stack: &Stack, elsewhere: &[&Path]) -> Result<()> {
    let mut words = Words::new()?;
    let phone = stack.sandbox.phone(NUMBER, "Bea").await?;
    let client = stack.enlisted_client("anna").await?;
    let ghost = stack.ghost(&phone);
    let room = client.direct_chat(&ghost).await?;
    client.wait_for_member(&room, &ghost).await?;
    let talk = Talk {
        client: &client,
        phone: &phone,
        ghost: &ghost,
        room: &room,
    };
    talk.user_sends(&mut words).await?;
    talk.phone_sends(&mut words).await?;
    assert_eq!(words.told, WORDS, "every word was told");
    // Reactions are in the clear on Matrix, as clients and homeservers count them; here they leave no trace either.
    let message = client.send(&room, "to react to").await?;
    let shown = talk.on_phone("to react to").await?;
    client.react(&room, &message, OUT).await?;
    talk.on_phone(OUT).await?;
    let id = shown["id"].as_str().context("an id")?;
    phone.react(talk.me(), id, BACK).await?;
    client
        .wait_for(&room, "the reaction", |event| {
            event.kind == "m.reaction" && event.sender == ghost
        })
        .await?;

    // While it runs, after it was killed (the write-ahead log is not yet folded in), and after it ended in order.
    let canaries = &words.canaries;
    check_everywhere(stack, elsewhere, canaries).await?;
    let pid = stack.gatehouse.pid().context("gatehouse runs")?;
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let core = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let sizes: Vec<_> = core.into_iter().flat_map(str::split_whitespace).collect();
    assert_eq!(sizes, ["0", "0", "bytes"], "core dumps are off");
    stack.gatehouse.kill();
    check_everywhere(stack, elsewhere, canaries).await?;
    stack.gatehouse.start().await?;
    phone.send(client.user_id(), "still there?").await?;
    client.wait_for_text(&room, &ghost, "still there?").await?;
    stack.gatehouse.stop().await?;
    stack.synapse.stop().await?;
    check_everywhere(stack, elsewhere, canaries).await?;

    let log = stack.gatehouse.log()?;
    assert!(
        !log.contains(digits(NUMBER)),
        "a phone number is in the log:\n{log}"
    );
    Ok(())
}

async fn check_everywhere(stack: &Stack, elsewhere: &[&Path], canaries: &[Canary]) -> Result<()> {
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
    for emoji in [OUT, BACK] {
        assert!(
            !contains(&wire, emoji.as_bytes()),
            "a reaction is on the wire"
        );
        for path in files(stack.gatehouse.folder())? {
            let holds = std::fs::read(&path).is_ok_and(|bytes| contains(&bytes, emoji.as_bytes()));
            assert!(!holds, "a reaction is in {path:?}");
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
        (
            "GATEHOUSE_GATEKEEPER__PROFILE__MESSAGE__ACCEPTED".to_owned(),
            "[text, image, video, audio, document, location, edit, revoke, reaction, reply]"
                .to_owned(),
        ),
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
