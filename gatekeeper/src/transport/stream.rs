//! A channel over a byte stream.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf,
};

use super::{Channel, Reader, TransportError, Writer};

/// Bytes asked for at first: what an idle connection costs.
const SMALL: usize = 2 * 1024;

/// Bytes asked for while much comes.
const LARGE: usize = 64 * 1024;

struct StreamReader<S> {
    stream: ReadHalf<S>,
    buffer: BytesMut,
    ask: usize,
}

struct StreamWriter<S>(WriteHalf<S>);

impl Channel {
    /// The channel over a byte stream, such as a TCP connection.
    pub fn over<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader: Box::new(StreamReader {
                stream: reader,
                buffer: BytesMut::new(),
                ask: SMALL,
            }),
            writer: Box::new(StreamWriter(writer)),
        }
    }
}

#[async_trait]
impl<S: AsyncRead + Send> Reader for StreamReader<S> {
    async fn read(&mut self) -> Result<Option<Bytes>, TransportError> {
        self.buffer.reserve(self.ask);
        let count = self.stream.read_buf(&mut self.buffer).await?;
        if count == 0 {
            return Ok(None);
        }
        self.ask = if count >= self.ask { LARGE } else { SMALL };
        Ok(Some(self.buffer.split().freeze()))
    }
}

#[async_trait]
impl<S: AsyncWrite + Send> Writer for StreamWriter<S> {
    async fn write(&mut self, bytes: Bytes) -> Result<(), TransportError> {
        self.0.write_all(&bytes).await?;
        self.0.flush().await?;
        Ok(())
    }

    async fn close(&mut self) {
        // The peer learns of it from the end of the stream; if it is gone, there is nobody to tell.
        let _ = self.0.shutdown().await;
    }
}
