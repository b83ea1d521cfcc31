//! Files. Of a kind whose file cannot be fetched, because the key or the place is missing, only the
//! name is told.

use waproto::whatsapp::message as kind;

use super::{Reader, some};
use crate::{
    media::MediaKey,
    message::{Body, Context, Media, MediaFile, MediaKind},
};

/// Samples of a waveform.
const WAVEFORM: usize = 64;

/// The loudest sample.
const LOUDEST: u8 = 100;

/// The fields of a message that hold a file; one of them is set.
pub(super) struct Attachment {
    pub(super) image: Option<kind::ImageMessage>,
    pub(super) video: Option<kind::VideoMessage>,
    pub(super) ptv: Option<kind::VideoMessage>,
    pub(super) audio: Option<kind::AudioMessage>,
    pub(super) document: Option<kind::DocumentMessage>,
    pub(super) sticker: Option<kind::StickerMessage>,
}

/// What all files have, as the schema has it.
struct Parts {
    key: Option<Vec<u8>>,
    sha256: Option<Vec<u8>>,
    enc_sha256: Option<Vec<u8>>,
    length: Option<u64>,
    direct_path: Option<String>,
    url: Option<String>,
    key_timestamp: Option<i64>,
}

impl Parts {
    fn file(self) -> Option<MediaFile> {
        let url = some(self.url);
        let direct_path = some(self.direct_path).or_else(|| path_of(url.as_deref()?))?;
        Some(MediaFile {
            key: MediaKey::from(exactly(self.key)?),
            sha256: exactly(self.sha256)?,
            enc_sha256: exactly(self.enc_sha256)?,
            length: self.length?,
            direct_path,
            url,
            key_timestamp: self.key_timestamp.unwrap_or_default(),
        })
    }
}

fn exactly(bytes: Option<Vec<u8>>) -> Option<[u8; 32]> {
    bytes?.try_into().ok()
}

/// The path and the query of an address.
fn path_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    Some(format!("/{path}"))
}

impl Reader {
    pub(super) fn media(self, attachment: Attachment, view_once: bool) -> Option<Body> {
        let edits = self.edits;
        // In an edit the new caption may come without the file, which stays as it was.
        let edited = |caption: Option<String>, context: &Context| {
            edits.then(|| Body::Text {
                text: caption.unwrap_or_default(),
                context: context.clone(),
            })
        };
        let Attachment {
            image,
            video,
            ptv,
            audio,
            document,
            sticker,
        } = attachment;
        if let Some(image) = image {
            self.image(image, view_once, edited)
        } else if let Some(video) = video {
            let kind = if video.gif_playback.unwrap_or_default() {
                MediaKind::Gif
            } else {
                MediaKind::Video
            };
            self.video(video, kind, view_once, edited)
        } else if let Some(video) = ptv {
            self.video(video, MediaKind::RoundVideo, view_once, edited)
        } else if let Some(document) = document {
            self.document(document, edited)
        } else if let Some(audio) = audio {
            self.audio(audio, view_once)
        } else {
            self.sticker(sticker?)
        }
    }

    fn image(
        self,
        image: kind::ImageMessage,
        view_once: bool,
        edited: impl Fn(Option<String>, &Context) -> Option<Body>,
    ) -> Option<Body> {
        let context = self.context(image.context_info.into_option());
        let file = Parts {
            key: image.media_key,
            sha256: image.file_sha256,
            enc_sha256: image.file_enc_sha256,
            length: image.file_length,
            direct_path: image.direct_path,
            url: image.url,
            key_timestamp: image.media_key_timestamp,
        };
        let Some(file) = file.file() else {
            return edited(image.caption, &context);
        };
        Some(body(Media {
            caption: some(image.caption),
            width: image.width,
            height: image.height,
            thumbnail: thumbnail(image.jpeg_thumbnail),
            view_once: view_once || image.view_once.unwrap_or_default(),
            context,
            ..Media::new(MediaKind::Image, image.mimetype.unwrap_or_default(), file)
        }))
    }

