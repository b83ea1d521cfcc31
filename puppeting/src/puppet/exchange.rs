//! The requests the OlmMachine wants sent. What they depend on is committed before each leaves.

use std::{
    iter,
    sync::{Arc, atomic::Ordering},
};

use matrix_sdk_crypto::types::requests::{AnyOutgoingRequest, ToDeviceRequest};
use ruma::{
    OneTimeKeyAlgorithm, TransactionId, UInt,
    api::client::{
        keys::{get_keys, upload_keys},
        message::send_message_event,
        to_device::send_event_to_device,
    },
    events::MessageLikeEventContent,
};
use tracing::{debug, warn};

use super::Puppet;
use crate::{HttpError, PuppetError};

/// One-time keys a device keeps at the homeserver. A ghost is rarely met by many new devices at once, and the fallback key
/// bridges the gap; each key costs the homeserver a row.
pub(super) const ONE_TIME_KEYS: u64 = 10;
/// With fewer than this, new ones are made.
pub(crate) const ONE_TIME_KEYS_LOW: u64 = 5;
/// What the OlmMachine wants to have there.
const MACHINE_KEYS: u64 = 50;
/// Rounds of requests that bring forth new requests.
const ROUNDS: usize = 8;

/// The count to tell the OlmMachine, so that it refills to [`ONE_TIME_KEYS`] instead of its own number.
pub(super) fn told(count: u64) -> UInt {
    let told = (count + MACHINE_KEYS - ONE_TIME_KEYS).min(MACHINE_KEYS);
    UInt::try_from(told).unwrap_or(UInt::MAX)
}

