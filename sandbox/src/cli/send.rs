//! `sandbox phone … send`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{client::Client, drive::object};

/// Send a text, a file, a place, people to write to, ...
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sandbox phone +4915112345678 send @alice:localhost \"hi\"\n  \
    sandbox phone +4915112345678 send @alice:localhost --image cat.png --caption \"my cat\"\n  \
    sandbox phone +4915112345678 send @alice:localhost --voice hello.ogg --duration 3\n  \
    sandbox phone +4915112345678 send @alice:localhost --location 52.52,13.40\n  \
    sandbox phone +4915112345678 send @alice:localhost \"Lunch?\" --poll yes --poll no"
)]
pub(super) struct SendArgs {
    /// The partner's user, e.g. @alice:localhost
    to: String,
    /// What to say: the text, or the question of a poll
    text: Option<String>,
    /// Send this picture
    #[arg(long, value_name = "FILE", group = "content")]
    image: Option<PathBuf>,
    /// Send this film
    #[arg(long, value_name = "FILE", group = "content")]
    video: Option<PathBuf>,
    /// Send this film as one that plays over and over without sound
    #[arg(long, value_name = "FILE", group = "content")]
    gif: Option<PathBuf>,
    /// Send this film as one that was recorded in the chat
    #[arg(long, value_name = "FILE", group = "content")]
    round_video: Option<PathBuf>,
    /// Send this sound
    #[arg(long, value_name = "FILE", group = "content")]
    audio: Option<PathBuf>,
    /// Send this sound (Ogg with Opus) as one that was recorded in the chat
    #[arg(long, value_name = "FILE", group = "content")]
    voice: Option<PathBuf>,
    /// Send this file
    #[arg(long, value_name = "FILE", group = "content")]
    document: Option<PathBuf>,
    /// Send this picture (WebP) as a sticker
    #[arg(long, value_name = "FILE", group = "content")]
    sticker: Option<PathBuf>,
    /// Send this place: degrees north and east, e.g. 52.52,13.40
    #[arg(long, value_name = "LAT,LON", group = "content", value_parser = place, allow_hyphen_values = true)]
    location: Option<(f64, f64)>,
    /// Send somebody to write to, e.g. "Ed=+4915187654321"; may be repeated
    #[arg(long, value_name = "NAME=NUMBER", group = "content")]
    contact: Vec<String>,
    /// Send a poll with this answer; repeat it for each
    #[arg(long, value_name = "ANSWER", group = "content", requires = "text")]
    poll: Vec<String>,
    /// Let the messages of the chat disappear after this many seconds; 0 lets them stay
    #[arg(long, value_name = "SECONDS", group = "content")]
    timer: Option<u32>,
    /// Send a message of this kind that partners need not know: live_location, group_invitation,
    /// call or unknown
    #[arg(long, value_name = "KIND", group = "content")]
    kind: Option<String>,
    /// The text under the file
    #[arg(long)]
    caption: Option<String>,
    /// Media type of the file; without it by the file's name
    #[arg(long, value_name = "TYPE")]
    mimetype: Option<String>,
    /// Name of the document; without it that of the file
    #[arg(long, value_name = "NAME")]
    file_name: Option<String>,
    /// Seconds of film or sound
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u32>,
    /// Pixels of picture or film
    #[arg(long, value_name = "PIXELS")]
    width: Option<u32>,
    /// Pixels of picture or film
    #[arg(long, value_name = "PIXELS")]
    height: Option<u32>,
    /// To be looked at once only
    #[arg(long)]
    view_once: bool,
    /// Id of the message that this answers
    #[arg(long, value_name = "ID")]
    reply_to: Option<String>,
    /// Let it disappear after this many seconds
    #[arg(long, value_name = "SECONDS")]
    expiration: Option<u32>,
    /// Say that it was written elsewhere before
    #[arg(long)]
    forwarded: bool,
}

fn place(text: &str) -> Result<(f64, f64), String> {
    text.split_once(',')
        .and_then(|(north, east)| Some((north.trim().parse().ok()?, east.trim().parse().ok()?)))
        .ok_or_else(|| "write degrees north and east, e.g. 52.52,13.40".to_owned())
}

