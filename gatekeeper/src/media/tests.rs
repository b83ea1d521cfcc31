//! Fixed vectors, round trips in random pieces, and files that are not what they promise.

use proptest::prelude::*;

use super::*;
use crate::message::MediaKind;

/// A file and its encrypted form in pieces of `piece` bytes.
fn encrypted(key: &MediaKey, kind: MediaKind, plain: &[u8], piece: usize) -> (MediaFile, Vec<u8>) {
    let mut encryptor = Encryptor::new(key, kind).expect("a cipher");
    let mut out = Vec::new();
    for piece in plain.chunks(piece) {
        encryptor.update(piece, &mut out).expect("encrypted");
    }
    let sums = encryptor.finish(&mut out).expect("encrypted");
    (
        MediaFile::new(key.clone(), sums, "/v/t62/x?y=1".to_owned(), 0),
        out,
    )
}

fn decrypted(
    file: &MediaFile,
    kind: MediaKind,
    bytes: &[u8],
    piece: usize,
) -> Result<Vec<u8>, MediaError> {
    let mut decryptor = Decryptor::new(file, kind)?;
    let mut out = Vec::new();
    for piece in bytes.chunks(piece) {
        decryptor.update(piece, &mut out)?;
    }
    decryptor.finish(&mut out)?;
    Ok(out)
}

fn key() -> MediaKey {
    MediaKey::from(std::array::from_fn(|n| n as u8))
}

/// Made with Python's `cryptography` and `hmac`, by G 6.1.
#[test]
fn fixed_vectors() {
    for (kind, plain, expected) in VECTORS {
        let (file, bytes) = encrypted(&key(), *kind, plain, 7);
        assert_eq!(hex::encode(&bytes), *expected, "{kind:?}");
        assert_eq!(bytes.len() as u64, encrypted_length(file.length));
        assert_eq!(
            decrypted(&file, *kind, &bytes, 5).as_deref(),
            Ok(*plain),
            "{kind:?}"
        );
    }
}

const VECTORS: &[(MediaKind, &[u8], &str)] = &[
    (
        MediaKind::Image,
        b"",
        "d86dbcfed371684274c26215fc53dc72cb480389e6f95d2b38d9",
    ),
    (
        MediaKind::Video,
        b"0123456789abcdef",
        "bc95713fc498052b8161e91e71f267afb81e84300fd0495a9d4001f4d0d2866084bd8e86c1a7e1e36e7d",
    ),
    (
        MediaKind::Voice,
        b"a voice message",
        "dd1afd8288733deaee4d94c746f3723a8e94a8695fefe2986a3a",
    ),
    (
        MediaKind::Document,
        b"a file of more than one block, and a bit",
        "da79304a7505374504f9555339e92525342a6864f71bd6088af3cb53c080d32f371012dcb4051ce0106a7115d16826fc6deeb98d1bf397aa805f",
    ),
];

#[test]
fn kinds_share_keys_as_whatsapp_has_it() {
    let bytes = |kind| encrypted(&key(), kind, b"the same", 64).1;
    assert_eq!(bytes(MediaKind::Image), bytes(MediaKind::Sticker));
    assert_eq!(bytes(MediaKind::Video), bytes(MediaKind::Gif));
    assert_eq!(bytes(MediaKind::Video), bytes(MediaKind::RoundVideo));
    assert_eq!(bytes(MediaKind::Audio), bytes(MediaKind::Voice));
    assert_ne!(bytes(MediaKind::Audio), bytes(MediaKind::Video));
    assert_ne!(bytes(MediaKind::Image), bytes(MediaKind::Document));
}

#[test]
fn a_file_that_is_not_what_it_promises_is_refused() {
    const KIND: MediaKind = MediaKind::Document;
    let plain = vec![7; 1000];
    let (file, bytes) = encrypted(&key(), KIND, &plain, 64);
    let check = |file: &MediaFile, bytes: &[u8]| decrypted(file, KIND, bytes, 37);
    assert_eq!(check(&file, &bytes), Ok(plain));

    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    for at in [
        0,
        500,
        bytes.len() - MAC - 1,
        bytes.len() - MAC,
        bytes.len() - 1,
    ] {
        assert_eq!(
            check(&file, &flipped(at)),
            Err(MediaError::Mac),
            "byte {at}"
        );
    }
    for cut in [0, 1, 9, 10, 11, 26, 500, bytes.len() - 16, bytes.len() - 1] {
        assert_eq!(
            check(&file, &bytes[..cut]),
            Err(MediaError::Truncated),
            "{cut} bytes"
        );
    }
    let longer = [&bytes[..], b"x"].concat();
    assert_eq!(check(&file, &longer), Err(MediaError::TooLong));

    let with = |change: fn(&mut MediaFile)| {
        let mut file = file.clone();
        change(&mut file);
        file
    };
    assert_eq!(
        check(&with(|file| file.key = MediaKey::from([9; 32])), &bytes),
        Err(MediaError::Mac)
    );
    assert_eq!(
        check(&with(|file| file.enc_sha256[0] ^= 1), &bytes),
        Err(MediaError::EncryptedHash)
    );
    assert_eq!(
        check(&with(|file| file.sha256[0] ^= 1), &bytes),
        Err(MediaError::Hash)
    );
    // The length lies: within the padding, far too short, too long, without end.
    assert_eq!(
        check(&with(|file| file.length += 1), &bytes),
        Err(MediaError::Length)
    );
    for (length, error) in [
        (10, MediaError::TooLong),
        (0, MediaError::TooLong),
        (5000, MediaError::Length),
        (u64::MAX, MediaError::Length),
    ] {
        let lying = MediaFile {
            length,
            ..file.clone()
        };
        assert_eq!(check(&lying, &bytes), Err(error), "{length}");
    }
    assert_eq!(
        decrypted(&file, MediaKind::Image, &bytes, 37),
        Err(MediaError::Mac)
    );
}