impl Puppet {
    /// Sends in the background what the OlmMachine wants sent. Calls while one runs are merged into one more run.
    pub(super) fn pump_soon(self: &Arc<Self>) {
        if self.pumping.swap(true, Ordering::SeqCst) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(error) = this.pump().await {
                // Nothing is lost: the machine asks for the same again, at the latest when a key is to be shared.
                debug!(user = %this.log_id(), %error, "key upkeep put off");
            }
        });
    }

    /// Sends what the OlmMachine wants sent until it wants nothing more.
    ///
    /// # Errors
    ///
    /// The first request that failed; the others were tried all the same.
    pub async fn pump(self: &Arc<Self>) -> Result<(), PuppetError> {
        let _one = self.exchange.lock().await;
        self.pumping.store(false, Ordering::SeqCst);
        let mut first_error = Ok(());
        for _ in 0..ROUNDS {
            self.usable()?;
            let requests = self.machine.outgoing_requests().await?;
            // Devices that sent us something undecryptable, or asked for a key without a session.
            let claimed = self.claim(iter::empty()).await;
            let idle = requests.is_empty() && matches!(claimed, Ok(false));
            first_error = first_error.and(claimed.map(drop));
            if idle {
                break;
            }
            failpoints::around!("exchange.commit", self.commit().await)?;
            for request in &requests {
                let sent = self
                    .send_outgoing(request.request_id(), request.request())
                    .await;
                first_error = first_error.and(sent);
            }
            failpoints::around!("exchanged.commit", self.commit().await)?;
            if first_error.is_err() {
                break;
            }
        }
        first_error
    }

    /// Claims one-time keys for devices without a session. The caller holds `exchange`.
    pub(super) async fn claim(
        self: &Arc<Self>,
        users: impl Iterator<Item = &ruma::UserId>,
    ) -> Result<bool, PuppetError> {
        let Some((id, request)) = self.machine.get_missing_sessions(users).await? else {
            return Ok(false);
        };
        let answer = failpoints::around!("megolm.claim", self.call(request).await)?;
        self.machine.mark_request_as_sent(&id, &answer).await?;
        failpoints::around!("megolm.claimed.commit", self.commit().await)?;
        Ok(true)
    }

    async fn send_outgoing(
        self: &Arc<Self>,
        id: &TransactionId,
        request: &AnyOutgoingRequest,
    ) -> Result<(), PuppetError> {
        match request {
            AnyOutgoingRequest::KeysUpload(request) => self.upload_keys(id, request).await?,
            AnyOutgoingRequest::KeysQuery(request) => {
                let mut query = get_keys::v3::Request::new();
                query.device_keys = request.device_keys.clone();
                query.timeout = request.timeout;
                let answer = failpoints::around!("megolm.query", self.call(query).await)?;
                self.machine.mark_request_as_sent(id, &answer).await?;
                // Whoever prepared a room with the old list prepares it anew.
                self.devices_changed();
            }
            AnyOutgoingRequest::KeysClaim(request) => {
                let answer = self.call(request.clone()).await?;
                self.machine.mark_request_as_sent(id, &answer).await?;
            }
            AnyOutgoingRequest::ToDeviceRequest(request) => self.send_to_devices(request).await?,
            AnyOutgoingRequest::SignatureUpload(request) => {
                let answer = self.call(request.clone()).await?;
                self.machine.mark_request_as_sent(id, &answer).await?;
            }
            AnyOutgoingRequest::RoomMessage(request) => {
                let event_type = request.content.event_type();
                let body = ruma::serde::Raw::new(&*request.content)
                    .map_err(|_| PuppetError::Crypto("verification message".to_owned()))?;
                let send = send_message_event::v3::Request::new_raw(
                    request.room_id.clone(),
                    request.txn_id.clone(),
                    event_type,
                    body,
                );
                let answer = self.call(send).await?;
                self.machine.mark_request_as_sent(id, &answer).await?;
            }
        }
        Ok(())
    }

    /// Uploads device, one-time and fallback keys. Must be committed before.
    pub(super) async fn upload_keys(
        &self,
        id: &TransactionId,
        request: &upload_keys::v3::Request,
    ) -> Result<(), PuppetError> {
        let mut request = request.clone();
        let spare = request
            .one_time_keys
            .keys()
            .skip(keys_to_upload())
            .cloned()
            .collect::<Vec<_>>();
        for key in spare {
            request.one_time_keys.remove(&key);
        }
        let mut answer = match failpoints::around!("ghost.keys", self.call(request).await) {
            Ok(answer) => answer,
            Err(error) if is_taken(&error) => {
                warn!(user = %self.log_id(), "the homeserver has other keys for this device");
                return Err(PuppetError::DeviceTaken);
            }
            Err(error) => return Err(error.into()),
        };
        for (algorithm, count) in &mut answer.one_time_key_counts {
            if *algorithm == OneTimeKeyAlgorithm::SignedCurve25519 {
                *count = told((*count).into());
            }
        }
        self.machine.mark_request_as_sent(id, &answer).await?;
        Ok(())
    }

    /// Sends to-device messages. Their Olm sessions must be committed before.
    pub(super) async fn send_to_devices(
        &self,
        request: &ToDeviceRequest,
    ) -> Result<(), PuppetError> {
        let send = send_event_to_device::v3::Request::new_raw(
            request.event_type.clone(),
            request.txn_id.clone(),
            request.messages.clone(),
        );
        let answer = self.call(send).await?;
        self.machine
            .mark_request_as_sent(&request.txn_id, &answer)
            .await?;
        Ok(())
    }
}

fn keys_to_upload() -> usize {
    usize::try_from(ONE_TIME_KEYS).unwrap_or(usize::MAX)
}

/// Synapse: 400 M_UNKNOWN "One time key signed_curve25519:AAAAAAAAABU already exists. Old key: ..".
fn is_taken(error: &HttpError) -> bool {
    match error {
        HttpError::Refused { refusal, .. } => {
            refusal.status == 400 && refusal.message.contains("already exists")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_refills_to_our_number() {
        // It makes as many as are missing to fifty.
        assert_eq!(told(ONE_TIME_KEYS), UInt::from(50_u8));
        assert_eq!(told(3), UInt::from(43_u8));
        assert_eq!(told(200), UInt::from(50_u8));
    }
}
