//! The server's certificate chain (G 2.4): a leaf for its static key, signed by an intermediate key,
//! which the pinned root has signed. Signatures are XEdDSA over the encoded details.

use std::fmt;

use prost::Message;
use rand::CryptoRng;
use wacore_libsignal::core::curve::{KeyPair, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::messages::{CertChain, Details, NoiseCertificate};

/// The serial that stands for the root as issuer.
const ROOT_SERIAL: u32 = 0;

/// Validity of what [`CertAuthority`] issues, from one day before: 10 years, in seconds.
const VALIDITY: u64 = 10 * 365 * 24 * 60 * 60;
const DAY: u64 = 24 * 60 * 60;

/// Why a certificate chain is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// Not a chain of two certificates with all their fields.
    #[error("it is damaged")]
    Malformed,
    /// A signature that the issuer's key did not make.
    #[error("a signature is not its issuer's")]
    Signature,
    /// The serials do not lead from the leaf over the intermediate to the root.
    #[error("its serials do not lead to the root")]
    Serial,
    /// The chain is for another key than the server's.
    #[error("it is for another key")]
    Key,
    /// A certificate is not valid yet. The clock of this machine may be wrong.
    #[error("it is not valid yet (check the clock)")]
    NotYetValid,
    /// A certificate is not valid any more. The clock of this machine may be wrong.
    #[error("it has expired (check the clock)")]
    Expired,
    /// The authority's own key cannot sign.
    #[error("the authority's key cannot sign")]
    Authority,
}

/// What was proved about a server's key. Times are in seconds since 1970; the narrower of both
/// certificates'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The leaf's serial.
    pub serial: u32,
    /// Valid from.
    pub not_before: u64,
    /// Valid until.
    pub not_after: u64,
}

/// The public key that certificate chains must lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustRoot(pub [u8; 32]);

impl TrustRoot {
    /// WhatsApp's own root. Whether the interop endpoint uses it is not public (G 9, U17).
    pub const WHATSAPP: Self = Self([
        0x14, 0x23, 0x75, 0x57, 0x4d, 0x0a, 0x58, 0x71, 0x66, 0xaa, 0xe7, 0x1e, 0xbe, 0x51, 0x64,
        0x37, 0xc4, 0xa2, 0x8b, 0x73, 0xe3, 0x69, 0x5c, 0x6c, 0xe1, 0xf7, 0xf9, 0x54, 0x5d, 0xa8,
        0xee, 0x6b,
    ]);

    /// Checks a chain for a server's static key. `now` is in seconds since 1970.
    ///
    /// # Errors
    ///
    /// If anything about the chain is not as it must be.
    pub fn verify(
        &self,
        chain: &[u8],
        static_key: &[u8; 32],
        now: u64,
    ) -> Result<Certificate, CertError> {
        let chain = CertChain::decode(chain).map_err(|_| CertError::Malformed)?;
        let intermediate = Signed::parse(chain.intermediate)?;
        let leaf = Signed::parse(chain.leaf)?;
        intermediate.check_signature(&self.0)?;
        leaf.check_signature(&intermediate.key)?;
        if intermediate.issuer_serial != ROOT_SERIAL || leaf.issuer_serial != intermediate.serial {
            return Err(CertError::Serial);
        }
        if leaf.key != *static_key {
            return Err(CertError::Key);
        }
        let not_before = leaf.not_before.max(intermediate.not_before);
        let not_after = leaf.not_after.min(intermediate.not_after);
        if now < not_before {
            Err(CertError::NotYetValid)
        } else if now > not_after {
            Err(CertError::Expired)
        } else {
            Ok(Certificate {
                serial: leaf.serial,
                not_before,
                not_after,
            })
        }
    }
}

/// A certificate with its fields read.
struct Signed {
    details: Vec<u8>,
    signature: Vec<u8>,
    serial: u32,
    issuer_serial: u32,
    key: [u8; 32],
    not_before: u64,
    not_after: u64,
}

