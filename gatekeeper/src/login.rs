//! The login payload: what a client says of itself inside the last message of the handshake (G 2.5).
//!
//! Fields that are not here are skipped when reading.

use prost::Message as _;

use crate::profile::LoginProfile;

/// Which of the gatekeeper's products a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// An ordinary WhatsApp client.
    Whatsapp,
    /// Messenger.
    Messenger,
    /// A third-party client of WhatsApp's interface.
    Interop,
    /// A third-party client of Messenger's interface.
    InteropMessenger,
    /// A WhatsApp client that logs in by its opaque number.
    WhatsappLid,
    /// Something newer than this code.
    Other(i32),
}

impl Product {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        match self {
            Self::Whatsapp => 0,
            Self::Messenger => 1,
            Self::Interop => 2,
            Self::InteropMessenger => 3,
            Self::WhatsappLid => 4,
            Self::Other(number) => number,
        }
    }
}

impl From<i32> for Product {
    fn from(number: i32) -> Self {
        match number {
            0 => Self::Whatsapp,
            1 => Self::Messenger,
            2 => Self::Interop,
            3 => Self::InteropMessenger,
            4 => Self::WhatsappLid,
            _ => Self::Other(number),
        }
    }
}

/// Why a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectReason {
    /// A push woke it.
    Push,
    /// Its user started it.
    UserActivated,
    /// It was due.
    Scheduled,
    /// The connection before had failed.
    ErrorReconnect,
}

impl ConnectReason {
    fn number(self) -> i32 {
        match self {
            Self::Push => 0,
            Self::UserActivated => 1,
            Self::Scheduled => 2,
            Self::ErrorReconnect => 3,
        }
    }
}

/// What a third-party client says of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct InteropData {
    /// The user's number: the part of its address after the dash.
    pub account_id: u64,
    /// The partner's signed token.
    pub token: Vec<u8>,
    /// Whether others may learn what the user has read.
    pub enable_read_receipts: bool,
}

impl std::fmt::Debug for InteropData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InteropData")
            .field("enable_read_receipts", &self.enable_read_receipts)
            .finish_non_exhaustive()
    }
}

/// The login payload.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientPayload {
    /// The number of an ordinary client's user.
    pub username: Option<u64>,
    /// The device of an ordinary client.
    pub device: Option<u32>,
    /// Whether the server shall hold messages back until it is asked for them.
    pub passive: bool,
    /// Whether the client asks for what waits in its mailbox.
    pub pull: Option<bool>,
    /// The application's version, up to five numbers.
    pub version: Vec<u32>,
    /// The product.
    pub product: Product,
    /// Why the client connects, by the number on the wire.
    pub connect_reason: Option<i32>,
    /// How often it has tried.
    pub connect_attempts: Option<u32>,
    /// What a third-party client says of itself.
    pub interop: Option<InteropData>,
}

impl std::fmt::Debug for ClientPayload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientPayload")
            .field("product", &self.product)
            .field("passive", &self.passive)
            .field("interop", &self.interop)
            .finish_non_exhaustive()
    }
}

/// Bytes that are no login payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the login payload is damaged")]
pub struct PayloadError;

impl ClientPayload {
    /// The payload of a third-party client that says only who it is.
    pub fn interop(data: InteropData) -> Self {
        Self {
            username: None,
            device: None,
            passive: false,
            pull: None,
            version: Vec::new(),
            product: Product::Interop,
            connect_reason: None,
            connect_attempts: None,
            interop: Some(data),
        }
    }

    /// The same payload with what the profile adds to it.
    #[must_use]
    pub fn with_profile(self, profile: &LoginProfile) -> Self {
        Self {
            passive: profile.passive,
            pull: profile.pull.then_some(true),
            version: profile.version.clone(),
            product: Product::from(i32::try_from(profile.product).unwrap_or(i32::MAX)),
            ..self
        }
    }

    /// The same payload with the cause of the connection. `attempts` counts failed ones before it.
    #[must_use]
    pub fn because(self, reason: ConnectReason, attempts: u32) -> Self {
        Self {
            connect_reason: Some(reason.number()),
            connect_attempts: Some(attempts),
            ..self
        }
    }

