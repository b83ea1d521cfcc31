//! The protobufs of the handshake and of certificates (G 2.3, 2.4).
//!
//! Fields that are not here, such as those of the coming post-quantum handshake, are skipped.

use prost::Message;

use super::NoiseError;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Handshake {
    #[prost(message, optional, tag = "2")]
    pub(super) client_hello: Option<Hello>,
    #[prost(message, optional, tag = "3")]
    pub(super) server_hello: Option<Hello>,
    #[prost(message, optional, tag = "4")]
    pub(super) client_finish: Option<Finish>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Hello {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) ephemeral: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) r#static: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(super) payload: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Finish {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) r#static: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) payload: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CertChain {
    #[prost(message, optional, tag = "1")]
    pub(super) leaf: Option<NoiseCertificate>,
    #[prost(message, optional, tag = "2")]
    pub(super) intermediate: Option<NoiseCertificate>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NoiseCertificate {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) details: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) signature: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Details {
    #[prost(uint32, optional, tag = "1")]
    pub(super) serial: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) issuer_serial: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(super) key: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "4")]
    pub(super) not_before: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    pub(super) not_after: Option<u64>,
}

impl Handshake {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NoiseError> {
        Self::decode(bytes).map_err(|_| NoiseError::Message)
    }

    pub(super) fn from_client_hello(hello: Hello) -> Vec<u8> {
        Self {
            client_hello: Some(hello),
            ..Self::default()
        }
        .encode_to_vec()
    }

    pub(super) fn from_server_hello(hello: Hello) -> Vec<u8> {
        Self {
            server_hello: Some(hello),
            ..Self::default()
        }
        .encode_to_vec()
    }

    pub(super) fn from_client_finish(finish: Finish) -> Vec<u8> {
        Self {
            client_finish: Some(finish),
            ..Self::default()
        }
        .encode_to_vec()
    }
}

/// A field that must be there.
pub(super) fn need<T>(field: Option<T>, name: &'static str) -> Result<T, NoiseError> {
    field.ok_or(NoiseError::Missing(name))
}

/// A public key that must be there.
pub(super) fn need_key(field: Option<&[u8]>, name: &'static str) -> Result<[u8; 32], NoiseError> {
    need(field, name)?.try_into().map_err(|_| NoiseError::Key)
}
