//! The chat channel: one connection of one partner user, or of a stock client that is a phone, from its
//! first byte to its end.
//!
//! A connection is one task with two halves that run side by side: the reading half decrypts,
//! handles each stanza at once and leaves the answers with the [`Session`]; the writing half sends
//! the answers and what lies in the user's mailbox. So neither can stop the other by being slow,
//! and everything that another task wants to say to the user goes through the mailbox.

mod iq;
mod login;
mod offline;
mod party;
mod route;
mod session;
mod stock;
mod transport;
mod wire;
mod writer;

use std::{io, sync::Arc, time::Duration};

use axum::extract::ws::WebSocket;
use gatekeeper::{
    frame::FrameDecoder,
    noise,
    stanza::{self, Node},
    stanzas::{Failure, stream},
};
use serde_json::json;
use tokio::{net::TcpStream, time::timeout};
use tracing::debug;

pub(crate) use self::session::Session;
use self::{
    login::Login,
    party::Party,
    transport::{Reader, Writer},
    wire::Wire,
};
use crate::world::World;

/// Time that a client has to take the last stanza before the connection is dropped.
const GOODBYE: Duration = Duration::from_secs(1);

/// Answers that may wait to be sent before no more stanzas are read.
const BACKLOG: usize = 4096;

/// What ended a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The client went, or said goodbye.
    #[error("the client closed the connection")]
    ByClient,
    /// The sandbox ended it: with a stanza, or by a fault.
    #[error("ended by the sandbox")]
    BySandbox,
    /// Nothing was heard for too long.
    #[error("nothing was heard from the client")]
    Silent,
    /// The transport failed.
    #[error("the transport failed: {0}")]
    Io(#[from] io::Error),
    /// A frame that cannot be.
    #[error("bad frame: {0}")]
    Frame(#[from] gatekeeper::frame::FrameError),
    /// The handshake or the encryption failed.
    #[error("bad encryption: {0}")]
    Noise(#[from] noise::NoiseError),
    /// A frame that is no stanza.
    #[error("bad stanza: {0}")]
    Stanza(#[from] stanza::DecodeError),
    /// The handshake took too long.
    #[error("the handshake was not finished in time")]
    TooSlow,
    /// Too many others have connected and not logged in.
    #[error("too many connections have not logged in yet")]
    TooMany,
}

/// Serves a WebSocket until it ends.
pub(crate) async fn serve_websocket(world: Arc<World>, socket: WebSocket) {
    let (reader, writer) = transport::websocket(socket);
    Box::pin(serve(world, reader, writer)).await;
}

/// Serves a TCP connection until it ends.
pub(crate) async fn serve_tcp(world: Arc<World>, stream: TcpStream) {
    let (reader, writer) = transport::tcp(stream);
    Box::pin(serve(world, reader, writer)).await;
}

async fn serve(world: Arc<World>, mut reader: Reader, mut writer: Writer) {
    let number = world.next_connection();
    // Whoever has proved nothing yet costs a place, so that silent connections cannot pile up.
    let Ok(place) = world.half_open.try_acquire() else {
        return refused(&world, number, &Ended::TooMany);
    };
    let mut decoder = FrameDecoder::server();
    let handshake = login::handshake(&world, &mut reader, &mut writer, &mut decoder);
    let login = match timeout(world.handshake, handshake).await {
        Ok(Ok(login)) => login,
        Ok(Err(ended)) => return refused(&world, number, &ended),
        Err(_) => return refused(&world, number, &Ended::TooSlow),
    };
    let Login {
        client_static,
        payload,
        sender,
        receiver,
    } = login;
    let mut wire = Wire::new(sender, world.seed ^ number, world.variety);
    let (party, welcome) = match login::admit(&world, &client_static, &payload).await {
        Ok(admitted) => admitted,
        Err(refusal) => {
            world.events.emit("login_refused", || {
                json!({"connection": number, "reason": refusal.failure.reason,
                       "cause": refusal.cause})
            });
            say_goodbye(
                &mut reader,
                &mut writer,
                &mut wire,
                &refusal.failure.to_node(),
            )
            .await;
            return;
        }
    };
    drop(place);
    let session = Arc::new(Session::new(number, welcome.active));
    session.reply(welcome.node);
    session.reply(welcome.routing);
    party.connect(&world, &session);
    world.touch();
    if let Some(code) = world.take_waiting_stream_error() {
        session.end(gatekeeper::stanzas::StreamError::code(code).to_node());
    }
    world
        .events
        .emit("connected", || party.told(json!({"connection": number})));
    let ended = tokio::select! {
        ended = read(&world, &party, &session, &mut reader, &mut decoder, receiver) => ended,
        ended = writer::write(&world, &party, &session, &mut writer, &mut wire) => {
            match ended {
                Ok(()) => Ended::BySandbox,
                Err(ended) => ended,
            }
        }
        () = world.stopping.cancelled() => {
            say_goodbye(&mut reader, &mut writer, &mut wire, &stream::end()).await;
            Ended::BySandbox
        }
    };
    if let Some(last) = session.ended() {
        say_goodbye(&mut reader, &mut writer, &mut wire, &last).await;
    }
    debug!(connection = number, %ended, "connection ended");
    party.disconnect(&world, &session);
    world.touch();
    world.events.emit("disconnected", || {
        party.told(json!({"connection": number, "cause": ended.to_string()}))
    });
}

/// A connection that never got to a login.
fn refused(world: &World, number: u64, ended: &Ended) {
    debug!(connection = number, %ended, "handshake failed");
    world.events.emit(
        "login_refused",
        || json!({"connection": number, "cause": ended.to_string()}),
    );
}

/// Sends one last stanza, closes, and gives the client a moment to read it: a connection that is
/// dropped with unread bytes would take the stanza with it.
async fn say_goodbye(reader: &mut Reader, writer: &mut Writer, wire: &mut Wire, last: &Node) {
    let goodbye = async {
        if wire.add(last).is_ok() {
            writer.write(wire.take()).await?;
        }
        writer.close().await;
        while reader.read().await?.is_some() {}
        Ok::<_, io::Error>(())
    };
    // Whether the client took it or not, the connection is over.
    let _ = timeout(GOODBYE, goodbye).await;
}

/// Reads stanzas and handles them until the connection ends.
async fn read(
    world: &Arc<World>,
    party: &Party,
    session: &Session,
    reader: &mut Reader,
    decoder: &mut FrameDecoder,
    mut receiver: noise::Receiver,
) -> Ended {
    loop {
        match frames(world, party, session, decoder, &mut receiver) {
            Ok(()) => {}
            Err(ended) => return ended,
        }
        session.room(BACKLOG).await;
        match reader.read().await {
            Ok(Some(bytes)) => {
                session.hear();
                world.recorder.write(&bytes);
                decoder.push(&bytes);
            }
            Ok(None) => return Ended::ByClient,
            Err(error) => return error.into(),
        }
    }
}

/// Handles every whole frame that has come.
fn frames(
    world: &Arc<World>,
    party: &Party,
    session: &Session,
    decoder: &mut FrameDecoder,
    receiver: &mut noise::Receiver,
) -> Result<(), Ended> {
    while let Some(frame) = decoder.next_frame()? {
        let bytes = receiver.decrypt(&frame)?;
        let node = match stanza::decode(&bytes) {
            Ok(node) => node,
            Err(error) => {
                let cause = Node::new("xml-not-well-formed");
                session.end(Node::new("stream:error").child(cause));
                return Err(error.into());
            }
        };
        if world.recorder.is_on() {
            world.recorder.write(&bytes);
            wire::record_inflated(&world.recorder, &bytes, &node);
        }
        if node.is(stream::END) {
            return Err(Ended::ByClient);
        }
        let cut = is_counted(&node) && session.count(world.faults().drop_connection_every);
        // A connection that is cut may take the stanza along, or only the answer to it.
        if cut && world.dice.strikes(0.5) {
            return Err(Ended::BySandbox);
        }
        party.handle(world, session, &node);
        if cut {
            return Err(Ended::BySandbox);
        }
    }
    Ok(())
}

/// Whether a stanza counts for the fault `drop_connection_every`.
fn is_counted(node: &Node) -> bool {
    matches!(node.tag.as_str(), "message" | "receipt" | "ack")
}

/// Why a login is refused.
pub(crate) struct Refusal {
    failure: Failure,
    cause: &'static str,
}

impl Refusal {
    fn new(reason: u16, cause: &'static str) -> Self {
        Self {
            failure: Failure::new(reason),
            cause,
        }
    }
}
