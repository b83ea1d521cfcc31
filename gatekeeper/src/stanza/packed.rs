//! Digits packed two to a byte (G 3.2).
//!
//! The byte before the digits counts the bytes that follow; its high bit says that the last half
//! byte is filler.

use super::wire::{HEX_8, NIBBLE_8};

/// Longest text that writers pack.
const LONGEST: usize = 127;

const FILLER: u8 = 15;

/// Which packing fits the text, if any.
pub(super) fn alphabet_of(text: &str) -> Option<u8> {
    if text.is_empty() || text.len() > LONGEST {
        None
    } else if text.bytes().all(|byte| nibble_of(NIBBLE_8, byte).is_some()) {
        Some(NIBBLE_8)
    } else if text.bytes().all(|byte| nibble_of(HEX_8, byte).is_some()) {
        Some(HEX_8)
    } else {
        None
    }
}

/// Appends the count byte and the packed digits of a text that [`alphabet_of`] gave this alphabet.
pub(super) fn pack(alphabet: u8, text: &str, out: &mut Vec<u8>) {
    let odd = text.len() % 2 == 1;
    // At most 64, as the text has at most 127 bytes.
    let count = u8::try_from(text.len().div_ceil(2)).unwrap_or(u8::MAX >> 1);
    out.push(count | if odd { 0x80 } else { 0 });
    let mut nibbles = text
        .bytes()
        .map(|byte| nibble_of(alphabet, byte).unwrap_or(FILLER));
    while let Some(high) = nibbles.next() {
        out.push(high << 4 | nibbles.next().unwrap_or(FILLER));
    }
}

/// The text of packed digits, or nothing if a half byte means no digit.
pub(super) fn unpack(alphabet: u8, odd: bool, packed: &[u8]) -> Option<String> {
    let digits = (packed.len() * 2).checked_sub(usize::from(odd))?;
    packed
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0x0f])
        .take(digits)
        .map(|nibble| digit_of(alphabet, nibble))
        .collect()
}

fn nibble_of(alphabet: u8, byte: u8) -> Option<u8> {
    match (byte, alphabet) {
        (b'0'..=b'9', _) => Some(byte - b'0'),
        (b'A'..=b'F', HEX_8) => Some(byte - b'A' + 10),
        (b'-', NIBBLE_8) => Some(10),
        (b'.', NIBBLE_8) => Some(11),
        _ => None,
    }
}

fn digit_of(alphabet: u8, nibble: u8) -> Option<char> {
    match (nibble, alphabet) {
        (0..=9, _) => Some(char::from(b'0' + nibble)),
        (10..=15, HEX_8) => Some(char::from(b'A' + nibble - 10)),
        (10, NIBBLE_8) => Some('-'),
        (11, NIBBLE_8) => Some('.'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(text: &str) -> (u8, Vec<u8>) {
        let alphabet = alphabet_of(text).unwrap();
        let mut out = Vec::new();
        pack(alphabet, text, &mut out);
        (alphabet, out)
    }

    #[test]
    fn digits_take_half_a_byte() {
        let even = packed("10853634039893");
        assert_eq!(
            even,
            (NIBBLE_8, vec![7, 0x10, 0x85, 0x36, 0x34, 0x03, 0x98, 0x93])
        );
        assert_eq!(
            packed("14155551001").1,
            [0x86, 0x14, 0x15, 0x55, 0x51, 0x00, 0x1f]
        );
        assert_eq!(packed("3EB0").0, HEX_8);
        assert_eq!(packed("1-2.3"), (NIBBLE_8, vec![0x83, 0x1a, 0x2b, 0x3f]));
    }

    #[test]
    fn other_text_is_not_packed() {
        for text in ["", "3eb0", "A-1", "joe", &"1".repeat(128)] {
            assert_eq!(alphabet_of(text), None, "{text}");
        }
        assert_eq!(alphabet_of(&"1".repeat(127)), Some(NIBBLE_8));
    }

    #[test]
    fn half_bytes_without_a_digit_are_refused() {
        assert_eq!(unpack(NIBBLE_8, false, &[0x1c]), None);
        assert_eq!(
            unpack(NIBBLE_8, false, &[0x1f]),
            None,
            "filler where a digit belongs"
        );
        assert_eq!(unpack(NIBBLE_8, true, &[]), None, "filler of nothing");
        assert_eq!(unpack(NIBBLE_8, true, &[0x1f]).as_deref(), Some("1"));
        assert_eq!(unpack(HEX_8, false, &[0x1f]).as_deref(), Some("1F"));
    }
}
