//! `POST …/messages`: what the owner of a phone sends.

use axum::{
    Json,
    extract::{Path, State},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::stream;
use gatekeeper::message::{Body as Said, Contact, Context as Stands, Location, Media, MediaKind};
use serde::Deserialize;
use serde_json::json;

use super::{
    Context, Error,
    error::Body,
    phones::{Answer, account, phone},
};
use crate::{
    media::Hosted,
    phone::content::{Content, Foreign, Standing, usual_type},
};

/// The kinds that are not files.
const KINDS: [&str; 11] = [
    "text",
    "location",
    "live_location",
    "contact",
    "poll",
    "view_once",
    "timer",
    "group_invitation",
    "call",
    "unknown",
    "raw",
];

/// A message. Which fields belong to which kind stands in `docs/sandbox.md`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewMessage {
    to: String,
    kind: String,
    id: Option<String>,
    protobuf_base64: Option<String>,
    text: Option<String>,
    reply_to: Option<String>,
    expiration: Option<u32>,
    forwarded: bool,
    caption: Option<String>,
    mimetype: Option<String>,
    file_name: Option<String>,
    data_base64: Option<String>,
    upload: Option<String>,
    duration: Option<u32>,
    waveform: Vec<u8>,
    width: Option<u32>,
    height: Option<u32>,
    thumbnail_base64: Option<String>,
    view_once: bool,
    animated: bool,
    latitude: Option<f64>,
    longitude: Option<f64>,
    name: Option<String>,
    address: Option<String>,
    accuracy: Option<u32>,
    contacts: Vec<NewContact>,
    options: Vec<String>,
}

/// Somebody to write to; without a vCard one is made of name and number.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewContact {
    name: String,
    vcard: Option<String>,
    phone: Option<String>,
}

impl From<NewContact> for Contact {
    fn from(contact: NewContact) -> Self {
        let NewContact { name, vcard, phone } = contact;
        let vcard = vcard.unwrap_or_else(|| {
            let line = |text: &str| text.replace(['\r', '\n'], " ");
            let phone = phone.map_or_else(String::new, |phone| {
                format!("TEL;type=CELL:{}\n", line(&phone))
            });
            format!(
                "BEGIN:VCARD\nVERSION:3.0\nFN:{}\n{phone}END:VCARD",
                line(&name)
            )
        });
        Self { name, vcard }
    }
}

pub(super) async fn send(
    State(context): State<Context>,
    Path(number): Path<String>,
    Body(message): Body<NewMessage>,
) -> Answer {
    let phone = phone(&context, &number)?;
    let account = account(&context, &message.to)?;
    let standing = Standing {
        id: message.id.clone().filter(|id| !id.is_empty()),
        reply_to: message.reply_to.clone(),
        expiration: message.expiration,
        forwarded: message.forwarded,
    };
    let content = message.content(&context).await?;
    let world = &context.world;
    let id = phone.send(world, &account, content, &standing)?;
    Ok(Json(json!({"id": id})))
}

impl NewMessage {
    async fn content(self, context: &Context) -> Answer<Content> {
        if let Some(kind) = self.file_kind() {
            return self.file(context, kind).await;
        }
        Ok(match self.kind.as_str() {
            "text" => Content::Plain(Said::text(self.wanted_text()?)),
            "location" => {
                let (latitude, longitude) = self.place()?;
                Content::Plain(Said::Location(Location {
                    latitude,
                    longitude,
                    name: self.name.clone(),
                    address: self.address.clone(),
                    accuracy_m: self.accuracy,
                    thumbnail: self.thumbnail()?,
                    context: Stands::default(),
                }))
            }
            "live_location" => {
                let (latitude, longitude) = self.place()?;
                Content::Foreign(Foreign::LiveLocation {
                    latitude,
                    longitude,
                })
            }
            "contact" => {
                let contacts: Vec<Contact> = self.contacts.into_iter().map(Into::into).collect();
                if contacts.is_empty() {
                    return Err(Error::bad(
                        "a message of kind `contact` names nobody",
                        "put at least one into `contacts`: {\"name\":\"Ed\",\"phone\":\"+4915187654321\"}",
                    ));
                }
                Content::Plain(Said::Contacts {
                    contacts,
                    context: Stands::default(),
                })
            }
            "poll" => Content::Foreign(Foreign::Poll {
                question: self.wanted_text()?,
                answers: self.options,
            }),
            "timer" => Content::Plain(Said::Timer {
                seconds: self.expiration.ok_or_else(|| {
                    Error::bad(
                        "a message of kind `timer` says no time",
                        "put the seconds into `expiration`; 0 lets messages stay",
                    )
                })?,
            }),
            "group_invitation" => Content::Foreign(Foreign::GroupInvitation(self.wanted_text()?)),
            "call" => Content::Foreign(Foreign::Call),
            "unknown" => Content::Foreign(Foreign::Unknown),
            "raw" => {
                let protobuf = self.protobuf_base64.as_deref().ok_or_else(|| {
                    Error::bad(
                        "a message of kind `raw` has no content",
                        "put the bytes of a `Message` protobuf into `protobuf_base64`",
                    )
                })?;
                Content::Foreign(Foreign::Raw(decode("protobuf_base64", protobuf)?))
            }
            other => {
                let files = MediaKind::ALL.into_iter().map(MediaKind::word);
                let known: Vec<_> = KINDS.into_iter().chain(files).collect();
                return Err(Error::bad(
                    format!("the kind `{other}` is not known"),
                    format!("send one of: {}", known.join(", ")),
                ));
            }
        })
    }

