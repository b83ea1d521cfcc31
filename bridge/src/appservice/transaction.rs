//! A transaction as the homeserver sends it, taken apart as far as storing it needs.
//!
//! Events stay the JSON that came; only the fields that decide where they are put are read. Fields that are not
//! known here are passed over, and an entry that cannot be read does not take the others with it: a
//! transaction that is refused comes again for ever and stops all that follow.
//!
//! Stable and unstable names are both read (MSC2409/4203 for ephemeral and to-device, MSC3202 for device lists and
//! counts). Synapse sends some of them twice in one body; one of the two counts.

use std::{collections::BTreeMap, fmt};

use ruma::{DeviceId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One-time keys that are left, by user, device and algorithm.
///
/// Synapse lists the cross-signing keys among the devices: look only at device ids that the bridge made, and take a
/// missing `signed_curve25519` on one of those for 0.
pub type KeyCounts = BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, BTreeMap<String, u64>>>;

/// Algorithms whose fallback key is unused, by user and device.
pub type UnusedFallbackKeys = BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, Vec<String>>>;

/// A transaction.
#[derive(Debug, Default)]
pub struct RawTransaction {
    /// Room events in the order in which they came.
    pub events: Vec<RawEvent>,
    /// To-device messages; they go before the events, because they carry their keys.
    pub to_device: Vec<RawToDevice>,
    /// Typing, receipts, presence.
    pub ephemeral: Vec<RawEphemeral>,
    /// What concerns encryption: changed devices and key counts.
    pub crypto: CryptoChanges,
    /// How many entries could not be read (no event id, no sender, …) and were left out.
    pub unreadable: usize,
}

/// A room event.
pub struct RawEvent {
    /// `event_id`.
    pub event_id: OwnedEventId,
    /// `room_id`.
    pub room_id: OwnedRoomId,
    /// `sender`.
    pub sender: OwnedUserId,
    /// `type`.
    pub kind: String,
    /// `state_key`; only state events have one.
    pub state_key: Option<String>,
    /// The whole event as it came.
    pub json: Box<RawValue>,
}

/// A to-device message (MSC4203).
pub struct RawToDevice {
    /// `sender`.
    pub sender: OwnedUserId,
    /// `type`.
    pub kind: String,
    /// `to_user_id`.
    pub to_user_id: OwnedUserId,
    /// `to_device_id`.
    pub to_device_id: OwnedDeviceId,
    /// The whole message as it came.
    pub json: Box<RawValue>,
}

/// An ephemeral event.
pub struct RawEphemeral {
    /// `type`: `m.typing`, `m.receipt`, `m.presence`.
    pub kind: String,
    /// `room_id`; presence has none.
    pub room_id: Option<OwnedRoomId>,
    /// The whole event as it came.
    pub json: Box<RawValue>,
}

/// What a transaction says about devices and their keys (MSC3202).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CryptoChanges {
    /// Users whose devices changed.
    pub device_lists: DeviceLists,
    /// One-time keys that are left.
    pub one_time_key_counts: KeyCounts,
    /// Unused fallback keys. A user or device that is missing says nothing.
    pub unused_fallback_keys: UnusedFallbackKeys,
}

impl CryptoChanges {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.device_lists.changed.is_empty()
            && self.device_lists.left.is_empty()
            && self.one_time_key_counts.is_empty()
            && self.unused_fallback_keys.is_empty()
    }
}

/// What is left of one device's keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceKeys<'a> {
    /// One-time keys by algorithm, if the homeserver counted them.
    pub one_time: Option<&'a BTreeMap<String, u64>>,
    /// Algorithms whose fallback key is unused, if the homeserver listed them.
    pub unused_fallback: Option<&'a [String]>,
}

/// The one algorithm of one-time and fallback keys that is in use.
const KEY_ALGORITHM: &str = "signed_curve25519";

