//! Stock clients in the state file.

use std::{sync::Arc, time::Instant};

use gatekeeper::signal::{PreKeyPublic, SignedPreKeyPublic};
use serde::{Deserialize, Serialize};

use super::{Blob, StateError, stanza_blob, stanza_of};
use crate::{
    account::Keys,
    stock::{Addressing, Device},
};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedDevice {
    index: u16,
    authkey: Blob,
    registration_id: u32,
    identity: Blob,
    signed: (u32, Blob, Blob),
    prekeys: Vec<(u32, Blob)>,
    mailbox: Vec<(u64, Blob)>,
    addressing: Addressing,
}

impl SavedDevice {
    pub(super) fn of(index: u16, device: &Device) -> Result<Self, StateError> {
        let signed = &device.keys.signed;
        let mailbox = device.mailbox.iter();
        Ok(Self {
            index,
            authkey: Blob(device.keys.authkey.to_vec()),
            registration_id: device.keys.registration_id,
            identity: Blob(device.keys.identity.to_vec()),
            signed: (
                signed.id,
                Blob(signed.public.to_vec()),
                Blob(signed.signature.to_vec()),
            ),
            prekeys: device
                .prekeys
                .iter()
                .map(|key| (key.id, Blob(key.public.to_vec())))
                .collect(),
            mailbox: mailbox
                .map(|entry| Ok((entry.queued_ms, stanza_blob(&entry.node)?)))
                .collect::<Result<_, StateError>>()?,
            addressing: device.addressing,
        })
    }

    pub(super) fn restore(self) -> Result<(u16, Device), StateError> {
        let keys = Keys {
            authkey: self.authkey.array()?,
            registration_id: self.registration_id,
            identity: self.identity.array()?,
            signed: SignedPreKeyPublic {
                id: self.signed.0,
                public: self.signed.1.array()?,
                signature: self.signed.2.array()?,
            },
        };
        let mut device = Device::new(keys, self.addressing);
        for (id, public) in &self.prekeys {
            device.prekeys.push_back(PreKeyPublic {
                id: *id,
                public: public.array()?,
            });
        }
        for (queued_ms, node) in &self.mailbox {
            let node = Arc::new(stanza_of(node)?);
            device.mailbox.push(node, *queued_ms, Instant::now());
        }
        Ok((self.index, device))
    }
}
