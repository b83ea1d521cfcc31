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

fn image(media: &Media) -> kind::ImageMessage {
    let file = &media.file;
    kind::ImageMessage {
        url: file.url.clone(),
        mimetype: Some(media.mimetype.clone()),
        caption: media.caption.clone(),
        file_sha256: Some(file.sha256.to_vec()),
        file_length: Some(file.length),
        height: media.height,
        width: media.width,
        media_key: Some(file.key.as_bytes().to_vec()),
        file_enc_sha256: Some(file.enc_sha256.to_vec()),
        direct_path: Some(file.direct_path.clone()),
        media_key_timestamp: Some(file.key_timestamp),
        jpeg_thumbnail: media.thumbnail.clone(),
        view_once: media.view_once.then_some(true),
        context_info: context(&media.context).into(),
        ..Default::default()
    }
}

fn video(media: &Media) -> kind::VideoMessage {
    let file = &media.file;
    kind::VideoMessage {
        url: file.url.clone(),
        mimetype: Some(media.mimetype.clone()),
        file_sha256: Some(file.sha256.to_vec()),
        file_length: Some(file.length),
        seconds: media.seconds,
        media_key: Some(file.key.as_bytes().to_vec()),
        caption: media.caption.clone(),
        gif_playback: (media.kind == MediaKind::Gif).then_some(true),
        height: media.height,
        width: media.width,
        file_enc_sha256: Some(file.enc_sha256.to_vec()),
        direct_path: Some(file.direct_path.clone()),
        media_key_timestamp: Some(file.key_timestamp),
        jpeg_thumbnail: media.thumbnail.clone(),
        view_once: media.view_once.then_some(true),
        context_info: context(&media.context).into(),
        ..Default::default()
    }
}

fn audio(media: &Media) -> kind::AudioMessage {
    let file = &media.file;
    kind::AudioMessage {
        url: file.url.clone(),
        mimetype: Some(media.mimetype.clone()),
        file_sha256: Some(file.sha256.to_vec()),
        file_length: Some(file.length),
        seconds: media.seconds,
        ptt: (media.kind == MediaKind::Voice).then_some(true),
        media_key: Some(file.key.as_bytes().to_vec()),
        file_enc_sha256: Some(file.enc_sha256.to_vec()),
        direct_path: Some(file.direct_path.clone()),
        media_key_timestamp: Some(file.key_timestamp),
        waveform: (!media.waveform.is_empty()).then(|| media.waveform.clone()),
        view_once: media.view_once.then_some(true),
        context_info: context(&media.context).into(),
        ..Default::default()
    }
}

fn document(media: &Media) -> kind::DocumentMessage {
    let file = &media.file;
    kind::DocumentMessage {
        url: file.url.clone(),
        mimetype: Some(media.mimetype.clone()),
        title: media.file_name.clone(),
        file_sha256: Some(file.sha256.to_vec()),
        file_length: Some(file.length),
        media_key: Some(file.key.as_bytes().to_vec()),
        file_name: media.file_name.clone(),
        file_enc_sha256: Some(file.enc_sha256.to_vec()),
        direct_path: Some(file.direct_path.clone()),
        media_key_timestamp: Some(file.key_timestamp),
        jpeg_thumbnail: media.thumbnail.clone(),
        caption: media.caption.clone(),
        context_info: context(&media.context).into(),
        ..Default::default()
    }
}

fn sticker(media: &Media) -> kind::StickerMessage {
    let file = &media.file;
    kind::StickerMessage {
        url: file.url.clone(),
        file_sha256: Some(file.sha256.to_vec()),
        file_enc_sha256: Some(file.enc_sha256.to_vec()),
        media_key: Some(file.key.as_bytes().to_vec()),
        mimetype: Some(media.mimetype.clone()),
        height: media.height,
        width: media.width,
        direct_path: Some(file.direct_path.clone()),
        file_length: Some(file.length),
        media_key_timestamp: Some(file.key_timestamp),
        is_animated: media.animated.then_some(true),
        context_info: context(&media.context).into(),
        ..Default::default()
    }
}
