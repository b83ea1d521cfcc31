//! The padding of message protobufs before Signal encryption.
//!
//! `N` bytes of value `N` are appended, with `N` drawn from 1 to 16, so that the length of a
//! ciphertext says less about its text. Libraries of the field differ in the largest `N` that they
//! write, so any value from 1 to 255 is read, provided that all `N` bytes agree.

/// The most bytes that [`pad`] appends.
pub const MAX_PADDING: u8 = 16;

/// A padded message that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaddingError {
    /// There is not even a length byte.
    #[error("the decrypted message is empty, not even padding is there")]
    Empty,
    /// The last byte asks for more bytes than there are, or for none.
    #[error("the padding states {stated} bytes, the message has {length}")]
    Length {
        /// The value of the last byte.
        stated: u8,
        /// The length of the message, padding included.
        length: usize,
    },
    /// The bytes of the padding differ.
    #[error("the padding bytes are not all the same")]
    Inconsistent,
}

/// Appends padding; `random` is any random byte and becomes a length of 1 to [`MAX_PADDING`].
pub fn pad(mut content: Vec<u8>, random: u8) -> Vec<u8> {
    let length = random % MAX_PADDING + 1;
    content.extend(std::iter::repeat_n(length, usize::from(length)));
    content
}

/// The message without its padding.
pub fn unpad(padded: &[u8]) -> Result<&[u8], PaddingError> {
    let &stated = padded.last().ok_or(PaddingError::Empty)?;
    let wrong = PaddingError::Length {
        stated,
        length: padded.len(),
    };
    let start = padded.len().checked_sub(usize::from(stated)).ok_or(wrong)?;
    let (content, padding) = padded.split_at_checked(start).ok_or(wrong)?;
    if padding.is_empty() {
        return Err(wrong);
    }
    if padding.iter().any(|byte| *byte != stated) {
        return Err(PaddingError::Inconsistent);
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn appends_one_to_sixteen_bytes_of_their_own_number() {
        assert_eq!(pad(b"x".to_vec(), 0), b"x\x01");
        assert_eq!(pad(b"x".to_vec(), 2), b"x\x03\x03\x03");
        assert_eq!(pad(Vec::new(), 15), [16; 16]);
        assert_eq!(pad(b"x".to_vec(), 16), b"x\x01");
    }

    #[test]
    fn reads_longer_padding_of_other_libraries() {
        let mut padded = b"text".to_vec();
        padded.extend([200; 200]);
        assert_eq!(unpad(&padded), Ok(b"text".as_slice()));
    }

    #[test]
    fn refuses_what_is_not_padding() {
        assert_eq!(unpad(b""), Err(PaddingError::Empty));
        assert_eq!(
            unpad(b"ab\0"),
            Err(PaddingError::Length {
                stated: 0,
                length: 3
            })
        );
        assert_eq!(
            unpad(b"ab\x04"),
            Err(PaddingError::Length {
                stated: 4,
                length: 3
            })
        );
        assert_eq!(unpad(b"ab\x02\x03\x03"), Err(PaddingError::Inconsistent));
    }

    proptest! {
        #[test]
        fn round_trips(content: Vec<u8>, random: u8) {
            let padded = pad(content.clone(), random);
            prop_assert_eq!(unpad(&padded), Ok(content.as_slice()));
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = unpad(&bytes);
        }
    }
}
