//! Encryption of frames after the handshake.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::NoiseError;
use crate::frame::MAX_PAYLOAD;

/// Bytes that encryption adds.
const TAG: usize = 16;

/// AES-256-GCM with a counter for a nonce. The key is wiped when it is dropped.
pub(super) struct Cipher {
    key: LessSafeKey,
    counter: Option<u32>,
}

impl Cipher {
    pub(super) fn new(key: &[u8; 32]) -> Result<Self, NoiseError> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| NoiseError::Key)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            counter: Some(0),
        })
    }

    /// Eight zero bytes and the counter; each value once.
    fn nonce(&mut self) -> Result<Nonce, NoiseError> {
        let counter = self.counter.ok_or(NoiseError::Exhausted)?;
        self.counter = counter.checked_add(1);
        let mut nonce = [0; 12];
        if let Some(end) = nonce.last_chunk_mut() {
            *end = counter.to_be_bytes();
        }
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    pub(super) fn encrypt(&mut self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, NoiseError> {
        if plain.len() > MAX_PAYLOAD - TAG {
            return Err(NoiseError::TooLarge);
        }
        let mut sealed = Vec::with_capacity(plain.len() + TAG);
        sealed.extend_from_slice(plain);
        let nonce = self.nonce()?;
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed)
            .map_err(|_| NoiseError::TooLarge)?;
        Ok(sealed)
    }

    pub(super) fn decrypt(&mut self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NoiseError> {
        let mut plain = sealed.to_vec();
        let nonce = self.nonce()?;
        let length = self
            .key
            .open_in_place(nonce, Aad::from(aad), &mut plain)
            .map_err(|_| NoiseError::Decrypt)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// The half that encrypts. Each call takes the next nonce, so frames must leave in this order.
pub struct Sender(pub(super) Cipher);

impl Sender {
    /// Encrypts a stanza into a frame's payload.
    ///
    /// # Errors
    ///
    /// [`NoiseError::TooLarge`] if it fits into no frame; the connection stays usable.
    /// [`NoiseError::Exhausted`] after 2^32 frames.
    pub fn encrypt(&mut self, plain: &[u8]) -> Result<Vec<u8>, NoiseError> {
        self.0.encrypt(&[], plain)
    }
}

/// The half that decrypts, frames in the order of the stream.
pub struct Receiver(pub(super) Cipher);

impl Receiver {
    /// Decrypts a frame's payload.
    ///
    /// # Errors
    ///
    /// [`NoiseError::Decrypt`] if the frame was altered, repeated, left out or reordered: close the
    /// connection, as nothing that follows can be trusted.
    pub fn decrypt(&mut self, sealed: &[u8]) -> Result<Vec<u8>, NoiseError> {
        self.0.decrypt(&[], sealed)
    }
}

/// Both halves of a connection's encryption.
#[derive(Debug)]
pub struct Transport {
    /// Encrypts what leaves.
    pub sender: Sender,
    /// Decrypts what comes.
    pub receiver: Receiver,
}

impl Transport {
    /// Encrypts a stanza: see [`Sender::encrypt`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn encrypt(&mut self, plain: &[u8]) -> Result<Vec<u8>, NoiseError> {
        self.sender.encrypt(plain)
    }

    /// Decrypts a frame's payload: see [`Receiver::decrypt`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn decrypt(&mut self, sealed: &[u8]) -> Result<Vec<u8>, NoiseError> {
        self.receiver.decrypt(sealed)
    }

    /// The halves, for a task that writes and one that reads.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender(..)")
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Sender, Receiver) {
        (
            Sender(Cipher::new(&[7; 32]).unwrap()),
            Receiver(Cipher::new(&[7; 32]).unwrap()),
        )
    }

    #[test]
    fn frames_are_read_once_and_in_order() {
        let (mut sender, mut receiver) = pair();
        let first = sender.encrypt(b"one").unwrap();
        let second = sender.encrypt(b"two").unwrap();
        assert_eq!(receiver.decrypt(&first).unwrap(), b"one");
        assert_eq!(
            receiver.decrypt(&first),
            Err(NoiseError::Decrypt),
            "repeated"
        );
        let (_, mut fresh) = pair();
        assert_eq!(
            fresh.decrypt(&second),
            Err(NoiseError::Decrypt),
            "out of order"
        );
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let sealed = pair().0.encrypt(b"stanza").unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(pair().1.decrypt(&altered), Err(NoiseError::Decrypt));
        }
        for length in 0..sealed.len() {
            assert_eq!(
                pair().1.decrypt(&sealed[..length]),
                Err(NoiseError::Decrypt)
            );
        }
    }

    #[test]
    fn a_payload_that_fits_no_frame_costs_no_nonce() {
        let (mut sender, mut receiver) = pair();
        let largest = vec![0; MAX_PAYLOAD - TAG];
        assert_eq!(
            sender.encrypt(&vec![0; largest.len() + 1]),
            Err(NoiseError::TooLarge)
        );
        let sealed = sender.encrypt(&largest).unwrap();
        assert_eq!(sealed.len(), MAX_PAYLOAD);
        assert_eq!(receiver.decrypt(&sealed).unwrap(), largest);
    }

    #[test]
    fn no_nonce_is_used_twice() {
        let (mut sender, _) = pair();
        sender.0.counter = Some(u32::MAX);
        sender.encrypt(b"last").unwrap();
        assert_eq!(sender.encrypt(b"none"), Err(NoiseError::Exhausted));
        assert_eq!(sender.encrypt(b"none"), Err(NoiseError::Exhausted));
    }
}
