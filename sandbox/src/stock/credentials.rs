//! What a stock client needs to log in, in the form in which the npm package `baileys` keeps it.
//!
//! The form is that of its `creds.json`: byte strings are `{"type":"Buffer","data":base64}`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatekeeper::{
    noise::StaticKeyPair,
    signal::{Identity, SignalError, SignedPreKey},
    stanza::Jid,
};
use prost::Message as _;
use serde_json::{Value, json};

use super::alias;
use crate::{
    account::Keys,
    phone::{Inner, Phone},
};

/// Before what an account signs of a device (`WA_ADV_ACCOUNT_SIG_PREFIX` in open source).
const ACCOUNT_SIGNATURE: [u8; 2] = [6, 0];

/// Before what a device signs of itself.
const DEVICE_SIGNATURE: [u8; 2] = [6, 1];

/// Keys of a new device, with the private ones.
pub(crate) struct Credentials {
    me: Jid,
    lid: Jid,
    name: String,
    noise: StaticKeyPair,
    pairing: StaticKeyPair,
    identity: Identity,
    signed: SignedPreKey,
    account: DeviceIdentity,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Proves that a device belongs to an account (`ADVSignedDeviceIdentity` in open source).
struct DeviceIdentity {
    details: Vec<u8>,
    account_key: [u8; 32],
    account_signature: [u8; 64],
    device_signature: [u8; 64],
}

/// `ADVDeviceIdentity`.
#[derive(Clone, PartialEq, prost::Message)]
struct Details {
    #[prost(uint32, tag = "1")]
    raw_id: u32,
    #[prost(uint64, tag = "2")]
    timestamp: u64,
    #[prost(uint32, tag = "3")]
    key_index: u32,
}

impl Credentials {
    /// New keys for a device of a phone.
    pub(super) fn generate(
        phone: &Phone,
        inner: &Inner,
        index: u16,
        now: u64,
    ) -> Result<Self, SignalError> {
        let mut rng = rand::rng();
        let identity = Identity::generate(&mut rng);
        let signed = SignedPreKey::generate(1, &identity, &mut rng)?;
        // The first device is the account. A companion's account is the phone, whose key is held here
        // or nowhere any more: then the companion vouches for itself, which nobody checks.
        let held = index != 0 && !inner.devices.contains_key(&0);
        let account = if held {
            &inner.keys.identity
        } else {
            &identity
        };
        let account = DeviceIdentity::sign(account, &identity, index, now)?;
        let name = if inner.name.is_empty() {
            phone.number.to_string()
        } else {
            inner.name.clone()
        };
        Ok(Self {
            me: phone.jid.clone().with_device(index),
            lid: alias::phone_lid(&phone.number).with_device(index),
            name,
            noise: StaticKeyPair::generate(&mut rng),
            pairing: StaticKeyPair::generate(&mut rng),
            identity,
            signed,
            account,
        })
    }

    /// What the server keeps of them.
    pub(super) fn public_keys(&self) -> Keys {
        Keys {
            authkey: self.noise.public(),
            registration_id: self.identity.registration_id(),
            identity: self.identity.public(),
            signed: self.signed.public(),
        }
    }

    /// The content of `creds.json`.
    pub(crate) fn to_json(&self) -> Value {
        let pair = |secret: &[u8], public: &[u8]| json!({"private": buffer(secret), "public": buffer(public)});
        let noise = |keys: &StaticKeyPair| pair(keys.to_bytes().as_slice(), &keys.public());
        let identity = self.identity.public();
        let signed = self.signed.public();
        // With its type byte, as sessions keep identity keys.
        let typed = [&[5_u8][..], &self.account.account_key].concat();
        json!({
            "noiseKey": noise(&self.noise),
            "pairingEphemeralKeyPair": noise(&self.pairing),
            "signedIdentityKey": pair(self.identity.private_key().as_slice(), &identity),
            "signedPreKey": {
                "keyPair": pair(self.signed.private_key().as_slice(), &signed.public),
                "signature": buffer(&signed.signature),
                "keyId": signed.id,
            },
            "registrationId": self.identity.registration_id(),
            "advSecretKey": STANDARD.encode(rand::random::<[u8; 32]>()),
            "processedHistoryMessages": [],
            "nextPreKeyId": 1,
            "firstUnuploadedPreKeyId": 1,
            // There is no history to wait for.
            "accountSyncCounter": 1,
            "accountSettings": {"unarchiveChats": false},
            "registered": true,
            "platform": "android",
            "me": {"id": self.me, "name": self.name, "lid": self.lid},
            "account": {
                "details": buffer(&self.account.details),
                "accountSignatureKey": buffer(&self.account.account_key),
                "accountSignature": buffer(&self.account.account_signature),
                "deviceSignature": buffer(&self.account.device_signature),
            },
            "signalIdentities": [{
                "identifier": {"name": self.lid, "deviceId": 0},
                "identifierKey": buffer(&typed),
            }],
        })
    }
}

impl DeviceIdentity {
    fn sign(
        account: &Identity,
        device: &Identity,
        index: u16,
        now: u64,
    ) -> Result<Self, SignalError> {
        let mut rng = rand::rng();
        let details = Details {
            raw_id: rand::random(),
            timestamp: now,
            key_index: index.into(),
        }
        .encode_to_vec();
        let account_key = account.public();
        let said = |prefix: &[u8], rest: &[u8]| {
            [prefix, details.as_slice(), &device.public(), rest].concat()
        };
        let account_signature = account.sign(&said(&ACCOUNT_SIGNATURE, &[]), &mut rng)?;
        let device_signature = device.sign(&said(&DEVICE_SIGNATURE, &account_key), &mut rng)?;
        Ok(Self {
            account_key,
            account_signature,
            device_signature,
            details,
        })
    }
}

fn buffer(bytes: &[u8]) -> Value {
    json!({"type": "Buffer", "data": STANDARD.encode(bytes)})
}
