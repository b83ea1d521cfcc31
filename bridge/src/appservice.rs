//! The application-service API: what the homeserver asks of the bridge.
//!
//! The router checks the token and the shape of a request, and hands what is left to a [`TransactionSink`]. A
//! transaction is answered with 200 only after the sink has it durably; on every failure the homeserver sends it again.
//!
//! Specification: <https://spec.matrix.org/v1.18/application-service-api/>.

mod http;
mod transaction;

use async_trait::async_trait;
use ruma::{OwnedUserId, RoomAliasId, UserId};

pub(crate) use self::http::bearer;
pub use self::{
    http::{Appservice, router},
    transaction::{
        CryptoChanges, DeviceKeys, DeviceLists, KeyCounts, MalformedTransaction, RawEphemeral,
        RawEvent, RawToDevice, RawTransaction, UnusedFallbackKeys,
    },
};
use crate::phone::PhoneNumber;

/// What stands behind the router.
#[async_trait]
pub trait TransactionSink: Send + Sync + 'static {
    /// Takes a transaction. `Ok` means that it is stored durably, or that this id was stored before.
    async fn transaction(&self, txn_id: &str, body: RawTransaction) -> Result<(), SinkError>;

    /// Whether a user of the ghosts' namespace exists, after making it where that is possible: the homeserver
    /// asks when somebody invites a ghost that it does not know yet.
    async fn user(&self, user: &UserId) -> Result<bool, SinkError>;

    /// Whether a room alias of the namespace exists, after making the room where that is possible.
    async fn room(&self, alias: &RoomAliasId) -> Result<bool, SinkError>;

    /// The ghost of a phone number, made and with its keys in place, so that a client that found it here can
    /// open an encrypted chat at once; nothing when no ghost can stand for that number.
    async fn contact(&self, phone: &PhoneNumber) -> Result<Option<OwnedUserId>, SinkError>;

    /// Whether everything behind the sink works: the answer of the readiness check.
    async fn ready(&self) -> bool;
}

/// Why a sink could not do what it was asked. The homeserver gets an answer after which it tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// Something that the bridge needs does not answer, or the bridge is going down.
    #[error("not possible at the moment: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// More was asked for in a short time than is given.
    #[error("asked for too often")]
    Limited,
    /// A fault of the bridge itself.
    #[error("the bridge failed: {0}")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}
