//! A blurhash (`xyz.amorgan.blurhash`, MSC2448) as a small picture: WhatsApp knows no such hash, and shows a JPEG until the file is
//! there.

use jpeg_encoder::{ColorType, Encoder};

/// The longer side of the picture, in pixels: there is no more in such a hash.
const SIDE: u32 = 32;
/// The longest hash: nine by nine components.
const LONGEST: usize = 6 + 2 * 80;
/// Quality of the JPEG, of 100.
const QUALITY: u8 = 60;

/// The picture that a hash describes, in the shape of the file; nothing if it is none.
#[must_use]
pub fn blurred(hash: &str, width: Option<u32>, height: Option<u32>) -> Option<Vec<u8>> {
    if hash.len() > LONGEST {
        return None;
    }
    let (width, height) = shape(width.unwrap_or(1), height.unwrap_or(1));
    let pixels = blurhash::decode(hash, width, height, 1.0).ok()?;
    let mut picture = Vec::new();
    let (width, height) = (width.try_into().ok()?, height.try_into().ok()?);
    Encoder::new(&mut picture, QUALITY)
        .encode(&pixels, width, height, ColorType::Rgba)
        .ok()?;
    Some(picture)
}

/// The sides of a small picture in the shape of a large one.
fn shape(width: u32, height: u32) -> (u32, u32) {
    let longer = u64::from(width.max(height).max(1));
    let scaled = |side: u32| {
        let side = u64::from(side) * u64::from(SIDE) / longer;
        u32::try_from(side).unwrap_or(SIDE).clamp(1, SIDE)
    };
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hash_becomes_a_jpeg_in_the_shape_of_the_file() {
        let hash = "LEHV6nWB2yk8pyo0adR*.7kCMdnj";
        let picture = blurred(hash, Some(1600), Some(900)).unwrap();
        assert!(picture.starts_with(&[0xFF, 0xD8, 0xFF]) && picture.len() < 4000);
        assert_eq!(shape(1600, 900), (32, 18));
        assert_eq!(shape(0, 0), (1, 1));
        assert_eq!(shape(u32::MAX, 1), (32, 1));
        assert!(blurred(hash, None, None).is_some());
        assert_eq!(blurred("", Some(1), Some(1)), None);
        assert_eq!(blurred(&hash[..20], Some(1), Some(1)), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_picture_or_nothing(hash in ".{0,200}", width: u32, height: u32) {
            let picture = blurred(&hash, Some(width), Some(height));
            prop_assert!(picture.is_none_or(|picture| picture.starts_with(&[0xFF, 0xD8])));
        }
    }
}