/// What is authentic may still be padded wrongly, by a sender who means it.
#[test]
fn authentic_bytes_with_wrong_padding_are_refused() {
    let keys = key().expand(MediaKind::Image).expect("keys");
    let mut mac = keys.authenticate();
    let body = [0x5a; 32];
    mac.update(&body);
    let mut bytes = body.to_vec();
    bytes.extend_from_slice(&mac.sign().as_ref()[..MAC]);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    let file = MediaFile {
        key: key(),
        sha256: [0; 32],
        enc_sha256: digest.as_ref().try_into().expect("32 bytes"),
        length: 20,
        direct_path: "/".to_owned(),
        url: None,
        key_timestamp: 0,
    };
    assert_eq!(
        decrypted(&file, MediaKind::Image, &bytes, 11),
        Err(MediaError::Padding)
    );
}

#[test]
fn lengths_at_the_edges() {
    assert_eq!(encrypted_length(0), 26);
    assert_eq!(encrypted_length(15), 26);
    assert_eq!(encrypted_length(16), 42);
    assert_eq!(encrypted_length(u64::MAX), u64::MAX);
}

#[test]
fn addresses() {
    let file = |path: &str| MediaFile {
        direct_path: path.to_owned(),
        ..encrypted(&key(), MediaKind::Image, b"", 1).0
    };
    let url = |path: &str| download_url("https://mmg.whatsapp.net/", &file(path));
    assert_eq!(
        url("/v/t62.7118-24/a?ccb=11-4&oh=b"),
        "https://mmg.whatsapp.net/v/t62.7118-24/a?ccb=11-4&oh=b"
    );
    // The message does not choose the host.
    assert_eq!(
        url("@evil.example/"),
        "https://mmg.whatsapp.net/@evil.example/"
    );
    assert_eq!(
        url("//evil.example/"),
        "https://mmg.whatsapp.net/evil.example/"
    );
    assert_eq!(
        url(".evil.example/"),
        "https://mmg.whatsapp.net/.evil.example/"
    );
    assert_eq!(
        storage_path(1, "vK3-_x"),
        "/interop/whatsapp/download/1/vK3-_x/"
    );
    assert_eq!(
        storage_path(7, "../a?b"),
        "/interop/whatsapp/download/7/..%2Fa%3Fb/"
    );
}

#[test]
fn keys_are_not_shown() {
    let key = key();
    assert_eq!(format!("{key:?}"), "MediaKey(..)");
    let (file, _) = encrypted(&key, MediaKind::Image, b"abc", 1);
    assert_eq!(format!("{file:?}"), "MediaFile { length: 3, .. }");
    assert_ne!(
        MediaKey::random(&mut rand::rng()),
        MediaKey::random(&mut rand::rng())
    );
}

/// Bytes cut into random pieces, of which some are empty.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #[test]
    fn round_trips_in_any_pieces(
        plain in prop::collection::vec(any::<u8>(), 0..2000),
        kind in prop::sample::select(MediaKind::ALL.to_vec()),
        secret: [u8; 32],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let key = MediaKey::from(secret);
        let (whole, bytes) = encrypted(&key, kind, &plain, plain.len().max(1));
        let mut encryptor = Encryptor::new(&key, kind).expect("a cipher");
        let mut out = Vec::new();
        for piece in pieces(&plain, &cuts) {
            encryptor.update(piece, &mut out).expect("encrypted");
        }
        let sums = encryptor.finish(&mut out).expect("encrypted");
        prop_assert!(out == bytes && sums.sha256 == whole.sha256);
        prop_assert!(sums.enc_sha256 == whole.enc_sha256 && sums.length == plain.len() as u64);

        let mut decryptor = Decryptor::new(&whole, kind).expect("a cipher");
        let mut out = Vec::new();
        for piece in pieces(&bytes, &cuts) {
            decryptor.update(piece, &mut out).expect("decrypted");
        }
        prop_assert_eq!(decryptor.finish(&mut out), Ok(()));
        prop_assert!(out == plain);
    }

    #[test]
    fn damage_is_always_found(
        plain in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let (file, mut bytes) = encrypted(&key(), MediaKind::Voice, &plain, 64);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(
            decrypted(&file, MediaKind::Voice, &bytes, 13),
            Err(MediaError::Mac)
        );
    }

    #[test]
    fn any_bytes_at_all(bytes: Vec<u8>, length: u64, secret: [u8; 32]) {
        let file = MediaFile {
            length,
            ..encrypted(&MediaKey::from(secret), MediaKind::Video, b"x", 1).0
        };
        prop_assert!(decrypted(&file, MediaKind::Video, &bytes, 3).is_err());
    }
}
