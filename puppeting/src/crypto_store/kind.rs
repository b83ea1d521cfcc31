//! The kinds of objects, and what their two names are.

/// The Olm account.
pub(super) const ACCOUNT: &str = "account";
/// The private cross-signing identity.
pub(super) const PRIVATE_IDENTITY: &str = "private_identity";
/// Olm session: sender key, session id; flag: since when its device is gone, or 0.
pub(super) const SESSION: &str = "session";
/// Inbound group session: room, session id; tag: [`session_tag`], flag: backed up.
pub(super) const INBOUND: &str = "inbound";
/// Outbound group session: room.
pub(super) const OUTBOUND: &str = "outbound";
/// Device: user, device.
pub(super) const DEVICE: &str = "device";
/// Identity of a user: user.
pub(super) const IDENTITY: &str = "identity";
/// A user whose devices are tracked: user.
pub(super) const TRACKED: &str = "tracked";
/// Hash of an Olm message: sender key, hash; flag: when it was seen.
pub(super) const MESSAGE_HASH: &str = "message_hash";
/// Request for a secret: request id.
pub(super) const REQUEST: &str = "request";
/// Id of the latest request for a secret: key of the secret's info.
pub(super) const REQUEST_BY_INFO: &str = "request_by_info";
/// Notice that a key was withheld: room, session id.
pub(super) const WITHHELD: &str = "withheld";
/// Room key bundle received: room, sender.
pub(super) const BUNDLE: &str = "bundle";
/// Room that waits for a bundle: room.
pub(super) const PENDING_BUNDLE: &str = "pending_bundle";
/// Room whose keys were all fetched from the backup: room.
pub(super) const BACKUP_FETCHED: &str = "backup_fetched";
/// Secret received: name, running number.
pub(super) const SECRET: &str = "secret";
/// Settings of a room: room.
pub(super) const ROOM_SETTINGS: &str = "room_settings";
/// Value by name that the machine keeps for itself: name.
pub(super) const CUSTOM: &str = "custom";
/// Lease: key.
pub(super) const LEASE: &str = "lease";
/// One of a kind: name.
pub(super) const SINGLE: &str = "single";

/// Names of [`SINGLE`] objects.
pub(super) const BACKUP_KEY: &str = "backup_key";
pub(super) const BACKUP_VERSION: &str = "backup_version";
pub(super) const DEHYDRATED_KEY: &str = "dehydrated_key";
pub(super) const NEXT_BATCH: &str = "next_batch";

/// The tag that finds the sessions of one device with one kind of sender data.
pub(super) fn session_tag(
    sender_key: &matrix_sdk_crypto::olm::Curve25519PublicKey,
    sender_data: matrix_sdk_crypto::olm::SenderDataType,
) -> String {
    format!("{}|{}", sender_key.to_base64(), sender_data as u8)
}
