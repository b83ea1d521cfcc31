//! One large file each way through the bridge: how fast, and what memory the bridge takes for it.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use crate::stack::Stack;
use crate::{Error, Result, usage, wait};

/// How long a file may take.
const LONG: Duration = Duration::from_secs(1200);

/// How a file got through.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Carried {
    /// Bytes of the file.
    pub size: u64,
    /// Seconds from its sending until the receiver was told of it.
    pub seconds: f64,
    /// Bytes that the bridge used before.
    pub idle: u64,
    /// The most bytes that it used meanwhile.
    pub peak: u64,
}

impl Carried {
    /// MiB per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.size as f64 / f64::from(1 << 20) / self.seconds
    }

    /// Bytes of memory beyond what the bridge used before.
    #[must_use]
    pub fn more(&self) -> u64 {
        self.peak.saturating_sub(self.idle)
    }
}

/// Both ways, and the same file through the homeserver alone.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Measured {
    /// From a Matrix client to a phone: until the phone shows the message.
    pub to_whatsapp: Carried,
    /// From a phone to a Matrix client: until the client shows the message.
    pub to_matrix: Carried,
    /// Seconds in which a client uploads it to the homeserver and downloads it again, encrypted, without a bridge.
    pub copy_seconds: f64,
}

impl Measured {
    /// MiB per second without a bridge.
    #[must_use]
    pub fn copy_rate(&self) -> f64 {
        self.to_whatsapp.size as f64 / f64::from(1 << 20) / self.copy_seconds
    }
}

/// Sends `size` bytes each way between a new user and a new phone, and compares them by SHA-256 at the other end.
/// The bridge must take files of that size.
///
/// # Errors
///
/// When a file does not arrive as it was.
pub async fn measure(stack: &Stack, user: &str, number: &str, size: u64) -> Result<Measured> {
    let client = stack.enlisted_client(user).await?;
    let phone = stack.sandbox.phone(number, "Bea").await?;
    let (ghost, me) = (stack.ghost(&phone), client.user_id().to_owned());
    phone.send(&me, "hello").await?;
    let room = client.wait_for_invite(&ghost).await?.room_id;
    client.join(&room).await?;
    client.wait_for_text(&room, &ghost, "hello").await?;

    let start = Instant::now();
    let file = client.upload_generated(size, "large").await?;
    client.download(&file.file, None).await?;
    let copy_seconds = start.elapsed().as_secs_f64();

    let meter = Meter::start(stack)?;
    let info = json!({ "mimetype": "application/x-thing", "size": size });
    let content =
        json!({ "msgtype": "m.file", "body": "large.bin", "file": file.file, "info": info });
    client.send_event(&room, "m.room.message", content).await?;
    let id = wait::until("the file on the phone", LONG, || async {
        let shown = phone.shown(&me).await?;
        let found = shown.iter().find(|each| each["sha256"] == file.sha256);
        Ok(found.and_then(|each| each["id"].as_str().map(str::to_owned)))
    })
    .await?;
    let seconds = meter.seconds();
    // Giving the file out to the proxy is part of it.
    wait::until("the file fetched", LONG, || async {
        let shown = phone.shown(&me).await?;
        let state = shown.iter().find(|each| each["id"] == id);
        match state.and_then(|each| each["media"].as_str()) {
            Some("ready") => Ok(Some(())),
            Some("failed") => Err(Error::new("the phone could not fetch the file")),
            _ => Ok(None),
        }
    })
    .await?;
    let to_whatsapp = meter.stop(stack, size, seconds)?;
    same(&phone.file(&id).await?.sha256, &file.sha256)?;

    let upload = phone.upload_generated("document", size, 5).await?;
    let meter = Meter::start(stack)?;
    let message = json!({
        "kind": "document", "mimetype": "application/x-thing", "file_name": "large.bin", "upload": upload.upload,
    });
    phone.say(&me, message).await?;
    let event = client
        .until("the file in the room", LONG, || async {
            let shown = client.timeline(&room).await?;
            Ok(shown
                .into_iter()
                .find(|event| event.sender == ghost && event.content["filename"] == "large.bin"))
        })
        .await?;
    let seconds = meter.seconds();
    let to_matrix = meter.stop(stack, size, seconds)?;
    let got = client.download(&event.content["file"], None).await?;
    same(&got.sha256, &upload.sha256)?;
    Ok(Measured {
        to_whatsapp,
        to_matrix,
        copy_seconds,
    })
}

fn same(got: &str, sent: &str) -> Result<()> {
    if got == sent {
        Ok(())
    } else {
        Err(Error::new("the file that arrived is another one"))
    }
}

/// Time and memory of the bridge.
struct Meter {
    start: Instant,
    idle: u64,
}

impl Meter {
    fn start(stack: &Stack) -> Result<Self> {
        let pid = stack.gatehouse.pid().unwrap_or_default();
        // From here on the peak counts anew.
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
        Ok(Self {
            idle: usage::memory(pid)?.resident,
            start: Instant::now(),
        })
    }

    fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn stop(self, stack: &Stack, size: u64, seconds: f64) -> Result<Carried> {
        let pid = stack.gatehouse.pid().unwrap_or_default();
        Ok(Carried {
            size,
            seconds,
            idle: self.idle,
            peak: usage::memory(pid)?.peak,
        })
    }
}
