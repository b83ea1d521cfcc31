//! The decoders, each with good inputs to begin with and what must hold for every input.

mod enlistment;
mod matrix;
mod media;
mod message;
mod noise;
mod signal;
mod stanza;

/// Tries an input, panics if something does not hold, and says in short what the decoder answered.
pub(crate) type Run = Box<dyn FnMut(&[u8]) -> String>;

/// A decoder.
pub(crate) struct Target {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it reads.
    pub(crate) about: &'static str,
    /// Pieces that mean something to it.
    pub(crate) words: &'static [&'static [u8]],
    /// Makes it ready; does the same each time, so that an input means the same.
    pub(crate) start: fn() -> Decoder,
}

/// A decoder that is ready.
pub(crate) struct Decoder {
    /// Good inputs.
    pub(crate) seeds: Vec<Vec<u8>>,
    /// Tries an input.
    pub(crate) run: Run,
}

impl Decoder {
    fn new(seeds: Vec<Vec<u8>>, run: impl FnMut(&[u8]) -> String + 'static) -> Self {
        Self {
            seeds,
            run: Box::new(run),
        }
    }
}

/// All decoders.
pub(crate) const ALL: &[Target] = &[
    stanza::CODEC,
    stanza::TYPED,
    stanza::JID,
    noise::FRAMES,
    noise::CLIENT_HELLO,
    noise::SERVER_HELLO,
    noise::CLIENT_FINISH,
    noise::CERTIFICATES,
    noise::TRANSPORT,
    signal::PREKEY_MESSAGE,
    signal::MESSAGE,
    signal::STORED,
    message::BODY,
    message::PADDING,
    media::FILE,
    enlistment::FORM,
    enlistment::ANSWER,
    enlistment::TOKEN,
    enlistment::JWKS,
    enlistment::LOGIN,
    matrix::TRANSACTION,
    matrix::MESSAGE,
    matrix::FROM_WHATSAPP,
];

/// The answer in short: what was read, or the error without its numbers.
fn answer<T, E: std::fmt::Debug>(result: Result<T, E>, shape: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(value) => shape(value),
        Err(error) => format!("{error:?}").replace(|c: char| c.is_ascii_digit(), ""),
    }
}

/// A number in short: its order of magnitude.
fn magnitude(number: usize) -> u32 {
    usize::BITS - number.leading_zeros()
}
