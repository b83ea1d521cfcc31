//! Curve25519 key pairs.

use std::fmt;

use rand::CryptoRng;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::NoiseError;

/// A long-lived key pair: the client's is the `authkey` of its enlistment.
///
/// The secret is wiped from memory when it is dropped, and `Debug` does not show it.
#[derive(Clone)]
pub struct StaticKeyPair(StaticSecret);

impl StaticKeyPair {
    /// A new key pair.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(secret.as_mut());
        Self::from_bytes(*secret)
    }

    /// The key pair of a secret that [`to_bytes`](Self::to_bytes) gave.
    pub fn from_bytes(secret: [u8; 32]) -> Self {
        Self(StaticSecret::from(secret))
    }

    /// The secret, for the key store.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        PublicKey::from(&self.0).to_bytes()
    }

    /// The secret shared with the owner of a public key.
    pub(super) fn agree(&self, theirs: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, NoiseError> {
        let shared = self.0.diffie_hellman(&PublicKey::from(*theirs));
        // A key of small order would make the secret known to everybody.
        if shared.was_contributory() {
            Ok(Zeroizing::new(shared.to_bytes()))
        } else {
            Err(NoiseError::Key)
        }
    }
}

impl fmt::Debug for StaticKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKeyPair")
            .field("secret", &"..")
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_comes_back_and_is_not_shown() {
        let pair = StaticKeyPair::generate(&mut rand::rng());
        let again = StaticKeyPair::from_bytes(*pair.to_bytes());
        assert_eq!(again.public(), pair.public());
        assert_eq!(format!("{pair:?}"), r#"StaticKeyPair { secret: ".." }"#);
    }

    #[test]
    fn keys_of_small_order_are_refused() {
        let pair = StaticKeyPair::generate(&mut rand::rng());
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(pair.agree(&[0; 32]), Err(NoiseError::Key));
        assert_eq!(pair.agree(&one), Err(NoiseError::Key));
    }
}
