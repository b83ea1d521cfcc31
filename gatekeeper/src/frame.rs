//! Frames: how payloads lie in the byte stream of a connection (G 2.2).
//!
//! A frame is a three-byte big-endian length and that many bytes. A client glues an introduction
//! before its first frame: the connection header, and before it, if the server gave some out
//! earlier, routing information. Frames may come split or merged in any way.

use bytes::{Buf, Bytes, BytesMut};

/// The connection header: `WA`, the protocol's version, the dictionary's version. It is the prologue
/// of the Noise handshake.
pub const HEADER: [u8; 4] = *b"WA\x06\x03";

/// Starts the routing information that may precede the header.
const ROUTING: [u8; 4] = *b"ED\x00\x01";

/// Most bytes of a frame's payload: what three bytes can say.
pub const MAX_PAYLOAD: usize = (1 << 24) - 1;

/// Most bytes of routing information that a server takes.
const MAX_ROUTING: usize = 4096;

/// Bytes that are no frame, or a payload that fits into none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A payload that is larger than a frame, or than the decoder's limit.
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    /// The first bytes of a client are no connection header.
    #[error("the connection does not begin with a header of this protocol")]
    Header,
    /// The client speaks another version of the protocol or dictionary.
    #[error("the client speaks protocol {protocol} with dictionary {dictionary}, not 6 with 3")]
    Version {
        /// The protocol's version.
        protocol: u8,
        /// The dictionary's version.
        dictionary: u8,
    },
    /// Routing information of an unreasonable size.
    #[error("routing information of {0} bytes is too large")]
    Routing(usize),
}

/// Wraps a payload.
///
/// # Errors
///
/// If the payload is larger than [`MAX_PAYLOAD`].
pub fn encode_frame(payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let length = length(payload, MAX_PAYLOAD).map_err(FrameError::TooLarge)?;
    let mut frame = Vec::with_capacity(length.len() + payload.len());
    frame.extend(length);
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// What a client sends before its first frame. `routing` is what the server gave out on an earlier
/// connection, if it did.
///
/// # Errors
///
/// If the routing information is larger than a server would take.
pub fn introduction(routing: Option<&[u8]>) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::new();
    if let Some(routing) = routing {
        bytes.extend(ROUTING);
        bytes.extend(length(routing, MAX_ROUTING).map_err(FrameError::Routing)?);
        bytes.extend_from_slice(routing);
    }
    bytes.extend(HEADER);
    Ok(bytes)
}

fn length(payload: &[u8], limit: usize) -> Result<[u8; 3], usize> {
    match u32::try_from(payload.len()) {
        Ok(length) if payload.len() <= limit => {
            let [_, bytes @ ..] = length.to_be_bytes();
            Ok(bytes)
        }
        _ => Err(payload.len()),
    }
}

/// What a client said before its first frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Introduction {
    /// The routing information that an earlier connection gave it.
    pub routing: Option<Bytes>,
}

/// Cuts a byte stream into payloads.
///
/// Memory: what was pushed and not yet taken out, so take all payloads out after each push.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    limit: usize,
    introduction: Option<Introduction>,
}

impl FrameDecoder {
    /// For a client: the server's stream begins with a frame.
    pub fn client() -> Self {
        let introduction = Some(Introduction::default());
        Self {
            buffer: BytesMut::new(),
            limit: MAX_PAYLOAD,
            introduction,
        }
    }

    /// For a server: the client's stream begins with its introduction.
    pub fn server() -> Self {
        Self {
            introduction: None,
            ..Self::client()
        }
    }

    /// Sets the most bytes that a payload may have: small before the peer has proved who it is.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.min(MAX_PAYLOAD);
    }

    /// Takes bytes from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The client's introduction, once it is there and [`next_frame`](Self::next_frame) has been
    /// called.
    pub fn introduction(&self) -> Option<&Introduction> {
        self.introduction.as_ref()
    }

    /// The next payload, or nothing until more bytes come.
    ///
    /// # Errors
    ///
    /// If the stream is not of this protocol. It cannot be read any further: close the connection.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.introduction.is_none() {
            self.introduction = self.read_introduction()?;
            if self.introduction.is_none() {
                return Ok(None);
            }
        }
        let Some((length, _)) = self.buffer.split_first_chunk() else {
            return Ok(None);
        };
        let length = number(*length);
        if length > self.limit {
            return Err(FrameError::TooLarge(length));
        }
        if self.buffer.len() < 3 + length {
            return Ok(None);
        }
        self.buffer.advance(3);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// The introduction if all of it is there. Wrong bytes are refused as soon as they are.
    fn read_introduction(&mut self) -> Result<Option<Introduction>, FrameError> {
        let start = self.buffer.get(..4).unwrap_or(&self.buffer);
        if !start.is_empty() && ROUTING.starts_with(start) {
            let Some((length, _)) = self
                .buffer
                .get(4..)
                .and_then(|rest| rest.split_first_chunk())
            else {
                return Ok(None);
            };
            let length = number(*length);
            if length > MAX_ROUTING {
                return Err(FrameError::Routing(length));
            }
            let Some(header) = self.buffer.get(7 + length..) else {
                return Ok(None);
            };
            if !check_header(header)? {
                return Ok(None);
            }
            self.buffer.advance(7);
            let routing = Some(self.buffer.split_to(length).freeze());
            self.buffer.advance(HEADER.len());
            return Ok(Some(Introduction { routing }));
        }
        if !check_header(&self.buffer)? {
            return Ok(None);
        }
        self.buffer.advance(HEADER.len());
        Ok(Some(Introduction::default()))
    }
}

