//! Protobuf by hand, for what no encoder writes.

/// A field that has a length: a text, bytes, or a message.
#[must_use]
pub fn field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for mut rest in [u64::from(number) << 3 | 2, value.len() as u64] {
        while rest >= 0x80 {
            bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }
    bytes.extend_from_slice(value);
    bytes
}