    /// The kind of a file. What is to be looked at once is what its type says.
    fn file_kind(&self) -> Option<MediaKind> {
        if self.kind != "view_once" {
            return MediaKind::from_word(&self.kind);
        }
        let mimetype = self.mimetype.as_deref().unwrap_or_default();
        Some(match mimetype.split('/').next() {
            Some("video") => MediaKind::Video,
            Some("audio") => MediaKind::Voice,
            _ => MediaKind::Image,
        })
    }

    fn wanted_text(&self) -> Answer<String> {
        self.text
            .clone()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| {
                Error::bad(
                    format!("a message of kind `{}` has no text", self.kind),
                    "put what it says into `text`",
                )
            })
    }

    fn place(&self) -> Answer<(f64, f64)> {
        self.latitude
            .zip(self.longitude)
            .filter(|(latitude, longitude)| {
                (-90.0..=90.0).contains(latitude) && (-180.0..=180.0).contains(longitude)
            })
            .ok_or_else(|| {
                Error::bad(
                    format!("a message of kind `{}` is nowhere on earth", self.kind),
                    "give `latitude` (-90 to 90) and `longitude` (-180 to 180)",
                )
            })
    }

    fn thumbnail(&self) -> Answer<Option<Vec<u8>>> {
        let thumbnail = self.thumbnail_base64.as_deref();
        thumbnail
            .map(|text| decode("thumbnail_base64", text))
            .transpose()
    }

    async fn file(self, context: &Context, kind: MediaKind) -> Answer<Content> {
        if self.caption.is_some() && !kind.carries_caption() {
            return Err(Error::bad(
                format!("a message of kind `{}` has no caption", self.kind),
                "send the text as a message of its own",
            ));
        }
        if self.waveform.iter().any(|sample| *sample > 100) || self.waveform.len() > 64 {
            return Err(Error::bad(
                "`waveform` is no waveform",
                "give at most 64 numbers from 0 to 100",
            ));
        }
        let hosted = self.hosted(context, kind).await?;
        let mimetype = self.mimetype.clone();
        let media = Media {
            caption: self.caption.clone().filter(|text| !text.is_empty()),
            file_name: self.file_name.clone(),
            width: self.width,
            height: self.height,
            seconds: self.duration,
            waveform: self.waveform.clone(),
            thumbnail: self.thumbnail()?,
            view_once: self.view_once || self.kind == "view_once",
            animated: self.animated,
            ..Media::new(
                kind,
                mimetype.unwrap_or_else(|| usual_type(kind).to_owned()),
                hosted.file,
            )
        };
        Ok(Content::File(Said::Media(Box::new(media)), hosted.name))
    }

    /// The file on the media server: uploaded before, or out of the request itself.
    async fn hosted(&self, context: &Context, kind: MediaKind) -> Answer<Hosted> {
        match (&self.data_base64, &self.upload) {
            (Some(data), None) => {
                let data = Bytes::from(decode("data_base64", data)?);
                let chunks = stream::iter([Ok::<_, std::io::Error>(data)]);
                let world = &context.world;
                let hosted = world.files.host(kind, chunks, world.clock.now_ms()).await;
                hosted.map_err(super::files::not_kept)
            }
            (None, Some(id)) => {
                let hosted = context.world.uploads.get(id).ok_or_else(|| {
                    Error::missing(
                        format!("there is no upload `{id}`"),
                        "upload first: PUT /control/phones/{number}/uploads?kind=…",
                    )
                })?;
                if hosted.kind.key_info() == kind.key_info() {
                    Ok(hosted)
                } else {
                    Err(Error::bad(
                        format!("upload `{id}` is of another kind of file"),
                        format!("upload it again with ?kind={}", kind.word()),
                    ))
                }
            }
            _ => Err(Error::bad(
                format!("a message of kind `{}` has no file, or two", self.kind),
                "give either `data_base64` or the `upload` that PUT …/uploads answered",
            )),
        }
    }
}

fn decode(field: &str, text: &str) -> Answer<Vec<u8>> {
    STANDARD.decode(text).map_err(|error| {
        Error::bad(
            format!("`{field}` is not base64: {error}"),
            "use the standard alphabet with padding",
        )
    })
}
