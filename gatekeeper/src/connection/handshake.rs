//! From nothing to an accepted login: channel, handshake, payload, the server's word.

use bytes::Bytes;
use tokio::time::timeout;

use super::{ConnectionConfig, Credentials, CredentialsProvider, DisconnectReason, session::Ended};
use crate::{
    frame::{self, FrameDecoder},
    login::{ClientPayload, ConnectReason, InteropData},
    noise::{Initiator, Receiver, Sender},
    profile::FailureClass,
    stanza::{self, Node},
    stanzas::{Failure, StreamError, Success},
    transport::{Channel, Reader, Writer},
};

/// Most bytes of a frame before the server has proved who it is.
const UNPROVEN: usize = 64 * 1024;

/// Stanzas that may come before the login is accepted.
const EARLY: usize = 16;

/// An accepted login.
pub(super) struct LoggedIn {
    pub(super) reader: Box<dyn Reader>,
    pub(super) writer: Box<dyn Writer>,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    /// Holds what came behind the server's word.
    pub(super) decoder: FrameDecoder,
    /// The routing information that was shown.
    pub(super) routing: Option<Vec<u8>>,
    pub(super) success: Success,
    /// What came before it.
    pub(super) early: Vec<Node>,
}

/// Opens a channel and logs in.
pub(super) async fn log_in(
    config: &ConnectionConfig,
    provider: &dyn CredentialsProvider,
    reason: ConnectReason,
    attempts: u32,
) -> Result<LoggedIn, Ended> {
    let deadline = config.profile.limits.handshake();
    let late = || Ended::retry(DisconnectReason::Deadline);
    let credentials = timeout(deadline, provider.credentials())
        .await
        .map_err(|_| {
            Ended::retry(DisconnectReason::Credentials(
                "none came in time".to_owned(),
            ))
        })?
        .map_err(|error| Ended::retry(DisconnectReason::Credentials(error.to_string())))?;
    let channel = timeout(deadline, config.transport.open())
        .await
        .map_err(|_| late())?
        .map_err(transport)?;
    let payload = payload(config, &credentials, reason, attempts);
    let conversation = converse(config, credentials, payload, channel);
    timeout(deadline, conversation).await.map_err(|_| late())?
}

fn payload(
    config: &ConnectionConfig,
    credentials: &Credentials,
    reason: ConnectReason,
    attempts: u32,
) -> Vec<u8> {
    ClientPayload::interop(InteropData {
        account_id: credentials.account_id,
        token: credentials.token.clone().into_bytes(),
        enable_read_receipts: credentials.enable_read_receipts,
    })
    .with_profile(&config.profile.login)
    .because(reason, attempts)
    .to_bytes()
}

async fn converse(
    config: &ConnectionConfig,
    credentials: Credentials,
    payload: Vec<u8>,
    channel: Channel,
) -> Result<LoggedIn, Ended> {
    let Channel {
        mut reader,
        mut writer,
    } = channel;
    let mut decoder = FrameDecoder::client();
    decoder.set_limit(UNPROVEN);

    let (initiator, hello) =
        Initiator::start(credentials.static_key, &mut rand::rng()).map_err(handshake)?;
    // Routing information that cannot be sent is of no use, but no obstacle either.
    let mut bytes = match frame::introduction(credentials.routing_info.as_deref()) {
        Ok(bytes) => bytes,
        Err(_) => frame::introduction(None).map_err(handshake)?,
    };
    bytes.extend(frame::encode_frame(&hello).map_err(handshake)?);
    writer.write(bytes.into()).await.map_err(transport)?;

    let server_hello = next_frame(reader.as_mut(), &mut decoder).await?;
    let root = &config.profile.chat.trust_root;
    let server = initiator
        .server_hello(&server_hello, root, config.clock.now())
        .map_err(handshake)?;
    let (finish, cipher) = server.client_finish(&payload).map_err(handshake)?;
    let finish = frame::encode_frame(&finish).map_err(handshake)?;
    writer.write(finish.into()).await.map_err(transport)?;
    decoder.set_limit(frame::MAX_PAYLOAD);

    let (sender, mut receiver) = cipher.split();
    let mut early = Vec::new();
    loop {
        let frame = next_frame(reader.as_mut(), &mut decoder).await?;
        let plain = receiver.decrypt(&frame).map_err(damaged)?;
        let node = stanza::decode(&plain).map_err(damaged)?;
        match node.tag.as_str() {
            "success" => {
                let success = Success::parse(&node).unwrap_or_default();
                return Ok(LoggedIn {
                    reader,
                    writer,
                    sender,
                    receiver,
                    decoder,
                    routing: credentials.routing_info,
                    success,
                    early,
                });
            }
            "failure" => {
                let failure = Failure::parse(&node).unwrap_or_default();
                return Err(refused(config, &failure));
            }
            "stream:error" => {
                let error = StreamError::parse(&node).unwrap_or_default();
                return Err(Ended::by_stream_error(&config.profile, &error));
            }
            crate::stanzas::stream::END => return Err(Ended::retry(DisconnectReason::Ended)),
            _ if early.len() < EARLY => early.push(node),
            _ => return Err(damaged("too many stanzas before the login is accepted")),
        }
    }
}

/// What a `<failure>` means.
pub(super) fn refused(config: &ConnectionConfig, failure: &Failure) -> Ended {
    Ended {
        reason: DisconnectReason::LoginFailed(failure.reason),
        class: config.profile.classify_failure(failure),
    }
}

async fn next_frame(reader: &mut dyn Reader, decoder: &mut FrameDecoder) -> Result<Bytes, Ended> {
    loop {
        if let Some(frame) = decoder.next_frame().map_err(damaged)? {
            return Ok(frame);
        }
        match reader.read().await.map_err(transport)? {
            Some(bytes) => decoder.push(&bytes),
            None => return Err(Ended::retry(DisconnectReason::Closed)),
        }
    }
}

fn transport(error: crate::transport::TransportError) -> Ended {
    Ended::retry(DisconnectReason::Transport(error.to_string()))
}

fn handshake(error: impl std::fmt::Display) -> Ended {
    Ended::retry(DisconnectReason::Handshake(error.to_string()))
}

fn damaged(error: impl std::fmt::Display) -> Ended {
    Ended {
        reason: DisconnectReason::Damaged(error.to_string()),
        class: FailureClass::Retry(None),
    }
}