impl Signed {
    fn parse(certificate: Option<NoiseCertificate>) -> Result<Self, CertError> {
        let certificate = certificate.ok_or(CertError::Malformed)?;
        let details = certificate.details.ok_or(CertError::Malformed)?;
        let signature = certificate.signature.ok_or(CertError::Malformed)?;
        let fields = Details::decode(details.as_slice()).map_err(|_| CertError::Malformed)?;
        let key = fields
            .key
            .and_then(|key| key.try_into().ok())
            .ok_or(CertError::Malformed)?;
        Ok(Self {
            details,
            signature,
            serial: fields.serial.ok_or(CertError::Malformed)?,
            // A writer may leave out the zero that stands for the root.
            issuer_serial: fields.issuer_serial.unwrap_or(ROOT_SERIAL),
            key,
            not_before: fields.not_before.ok_or(CertError::Malformed)?,
            not_after: fields.not_after.ok_or(CertError::Malformed)?,
        })
    }

    fn check_signature(&self, issuer: &[u8; 32]) -> Result<(), CertError> {
        let issuer =
            PublicKey::from_djb_public_key_bytes(issuer).map_err(|_| CertError::Malformed)?;
        if issuer.verify_signature(&self.details, &self.signature) {
            Ok(())
        } else {
            Err(CertError::Signature)
        }
    }
}

/// A root of our own with an intermediate key: for a sandbox, whose clients pin its root.
pub struct CertAuthority {
    root: KeyPair,
    intermediate: KeyPair,
    now: u64,
}

impl CertAuthority {
    const INTERMEDIATE_SERIAL: u32 = 1;
    const LEAF_SERIAL: u32 = 2;

    /// Makes a new root. What it issues is valid from the day before `now` (in seconds since 1970)
    /// for ten years.
    ///
    /// # Errors
    ///
    /// None in practice: [`CertError::Authority`] if the made key is not one.
    pub fn mint<R: CryptoRng>(rng: &mut R, now: u64) -> Result<Self, CertError> {
        Ok(Self {
            root: KeyPair::generate(rng),
            intermediate: KeyPair::generate(rng),
            now,
        })
    }

    /// The authority whose root [`to_bytes`](Self::to_bytes) gave, with a new intermediate key.
    ///
    /// # Errors
    ///
    /// [`CertError::Authority`] if the bytes are no key.
    pub fn from_bytes<R: CryptoRng>(
        root: &[u8; 32],
        rng: &mut R,
        now: u64,
    ) -> Result<Self, CertError> {
        let root = PrivateKey::deserialize(root).map_err(|_| CertError::Authority)?;
        let root = KeyPair::try_from(root).map_err(|_| CertError::Authority)?;
        Ok(Self {
            root,
            intermediate: KeyPair::generate(rng),
            now,
        })
    }

    /// The root's secret, for the key store.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.root.private_key.serialize())
    }

    /// What clients must pin.
    pub fn root(&self) -> TrustRoot {
        let mut root = [0; 32];
        root.copy_from_slice(self.root.public_key.public_key_bytes());
        TrustRoot(root)
    }

    /// A certificate chain for a server's static key.
    ///
    /// # Errors
    ///
    /// [`CertError::Authority`] if the root cannot sign.
    pub fn issue<R: CryptoRng>(
        &self,
        static_key: &[u8; 32],
        rng: &mut R,
    ) -> Result<Vec<u8>, CertError> {
        let details = |serial, issuer_serial, key: &[u8]| Details {
            serial: Some(serial),
            issuer_serial: Some(issuer_serial),
            key: Some(key.to_vec()),
            not_before: Some(self.now.saturating_sub(DAY)),
            not_after: Some(self.now.saturating_add(VALIDITY)),
        };
        let intermediate = details(
            Self::INTERMEDIATE_SERIAL,
            ROOT_SERIAL,
            self.intermediate.public_key.public_key_bytes(),
        );
        let leaf = details(Self::LEAF_SERIAL, Self::INTERMEDIATE_SERIAL, static_key);
        let chain = CertChain {
            leaf: Some(sign(&leaf, &self.intermediate, rng)?),
            intermediate: Some(sign(&intermediate, &self.root, rng)?),
        };
        Ok(chain.encode_to_vec())
    }
}