/// Whether a whole header is there.
fn check_header(bytes: &[u8]) -> Result<bool, FrameError> {
    match *bytes {
        [b'W', b'A', protocol, dictionary, ..] => match [b'W', b'A', protocol, dictionary] {
            HEADER => Ok(true),
            _ => Err(FrameError::Version {
                protocol,
                dictionary,
            }),
        },
        [] | [b'W'] | [b'W', b'A'] | [b'W', b'A', _] => Ok(false),
        _ => Err(FrameError::Header),
    }
}

fn number([high, middle, low]: [u8; 3]) -> usize {
    usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(decoder: &mut FrameDecoder) -> Vec<Bytes> {
        std::iter::from_fn(|| decoder.next_frame().unwrap()).collect()
    }

    #[test]
    fn frame_is_a_length_and_the_payload() {
        assert_eq!(encode_frame(b"abc").unwrap(), b"\x00\x00\x03abc");
        assert_eq!(encode_frame(&[0; 0x01_02_03]).unwrap()[..3], [1, 2, 3]);
        let largest = encode_frame(&vec![0; MAX_PAYLOAD]).unwrap();
        assert_eq!(largest[..3], [0xff; 3]);
        let too_large = encode_frame(&vec![0; MAX_PAYLOAD + 1]);
        assert_eq!(too_large, Err(FrameError::TooLarge(1 << 24)));
    }

    #[test]
    fn introduction_has_the_published_bytes() {
        assert_eq!(introduction(None).unwrap(), [0x57, 0x41, 0x06, 0x03]);
        let routed = introduction(Some(b"xyz")).unwrap();
        assert_eq!(routed, b"\x45\x44\x00\x01\x00\x00\x03xyz\x57\x41\x06\x03");
        assert_eq!(
            introduction(Some(&[0; 5000])),
            Err(FrameError::Routing(5000))
        );
    }

    #[test]
    fn server_reads_the_introduction_byte_by_byte() {
        for routing in [None, Some(&b""[..]), Some(&b"route"[..])] {
            let mut bytes = introduction(routing).unwrap();
            bytes.extend(encode_frame(b"hello").unwrap());
            let mut decoder = FrameDecoder::server();
            let (last, all) = bytes.split_last().unwrap();
            for byte in all {
                decoder.push(&[*byte]);
                assert_eq!(decoder.next_frame(), Ok(None));
            }
            decoder.push(&[*last]);
            assert_eq!(decoder.next_frame(), Ok(Some(Bytes::from_static(b"hello"))));
            assert_eq!(decoder.introduction().unwrap().routing.as_deref(), routing);
        }
    }

    #[test]
    fn other_protocols_are_refused_at_once() {
        for (bytes, error) in [
            (&b"GET / HTTP/1.1"[..], FrameError::Header),
            (b"EX", FrameError::Header),
            (b"WB", FrameError::Header),
            (
                b"WA\x05\x03",
                FrameError::Version {
                    protocol: 5,
                    dictionary: 3,
                },
            ),
            (
                b"WA\x06\x02",
                FrameError::Version {
                    protocol: 6,
                    dictionary: 2,
                },
            ),
            (b"ED\x00\x01\xff\xff\xff", FrameError::Routing(MAX_PAYLOAD)),
            (b"ED\x00\x01\x00\x00\x01aED", FrameError::Header),
        ] {
            let mut decoder = FrameDecoder::server();
            decoder.push(bytes);
            assert_eq!(decoder.next_frame(), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn limit_holds_before_the_payload_is_there() {
        let mut decoder = FrameDecoder::client();
        decoder.set_limit(10);
        decoder.push(b"\x00\x00\x0b");
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLarge(11)));
    }

    proptest! {
        #[test]
        fn frames_come_out_however_the_stream_is_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cut in 1usize..400,
        ) {
            let stream: Vec<u8> =
                payloads.iter().flat_map(|payload| encode_frame(payload).unwrap()).collect();
            let mut decoder = FrameDecoder::client();
            let mut read = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece);
                read.extend(frames(&mut decoder));
            }
            prop_assert_eq!(read, payloads);
        }

        #[test]
        fn random_streams_never_panic(
            server in any::<bool>(),
            stream in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut decoder =
                if server { FrameDecoder::server() } else { FrameDecoder::client() };
            decoder.push(&stream);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }
}