    fn video(
        self,
        video: kind::VideoMessage,
        kind: MediaKind,
        view_once: bool,
        edited: impl Fn(Option<String>, &Context) -> Option<Body>,
    ) -> Option<Body> {
        let context = self.context(video.context_info.into_option());
        let file = Parts {
            key: video.media_key,
            sha256: video.file_sha256,
            enc_sha256: video.file_enc_sha256,
            length: video.file_length,
            direct_path: video.direct_path,
            url: video.url,
            key_timestamp: video.media_key_timestamp,
        };
        let Some(file) = file.file() else {
            return edited(video.caption, &context);
        };
        Some(body(Media {
            caption: some(video.caption),
            width: video.width,
            height: video.height,
            seconds: video.seconds,
            thumbnail: thumbnail(video.jpeg_thumbnail),
            view_once: view_once || video.view_once.unwrap_or_default(),
            context,
            ..Media::new(kind, video.mimetype.unwrap_or_default(), file)
        }))
    }

    fn audio(self, audio: kind::AudioMessage, view_once: bool) -> Option<Body> {
        let context = self.context(audio.context_info.into_option());
        let file = Parts {
            key: audio.media_key,
            sha256: audio.file_sha256,
            enc_sha256: audio.file_enc_sha256,
            length: audio.file_length,
            direct_path: audio.direct_path,
            url: audio.url,
            key_timestamp: audio.media_key_timestamp,
        };
        let kind = if audio.ptt.unwrap_or_default() {
            MediaKind::Voice
        } else {
            MediaKind::Audio
        };
        Some(body(Media {
            seconds: audio.seconds,
            waveform: waveform(audio.waveform.unwrap_or_default()),
            view_once: view_once || audio.view_once.unwrap_or_default(),
            context,
            ..Media::new(kind, audio.mimetype.unwrap_or_default(), file.file()?)
        }))
    }

    fn document(
        self,
        document: kind::DocumentMessage,
        edited: impl Fn(Option<String>, &Context) -> Option<Body>,
    ) -> Option<Body> {
        let context = self.context(document.context_info.into_option());
        let file = Parts {
            key: document.media_key,
            sha256: document.file_sha256,
            enc_sha256: document.file_enc_sha256,
            length: document.file_length,
            direct_path: document.direct_path,
            url: document.url,
            key_timestamp: document.media_key_timestamp,
        };
        let Some(file) = file.file() else {
            return edited(document.caption, &context);
        };
        Some(body(Media {
            caption: some(document.caption),
            file_name: some(document.file_name).or_else(|| some(document.title)),
            thumbnail: thumbnail(document.jpeg_thumbnail),
            context,
            ..Media::new(
                MediaKind::Document,
                document.mimetype.unwrap_or_default(),
                file,
            )
        }))
    }

    fn sticker(self, sticker: kind::StickerMessage) -> Option<Body> {
        let context = self.context(sticker.context_info.into_option());
        let file = Parts {
            key: sticker.media_key,
            sha256: sticker.file_sha256,
            enc_sha256: sticker.file_enc_sha256,
            length: sticker.file_length,
            direct_path: sticker.direct_path,
            url: sticker.url,
            key_timestamp: sticker.media_key_timestamp,
        };
        Some(body(Media {
            width: sticker.width,
            height: sticker.height,
            animated: sticker.is_animated.unwrap_or_default()
                || sticker.is_lottie.unwrap_or_default(),
            context,
            ..Media::new(
                MediaKind::Sticker,
                sticker.mimetype.unwrap_or_default(),
                file.file()?,
            )
        }))
    }
}

fn body(media: Media) -> Body {
    Body::Media(Box::new(media))
}

fn thumbnail(jpeg: Option<Vec<u8>>) -> Option<Vec<u8>> {
    jpeg.filter(|jpeg| !jpeg.is_empty())
}

/// The loudness as it may be used: of a longer one as many samples as there should be, none louder
/// than loudest.
fn waveform(samples: Vec<u8>) -> Vec<u8> {
    let step = |n: usize| samples.get(n * samples.len() / WAVEFORM).copied();
    let samples = if samples.len() > WAVEFORM {
        (0..WAVEFORM).filter_map(step).collect()
    } else {
        samples
    };
    samples
        .into_iter()
        .map(|sample| sample.min(LOUDEST))
        .collect()
}