    /// Writes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut numbers = self.version.iter().copied();
        let version = (!self.version.is_empty()).then(|| wire::AppVersion {
            primary: numbers.next(),
            secondary: numbers.next(),
            tertiary: numbers.next(),
            quaternary: numbers.next(),
            quinary: numbers.next(),
        });
        wire::ClientPayload {
            username: self.username,
            passive: Some(self.passive),
            user_agent: version.map(|version| wire::UserAgent {
                app_version: Some(version),
            }),
            connect_reason: self.connect_reason,
            connect_attempt_count: self.connect_attempts,
            device: self.device,
            product: Some(self.product.number()),
            pull: self.pull,
            interop_data: self.interop.as_ref().map(|data| wire::InteropData {
                account_id: Some(data.account_id),
                token: Some(data.token.clone()),
                enable_read_receipts: Some(data.enable_read_receipts),
            }),
        }
        .encode_to_vec()
    }

    /// Reads it, as the server does.
    pub fn parse(bytes: &[u8]) -> Result<Self, PayloadError> {
        let wire = wire::ClientPayload::decode(bytes).map_err(|_| PayloadError)?;
        let version = wire
            .user_agent
            .and_then(|agent| agent.app_version)
            .unwrap_or_default();
        let numbers = [
            version.primary,
            version.secondary,
            version.tertiary,
            version.quaternary,
            version.quinary,
        ];
        Ok(Self {
            username: wire.username,
            device: wire.device,
            passive: wire.passive.unwrap_or(false),
            pull: wire.pull,
            version: numbers.into_iter().map_while(|number| number).collect(),
            product: wire.product.unwrap_or(0).into(),
            connect_reason: wire.connect_reason,
            connect_attempts: wire.connect_attempt_count,
            interop: wire.interop_data.map(|data| InteropData {
                account_id: data.account_id.unwrap_or(0),
                token: data.token.unwrap_or_default(),
                enable_read_receipts: data.enable_read_receipts.unwrap_or(false),
            }),
        })
    }
}

/// The protobufs.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ClientPayload {
        #[prost(uint64, optional, tag = "1")]
        pub(super) username: Option<u64>,
        #[prost(bool, optional, tag = "3")]
        pub(super) passive: Option<bool>,
        #[prost(message, optional, tag = "5")]
        pub(super) user_agent: Option<UserAgent>,
        #[prost(int32, optional, tag = "13")]
        pub(super) connect_reason: Option<i32>,
        #[prost(uint32, optional, tag = "16")]
        pub(super) connect_attempt_count: Option<u32>,
        #[prost(uint32, optional, tag = "18")]
        pub(super) device: Option<u32>,
        #[prost(int32, optional, tag = "20")]
        pub(super) product: Option<i32>,
        #[prost(bool, optional, tag = "33")]
        pub(super) pull: Option<bool>,
        #[prost(message, optional, tag = "38")]
        pub(super) interop_data: Option<InteropData>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct UserAgent {
        #[prost(message, optional, tag = "2")]
        pub(super) app_version: Option<AppVersion>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct AppVersion {
        #[prost(uint32, optional, tag = "1")]
        pub(super) primary: Option<u32>,
        #[prost(uint32, optional, tag = "2")]
        pub(super) secondary: Option<u32>,
        #[prost(uint32, optional, tag = "3")]
        pub(super) tertiary: Option<u32>,
        #[prost(uint32, optional, tag = "4")]
        pub(super) quaternary: Option<u32>,
        #[prost(uint32, optional, tag = "5")]
        pub(super) quinary: Option<u32>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct InteropData {
        #[prost(uint64, optional, tag = "1")]
        pub(super) account_id: Option<u64>,
        #[prost(bytes = "vec", optional, tag = "2")]
        pub(super) token: Option<Vec<u8>>,
        #[prost(bool, optional, tag = "3")]
        pub(super) enable_read_receipts: Option<bool>,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data() -> InteropData {
        InteropData {
            account_id: 10_853_634_039_893,
            token: b"jwt".to_vec(),
            enable_read_receipts: true,
        }
    }

    /// The vector of G 2.5, which another implementation made.
    #[test]
    fn the_published_shape_byte_for_byte() {
        let bytes = hex::decode("1800a00102b2020f08d5c081f8f0bb0212036a77741801").unwrap();
        assert_eq!(ClientPayload::interop(data()).to_bytes(), bytes);
        assert_eq!(
            ClientPayload::parse(&bytes),
            Ok(ClientPayload::interop(data()))
        );
    }

    #[test]
    fn the_profile_adds_its_part() {
        let payload = ClientPayload::interop(data())
            .with_profile(&LoginProfile::default())
            .because(ConnectReason::ErrorReconnect, 3);
        assert_eq!(payload.version, [1, 0, 3]);
        assert_eq!(payload.pull, Some(true));
        assert_eq!(ClientPayload::parse(&payload.to_bytes()), Ok(payload));
    }

    #[test]
    fn an_ordinary_client_is_read_too() {
        // A number, passive, product absent, a field of the future.
        let bytes = hex::decode("08d9f0b3dd341801fa0f0178").unwrap();
        let payload = ClientPayload::parse(&bytes).unwrap();
        assert_eq!(payload.username, Some(14_154_528_857));
        assert_eq!(
            (payload.passive, payload.product),
            (true, Product::Whatsapp)
        );
        assert_eq!(payload.interop, None);
    }

    #[test]
    fn debug_shows_neither_user_nor_token() {
        let text = format!("{:?}", ClientPayload::interop(data()));
        assert!(
            !text.contains("10853634039893") && !text.contains("106"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(payload) = ClientPayload::parse(&bytes) {
                prop_assert_eq!(ClientPayload::parse(&payload.to_bytes()), Ok(payload));
            }
        }
    }
}
