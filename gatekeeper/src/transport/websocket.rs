//! A channel over a WebSocket.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, Message, handshake::client::Request, protocol::WebSocketConfig},
};

use super::{Channel, Reader, TransportError, Writer};

/// Most bytes of a WebSocket message: a frame of the largest size and some more.
const MESSAGE: usize = (1 << 24) + 64 * 1024;

/// Bytes read at a time: what an idle connection costs.
const READ_BUFFER: usize = 4 * 1024;

/// Says hello over a byte stream.
pub(super) async fn open<S>(request: Request, stream: S) -> Result<Channel, TransportError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE));
    let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
    Ok(Channel::over_websocket(socket))
}

impl Channel {
    /// The channel over an open WebSocket.
    pub fn over_websocket<S>(socket: WebSocketStream<S>) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (writer, reader) = socket.split();
        Self {
            reader: Box::new(SocketReader(reader)),
            writer: Box::new(SocketWriter(writer)),
        }
    }
}

struct SocketReader<S>(SplitStream<WebSocketStream<S>>);

struct SocketWriter<S>(SplitSink<WebSocketStream<S>, Message>);

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Reader for SocketReader<S> {
    async fn read(&mut self) -> Result<Option<Bytes>, TransportError> {
        loop {
            match self.0.next().await {
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => {
                    return Ok(None);
                }
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(Message::Binary(bytes))) if bytes.is_empty() => {}
                Some(Ok(Message::Binary(bytes))) => return Ok(Some(bytes)),
                Some(Ok(Message::Close(_))) => return Ok(None),
                Some(Ok(Message::Text(_))) => return Err(TransportError::Text),
                // Pings are answered below; the rest is of no interest.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            }
        }
    }
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Writer for SocketWriter<S> {
    async fn write(&mut self, bytes: Bytes) -> Result<(), TransportError> {
        Ok(self.0.send(Message::Binary(bytes)).await?)
    }

    async fn close(&mut self) {
        // If the peer is gone, there is nobody to say goodbye to.
        let _ = self.0.close().await;
    }
}