impl CryptoChanges {
    /// What is known of each device's keys. Cross-signing keys, which Synapse lists among the devices, are left out.
    pub fn of_devices(&self) -> impl Iterator<Item = (&UserId, &DeviceId, DeviceKeys<'_>)> {
        let mut devices: BTreeMap<(&UserId, &DeviceId), DeviceKeys<'_>> = BTreeMap::new();
        for (user, counts) in &self.one_time_key_counts {
            for (device, counts) in counts {
                devices.entry((user, device)).or_default().one_time = Some(counts);
            }
        }
        for (user, unused) in &self.unused_fallback_keys {
            for (device, unused) in unused {
                devices.entry((user, device)).or_default().unused_fallback = Some(unused);
            }
        }
        devices
            .into_iter()
            .filter(|((_, device), _)| !is_cross_signing_key(device))
            .map(|((user, device), keys)| (user, device, keys))
    }

    /// The part that asks for work, as JSON: changed device lists, and devices with fewer than `few` one-time keys or
    /// without an unused fallback key. Counts come with most transactions, and most say that all is well.
    #[must_use]
    pub fn worth_keeping(&self, few: u64) -> Option<Vec<u8>> {
        let mut kept = Self {
            device_lists: self.device_lists.clone(),
            ..Self::default()
        };
        for (user, device, keys) in self.of_devices() {
            if let Some(counts) = keys.one_time
                && counts.get(KEY_ALGORITHM).is_none_or(|count| *count < few)
            {
                let user = kept.one_time_key_counts.entry(user.to_owned()).or_default();
                user.insert(device.to_owned(), counts.clone());
            }
            if let Some(unused) = keys.unused_fallback
                && !unused.iter().any(|algorithm| algorithm == KEY_ALGORITHM)
            {
                let user = kept
                    .unused_fallback_keys
                    .entry(user.to_owned())
                    .or_default();
                user.insert(device.to_owned(), unused.to_vec());
            }
        }
        if kept.is_empty() {
            None
        } else {
            serde_json::to_vec(&kept).ok()
        }
    }
}

/// Whether a "device" is a cross-signing key: their ids are the 43 characters of 32 bytes in base64.
fn is_cross_signing_key(device: &DeviceId) -> bool {
    let id = device.as_str();
    id.len() == 43
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

/// Users whose device lists changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLists {
    /// Whose devices must be asked for again.
    #[serde(default)]
    pub changed: Vec<OwnedUserId>,
    /// With whom no encrypted room is shared any more.
    #[serde(default)]
    pub left: Vec<OwnedUserId>,
}

/// Why a body is no transaction.
#[derive(Debug, thiserror::Error)]
pub enum MalformedTransaction {
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// It is JSON of another shape.
    #[error("the body is no transaction: {0}")]
    BadShape(#[source] serde_json::Error),
}

/// The fields of the body; each list is read entry by entry afterwards.
#[derive(Deserialize)]
struct Body {
    events: Option<Vec<Box<RawValue>>>,
    ephemeral: Option<Vec<Box<RawValue>>>,
    #[serde(rename = "de.sorunome.msc2409.ephemeral")]
    unstable_ephemeral: Option<Vec<Box<RawValue>>>,
    to_device: Option<Vec<Box<RawValue>>>,
    #[serde(rename = "de.sorunome.msc2409.to_device")]
    unstable_to_device: Option<Vec<Box<RawValue>>>,
    device_lists: Option<Box<RawValue>>,
    #[serde(rename = "org.matrix.msc3202.device_lists")]
    unstable_device_lists: Option<Box<RawValue>>,
    device_one_time_keys_count: Option<Box<RawValue>>,
    #[serde(rename = "org.matrix.msc3202.device_one_time_keys_count")]
    unstable_keys_count: Option<Box<RawValue>>,
    #[serde(rename = "org.matrix.msc3202.device_one_time_key_counts")]
    unstable_key_counts: Option<Box<RawValue>>,
    device_unused_fallback_key_types: Option<Box<RawValue>>,
    #[serde(rename = "org.matrix.msc3202.device_unused_fallback_key_types")]
    unstable_fallback: Option<Box<RawValue>>,
}

impl RawTransaction {
    /// Reads the body of `PUT /_matrix/app/v1/transactions/{txnId}`.
    ///
    /// # Errors
    ///
    /// A body that is not JSON, or not an object with lists where the specification has lists. Entries that cannot
    /// be read are counted, not refused.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedTransaction> {
        use serde_json::error::Category;

