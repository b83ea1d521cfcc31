//! Encrypted files.

use gatekeeper::{
    media::{CipherFailed, Decryptor, Encryptor, MediaError, MediaKey},
    message::{MediaFile, MediaKind},
};

use super::{Decoder, Target, answer, magnitude};

const KIND: MediaKind = MediaKind::Document;

/// A file of so many bytes, and its encrypted form.
fn encrypted(length: usize) -> Result<(MediaFile, Vec<u8>), CipherFailed> {
    let key = MediaKey::from([7; 32]);
    let mut encryptor = Encryptor::new(&key, KIND)?;
    let mut bytes = Vec::new();
    encryptor.update(&plain(length), &mut bytes)?;
    let sums = encryptor.finish(&mut bytes)?;
    Ok((MediaFile::new(key, sums, "/".to_owned(), 0), bytes))
}

fn plain(length: usize) -> Vec<u8> {
    vec![b'x'; length]
}

/// Decrypts in pieces of the given size.
fn decrypted(file: &MediaFile, bytes: &[u8], piece: usize) -> Result<Vec<u8>, MediaError> {
    let mut decryptor = Decryptor::new(file, KIND)?;
    let mut out = Vec::new();
    for piece in bytes.chunks(piece) {
        decryptor.update(piece, &mut out)?;
    }
    decryptor.finish(&mut out)?;
    Ok(out)
}

/// The first byte is how long the message says that the file is, the second how large the pieces
/// are; the rest is the encrypted file.
pub(super) const FILE: Target = Target {
    name: "media-file",
    about: "an encrypted file, which may be another than its message says",
    words: &[b"\x10", &[0; 16], b"\x00", b"\xff"],
    start: || {
        let seeds = [0, 1, 15, 16, 17, 255]
            .into_iter()
            .filter_map(|length: u8| {
                let (_, bytes) = encrypted(length.into()).ok()?;
                Some([&[length, 7], &bytes[..]].concat())
            })
            .collect();
        Decoder::new(seeds, |input| {
            let Some(([length, piece], bytes)) = input.split_first_chunk() else {
                return String::new();
            };
            let length = usize::from(*length);
            let Ok((file, good)) = encrypted(length) else {
                return String::new();
            };
            let whole = decrypted(&file, bytes, bytes.len().max(1));
            assert_eq!(
                whole,
                decrypted(&file, bytes, usize::from(*piece).max(1)),
                "the pieces make a difference"
            );
            assert_eq!(
                whole.is_ok(),
                bytes == good,
                "another file passes for this one, or this one does not"
            );
            answer(whole, |file| {
                assert_eq!(file, plain(length), "it is not what was encrypted");
                magnitude(file.len()).to_string()
            })
        })
    },
};
