//! The two carriers of the chat: a WebSocket and plain TCP, as one stream of bytes each way.

use std::io;

use axum::extract::ws::{Message, WebSocket};
use bytes::{Bytes, BytesMut};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Bytes that one read may bring.
const READ: usize = 64 * 1024;

/// The reading half.
#[derive(Debug)]
pub(super) enum Reader {
    Tcp(OwnedReadHalf, BytesMut),
    WebSocket(SplitStream<WebSocket>),
}

/// The writing half.
#[derive(Debug)]
pub(super) enum Writer {
    Tcp(OwnedWriteHalf),
    WebSocket(SplitSink<WebSocket, Message>),
}

/// Splits a TCP connection.
pub(super) fn tcp(stream: TcpStream) -> (Reader, Writer) {
    // Stanzas are small and somebody waits for each; without it the connection works as well.
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    (Reader::Tcp(read, BytesMut::new()), Writer::Tcp(write))
}

/// Splits a WebSocket.
pub(super) fn websocket(socket: WebSocket) -> (Reader, Writer) {
    let (write, read) = socket.split();
    (Reader::WebSocket(read), Writer::WebSocket(write))
}

impl Reader {
    /// The next bytes; nothing at the end. May be dropped while it waits without losing any.
    pub(super) async fn read(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Tcp(read, buffer) => {
                buffer.reserve(READ);
                let length = read.read_buf(buffer).await?;
                Ok((length > 0).then(|| buffer.split().freeze()))
            }
            Self::WebSocket(read) => loop {
                match read.next().await {
                    None | Some(Ok(Message::Close(_))) => return Ok(None),
                    Some(Ok(Message::Binary(bytes))) => return Ok(Some(bytes)),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Text(_))) => {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "a text message on the chat's WebSocket",
                        ));
                    }
                    Some(Err(error)) => return Err(io::Error::other(error)),
                }
            },
        }
    }
}

impl Writer {
    /// Sends pieces of the byte stream, each as one WebSocket message or one write.
    pub(super) async fn write(&mut self, pieces: Vec<Bytes>) -> io::Result<()> {
        match self {
            Self::Tcp(write) => {
                for piece in pieces {
                    write.write_all(&piece).await?;
                }
                write.flush().await
            }
            Self::WebSocket(write) => {
                for piece in pieces {
                    write
                        .feed(Message::Binary(piece))
                        .await
                        .map_err(io::Error::other)?;
                }
                write.flush().await.map_err(io::Error::other)
            }
        }
    }

    /// Ends the stream in the transport's own orderly way.
    pub(super) async fn close(&mut self) {
        // The peer may be gone already; then there is nobody to say goodbye to.
        let _ = match self {
            Self::Tcp(write) => write.shutdown().await,
            Self::WebSocket(write) => write
                .send(Message::Close(None))
                .await
                .map_err(io::Error::other),
        };
    }
}