fn sign<R: CryptoRng>(
    details: &Details,
    issuer: &KeyPair,
    rng: &mut R,
) -> Result<NoiseCertificate, CertError> {
    let details = details.encode_to_vec();
    let signature = issuer
        .calculate_signature(&details, rng)
        .map_err(|_| CertError::Authority)?
        .to_vec();
    Ok(NoiseCertificate {
        details: Some(details),
        signature: Some(signature),
    })
}

impl fmt::Debug for CertAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertAuthority")
            .field("root", &self.root())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;
    const SERVER: [u8; 32] = [7; 32];

    /// A chain in which anything can be changed before it is signed.
    struct Forge {
        root: KeyPair,
        intermediate: KeyPair,
        leaf_details: Details,
        intermediate_details: Details,
    }

    impl Forge {
        fn new() -> Self {
            let mut rng = rand::rng();
            let (root, intermediate) = (KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
            let details = |serial, issuer_serial, key: &[u8]| Details {
                serial: Some(serial),
                issuer_serial: Some(issuer_serial),
                key: Some(key.to_vec()),
                not_before: Some(NOW - 10),
                not_after: Some(NOW + 10),
            };
            let intermediate_key = intermediate.public_key.public_key_bytes();
            let intermediate_details = details(5, 0, intermediate_key);
            Self {
                root,
                intermediate,
                leaf_details: details(9, 5, &SERVER),
                intermediate_details,
            }
        }

        fn chain(&self) -> CertChain {
            let mut rng = rand::rng();
            CertChain {
                leaf: Some(sign(&self.leaf_details, &self.intermediate, &mut rng).unwrap()),
                intermediate: Some(sign(&self.intermediate_details, &self.root, &mut rng).unwrap()),
            }
        }

        fn verify(&self, chain: &CertChain) -> Result<Certificate, CertError> {
            let root = self.root.public_key.public_key_bytes().try_into().unwrap();
            TrustRoot(root).verify(&chain.encode_to_vec(), &SERVER, NOW)
        }

        fn changed(change: impl FnOnce(&mut Self)) -> Result<Certificate, CertError> {
            let mut forge = Self::new();
            change(&mut forge);
            forge.verify(&forge.chain())
        }
    }

    #[test]
    fn good_chain_is_accepted() {
        let certificate = Forge::changed(|_| ()).unwrap();
        assert_eq!(
            certificate,
            Certificate {
                serial: 9,
                not_before: NOW - 10,
                not_after: NOW + 10
            }
        );
        let left_out = Forge::changed(|forge| forge.intermediate_details.issuer_serial = None);
        assert_eq!(left_out, Ok(certificate), "zero may be left out");
    }

    #[test]
    fn serials_must_lead_to_the_root() {
        let chain = Forge::changed(|forge| forge.intermediate_details.issuer_serial = Some(1));
        assert_eq!(chain, Err(CertError::Serial));
        let chain = Forge::changed(|forge| forge.leaf_details.issuer_serial = Some(6));
        assert_eq!(chain, Err(CertError::Serial));
        let chain = Forge::changed(|forge| forge.leaf_details.issuer_serial = None);
        assert_eq!(chain, Err(CertError::Serial));
    }

    #[test]
    fn both_certificates_must_be_valid_now() {
        for (change, error) in [
            (
                (|forge| forge.leaf_details.not_before = Some(NOW + 1)) as fn(&mut Forge),
                CertError::NotYetValid,
            ),
            (
                |forge| forge.intermediate_details.not_before = Some(NOW + 1),
                CertError::NotYetValid,
            ),
            (
                |forge| forge.leaf_details.not_after = Some(NOW - 1),
                CertError::Expired,
            ),
            (
                |forge| forge.intermediate_details.not_after = Some(NOW - 1),
                CertError::Expired,
            ),
        ] {
            assert_eq!(Forge::changed(change), Err(error));
        }
        let last_second = Forge::changed(|forge| forge.leaf_details.not_after = Some(NOW));
        assert_eq!(last_second.unwrap().not_after, NOW);
    }

    #[test]
    fn every_field_must_be_there() {
        for change in [
            (|forge| forge.leaf_details.serial = None) as fn(&mut Forge),
            |forge| forge.leaf_details.key = None,
            |forge| forge.leaf_details.key = Some(vec![7; 31]),
            |forge| forge.leaf_details.not_after = None,
            |forge| forge.intermediate_details.not_before = None,
        ] {
            assert_eq!(Forge::changed(change), Err(CertError::Malformed));
        }
        let forge = Forge::new();
        for change in [
            (|chain| chain.leaf = None) as fn(&mut CertChain),
            |chain| chain.intermediate = None,
            |chain| chain.leaf.as_mut().unwrap().details = None,
            |chain| chain.intermediate.as_mut().unwrap().signature = None,
        ] {
            let mut chain = forge.chain();
            change(&mut chain);
            assert_eq!(forge.verify(&chain), Err(CertError::Malformed));
        }
    }

    #[test]
    fn signatures_must_be_the_issuers() {
        let forge = Forge::new();
        let good = forge.chain();
        // A leaf that the root signed itself, a chain of somebody else, swapped certificates.
        let mut chain = good.clone();
        chain.leaf = Some(sign(&forge.leaf_details, &forge.root, &mut rand::rng()).unwrap());
        assert_eq!(forge.verify(&chain), Err(CertError::Signature));
        assert_eq!(
            forge.verify(&Forge::new().chain()),
            Err(CertError::Signature)
        );
        let chain = CertChain {
            leaf: good.intermediate.clone(),
            intermediate: good.leaf.clone(),
        };
        assert_eq!(forge.verify(&chain), Err(CertError::Signature));
        for length in [0, 63, 65] {
            let mut chain = good.clone();
            chain
                .leaf
                .as_mut()
                .unwrap()
                .signature
                .as_mut()
                .unwrap()
                .resize(length, 0);
            assert_eq!(forge.verify(&chain), Err(CertError::Signature));
        }
    }

    #[test]
    fn no_altered_byte_is_accepted() {
        let forge = Forge::new();
        let good = forge.chain().encode_to_vec();
        let root = TrustRoot(forge.root.public_key.public_key_bytes().try_into().unwrap());
        for at in 0..good.len() {
            let mut altered = good.clone();
            altered[at] ^= 1;
            assert!(root.verify(&altered, &SERVER, NOW).is_err(), "byte {at}");
            assert!(
                root.verify(&good[..at], &SERVER, NOW).is_err(),
                "first {at}"
            );
        }
    }

    #[test]
    fn chain_is_for_one_key() {
        let forge = Forge::new();
        let root = TrustRoot(forge.root.public_key.public_key_bytes().try_into().unwrap());
        let verified = root.verify(&forge.chain().encode_to_vec(), &[8; 32], NOW);
        assert_eq!(verified, Err(CertError::Key));
    }

    #[test]
    fn authority_comes_back_with_the_same_root() {
        let mut rng = rand::rng();
        let authority = CertAuthority::mint(&mut rng, NOW).unwrap();
        let again = CertAuthority::from_bytes(&authority.to_bytes(), &mut rng, NOW + 5).unwrap();
        assert_eq!(again.root(), authority.root());
        let chain = again.issue(&SERVER, &mut rng).unwrap();
        let certificate = authority.root().verify(&chain, &SERVER, NOW).unwrap();
        assert_eq!(certificate.not_after, NOW + 5 + VALIDITY);
        assert!(!format!("{authority:?}").contains("private"));
    }
}
