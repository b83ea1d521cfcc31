//! Files.

use waproto::{
    buffa::MessageField,
    whatsapp::{self as schema, message as kind},
};

use super::{Unsendable, context, wrapped};
use crate::message::{Media, MediaKind};

/// Writes a file, in the wrapper that goes with it.
pub(super) fn message(media: &Media) -> Result<schema::Message, Unsendable> {
    if media.caption.is_some() && !media.kind.carries_caption() {
        return Err(Unsendable {
            kind: format!("{} with a text", media.kind.name()),
        });
    }
    let mut message = schema::Message::default();
    match media.kind {
        MediaKind::Image => message.image_message = MessageField::some(image(media)),
        MediaKind::Video | MediaKind::Gif => {
            message.video_message = MessageField::some(video(media));
        }
        MediaKind::RoundVideo => message.ptv_message = MessageField::some(video(media)),
        MediaKind::Audio | MediaKind::Voice => {
            message.audio_message = MessageField::some(audio(media));
        }
        MediaKind::Document => message.document_message = MessageField::some(document(media)),
        MediaKind::Sticker => message.sticker_message = MessageField::some(sticker(media)),
    }
    let mut outer = schema::Message::default();
    match media.kind {
        MediaKind::Document if media.caption.is_some() => {
            outer.document_with_caption_message = wrapped(message);
        }
        MediaKind::Audio | MediaKind::Voice if media.view_once => {
            outer.view_once_message_v2_extension = wrapped(message);
        }
        MediaKind::Image | MediaKind::Video | MediaKind::Gif | MediaKind::RoundVideo
            if media.view_once =>
        {
            outer.view_once_message_v2 = wrapped(message);
        }
        _ => return Ok(message),
    }
    Ok(outer)
}

/// A message with a file: what all kinds have in common, and the fields of one kind.
macro_rules! file_message {
    ($kind:ident, $media:ident, $($field:ident: $value:expr,)*) => {
        kind::$kind {
            url: $media.file.url.clone(),
            mimetype: Some($media.mimetype.clone()),
            file_sha256: Some($media.file.sha256.to_vec()),
            file_enc_sha256: Some($media.file.enc_sha256.to_vec()),
            file_length: Some($media.file.length),
            media_key: Some($media.file.key.as_bytes().to_vec()),
            media_key_timestamp: Some($media.file.key_timestamp),
            direct_path: Some($media.file.direct_path.clone()),
            context_info: context(&$media.context).into(),
            $($field: $value,)*
            ..Default::default()
        }
    };
}

fn image(media: &Media) -> kind::ImageMessage {
    file_message! {
        ImageMessage, media,
        caption: media.caption.clone(),
        height: media.height,
        width: media.width,
        jpeg_thumbnail: media.thumbnail.clone(),
        view_once: media.view_once.then_some(true),
    }
}

fn video(media: &Media) -> kind::VideoMessage {
    file_message! {
        VideoMessage, media,
        caption: media.caption.clone(),
        seconds: media.seconds,
        gif_playback: (media.kind == MediaKind::Gif).then_some(true),
        height: media.height,
        width: media.width,
        jpeg_thumbnail: media.thumbnail.clone(),
        view_once: media.view_once.then_some(true),
    }
}

fn audio(media: &Media) -> kind::AudioMessage {
    file_message! {
        AudioMessage, media,
        seconds: media.seconds,
        ptt: (media.kind == MediaKind::Voice).then_some(true),
        waveform: (!media.waveform.is_empty()).then(|| media.waveform.clone()),
        view_once: media.view_once.then_some(true),
    }
}

fn document(media: &Media) -> kind::DocumentMessage {
    file_message! {
        DocumentMessage, media,
        title: media.file_name.clone(),
        file_name: media.file_name.clone(),
        jpeg_thumbnail: media.thumbnail.clone(),
        caption: media.caption.clone(),
    }
}

fn sticker(media: &Media) -> kind::StickerMessage {
    file_message! {
        StickerMessage, media,
        height: media.height,
        width: media.width,
        is_animated: media.animated.then_some(true),
    }
}
