//! Tags of the binary encoding (G 3.2).

/// Nothing: an absent value or a list without members.
pub(super) const EMPTY: u8 = 0;
/// First of the four tags of two-byte words; the next byte is the index.
pub(super) const DICTIONARY_0: u8 = 236;
/// Last of the four tags of two-byte words.
pub(super) const DICTIONARY_3: u8 = 239;
/// Interop address: user, device (u16), integrator (u16), from the server also the word `interop`.
pub(super) const INTEROP_JID: u8 = 245;
/// Messenger address: user, device (u16), server.
pub(super) const FB_JID: u8 = 246;
/// Address of a device: domain byte, device byte, user.
pub(super) const AD_JID: u8 = 247;
/// List with its size in one byte.
pub(super) const LIST_8: u8 = 248;
/// List with its size in two bytes.
pub(super) const LIST_16: u8 = 249;
/// Address of user (may be absent) and server.
pub(super) const JID_PAIR: u8 = 250;
/// Packed hexadecimal digits.
pub(super) const HEX_8: u8 = 251;
/// Bytes with their length in one byte.
pub(super) const BINARY_8: u8 = 252;
/// Bytes with their length in 20 bits.
pub(super) const BINARY_20: u8 = 253;
/// Bytes with their length in four bytes.
pub(super) const BINARY_32: u8 = 254;
/// Packed decimal digits, `-` and `.`.
pub(super) const NIBBLE_8: u8 = 255;

/// Bit of the flag byte that says the body is zlib data (G 3.1).
pub(super) const FLAG_COMPRESSED: u8 = 2;