impl SendArgs {
    /// The file to send and the kind of message that carries it.
    fn file(&self) -> Option<(&'static str, &Path)> {
        [
            ("image", &self.image),
            ("video", &self.video),
            ("gif", &self.gif),
            ("round_video", &self.round_video),
            ("audio", &self.audio),
            ("voice", &self.voice),
            ("document", &self.document),
            ("sticker", &self.sticker),
        ]
        .into_iter()
        .find_map(|(kind, path)| Some((kind, path.as_deref()?)))
    }

    /// The request to send it; a file is uploaded first.
    pub(super) async fn body(&self, client: &Client, base: &str) -> Result<Value, String> {
        let mut body = match self.file() {
            Some((kind, path)) => self.upload(client, base, kind, path).await?,
            None => self.content()?,
        };
        let rest = object([
            ("to", Some(self.to.clone().into())),
            ("reply_to", self.reply_to.clone().map(Value::from)),
            ("forwarded", self.forwarded.then_some(true.into())),
        ]);
        if let (Value::Object(body), Value::Object(rest)) = (&mut body, rest) {
            body.extend(rest);
            if let Some(seconds) = self.expiration {
                body.insert("expiration".to_owned(), seconds.into());
            }
        }
        Ok(body)
    }

    async fn upload(
        &self,
        client: &Client,
        base: &str,
        kind: &str,
        path: &Path,
    ) -> Result<Value, String> {
        let upload = client
            .upload(&format!("{base}/uploads?kind={kind}"), path)
            .await?;
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let caption = self.caption.clone().or_else(|| self.text.clone());
        let mimetype = self.mimetype.clone();
        let mimetype = mimetype.or_else(|| Some(type_of(path)?.to_owned()));
        Ok(object([
            ("kind", Some(kind.into())),
            ("upload", Some(upload["upload"].clone())),
            ("caption", caption.map(Value::from)),
            ("mimetype", mimetype.map(Value::from)),
            (
                "file_name",
                self.file_name.clone().or(name).map(Value::from),
            ),
            ("duration", self.duration.map(Value::from)),
            ("width", self.width.map(Value::from)),
            ("height", self.height.map(Value::from)),
            ("view_once", self.view_once.then_some(true.into())),
        ]))
    }

    /// What is not a file.
    fn content(&self) -> Result<Value, String> {
        if let Some((latitude, longitude)) = self.location {
            return Ok(
                json!({"kind": "location", "latitude": latitude, "longitude": longitude,
                             "name": self.text}),
            );
        }
        if let Some(seconds) = self.timer {
            return Ok(json!({"kind": "timer", "expiration": seconds}));
        }
        if let Some(kind) = &self.kind {
            let mut body = json!({"kind": kind, "text": self.text});
            if kind == "live_location" {
                // Where it begins does not matter to those who cannot show it.
                body = json!({"kind": kind, "latitude": 0.0, "longitude": 0.0});
            }
            return Ok(body);
        }
        if !self.contact.is_empty() {
            let contacts = self.contact.iter().map(|contact| {
                let (name, phone) = contact.split_once('=').ok_or_else(|| {
                    format!("`{contact}` is no contact: write NAME=NUMBER, e.g. Ed=+4915187654321")
                })?;
                Ok(json!({"name": name, "phone": phone}))
            });
            let contacts = contacts.collect::<Result<Vec<_>, String>>()?;
            return Ok(json!({"kind": "contact", "contacts": contacts}));
        }
        let Some(text) = &self.text else {
            return Err(
                "there is nothing to send: write a text, or name a file, e.g. --image cat.png"
                    .to_owned(),
            );
        };
        if self.poll.is_empty() {
            Ok(json!({"kind": "text", "text": text}))
        } else {
            Ok(json!({"kind": "poll", "text": text, "options": self.poll}))
        }
    }
}

/// The media type that goes with a file's name.
fn type_of(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    Some(match extension.as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "mov" => "video/quicktime",
        "ogg" | "oga" | "opus" => "audio/ogg; codecs=opus",
        "mp3" => "audio/mpeg",
        "m4a" | "aac" => "audio/mp4",
        "wav" => "audio/wav",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "zip" => "application/zip",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        assert_eq!(place("52.5, -13"), Ok((52.5, -13.0)));
        assert!(place("52.5").is_err() && place("a,b").is_err());
    }

    #[test]
    fn names_tell_types() {
        assert_eq!(type_of(Path::new("a/CAT.PNG")), Some("image/png"));
        assert_eq!(type_of(Path::new("a/cat")), None);
    }
}