        let body: Body = serde_json::from_slice(body).map_err(|error| match error.classify() {
            Category::Data => MalformedTransaction::BadShape(error),
            Category::Syntax | Category::Eof | Category::Io => MalformedTransaction::NotJson(error),
        })?;
        let mut unreadable = 0;
        let events = entries(body.events, &mut unreadable, RawEvent::read);
        let to_device = entries(
            either(body.to_device, body.unstable_to_device),
            &mut unreadable,
            RawToDevice::read,
        );
        let ephemeral = entries(
            either(body.ephemeral, body.unstable_ephemeral),
            &mut unreadable,
            RawEphemeral::read,
        );
        let crypto = CryptoChanges {
            device_lists: part(
                body.device_lists.or(body.unstable_device_lists),
                &mut unreadable,
            ),
            one_time_key_counts: part(
                body.device_one_time_keys_count
                    .or(body.unstable_keys_count)
                    .or(body.unstable_key_counts),
                &mut unreadable,
            ),
            unused_fallback_keys: part(
                body.device_unused_fallback_key_types
                    .or(body.unstable_fallback),
                &mut unreadable,
            ),
        };
        Ok(Self {
            events,
            to_device,
            ephemeral,
            crypto,
            unreadable,
        })
    }
}

/// The stable field if it holds anything, else the unstable one.
fn either<T>(stable: Option<Vec<T>>, unstable: Option<Vec<T>>) -> Option<Vec<T>> {
    stable.filter(|list| !list.is_empty()).or(unstable)
}

fn entries<T>(
    list: Option<Vec<Box<RawValue>>>,
    unreadable: &mut usize,
    read: impl Fn(Box<RawValue>) -> Option<T>,
) -> Vec<T> {
    let list = list.unwrap_or_default();
    let length = list.len();
    let read: Vec<T> = list.into_iter().filter_map(read).collect();
    *unreadable += length - read.len();
    read
}

fn part<T: Default + for<'de> Deserialize<'de>>(
    json: Option<Box<RawValue>>,
    unreadable: &mut usize,
) -> T {
    let Some(json) = json else {
        return T::default();
    };
    serde_json::from_str(json.get()).unwrap_or_else(|_| {
        *unreadable += 1;
        T::default()
    })
}

impl RawEvent {
    fn read(json: Box<RawValue>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Head {
            event_id: OwnedEventId,
            room_id: OwnedRoomId,
            sender: OwnedUserId,
            #[serde(rename = "type")]
            kind: String,
            state_key: Option<String>,
        }
        let Head {
            event_id,
            room_id,
            sender,
            kind,
            state_key,
        } = serde_json::from_str(json.get()).ok()?;
        Some(Self {
            event_id,
            room_id,
            sender,
            kind,
            state_key,
            json,
        })
    }
}

impl RawToDevice {
    fn read(json: Box<RawValue>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Head {
            sender: OwnedUserId,
            #[serde(rename = "type")]
            kind: String,
            to_user_id: OwnedUserId,
            to_device_id: OwnedDeviceId,
        }
        let Head {
            sender,
            kind,
            to_user_id,
            to_device_id,
        } = serde_json::from_str(json.get()).ok()?;
        Some(Self {
            sender,
            kind,
            to_user_id,
            to_device_id,
            json,
        })
    }
}

impl RawEphemeral {
    fn read(json: Box<RawValue>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(rename = "type")]
            kind: String,
            room_id: Option<OwnedRoomId>,
        }
        let Head { kind, room_id } = serde_json::from_str(json.get()).ok()?;
        Some(Self {
            kind,
            room_id,
            json,
        })
    }
}

// What people wrote, and to whom, stays out of logs.

impl fmt::Debug for RawEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawEvent")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RawToDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawToDevice")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RawEphemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawEphemeral")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
