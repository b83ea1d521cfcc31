//! The client's side of the handshake.

use std::fmt;

use rand::CryptoRng;

use super::{
    NoiseError, TrustRoot,
    certificate::Certificate,
    keys::StaticKeyPair,
    messages::{Finish, Handshake, Hello, need, need_key},
    state::{Pattern, Role, State},
    transport::Transport,
};

/// A client that has said hello and waits for the server's.
pub struct Initiator {
    state: State,
    static_key: StaticKeyPair,
    ephemeral: StaticKeyPair,
}

impl Initiator {
    /// Begins a handshake. Returns the client hello: send it as the first frame, after the
    /// [introduction](crate::frame::introduction).
    pub fn start<R: CryptoRng + ?Sized>(
        static_key: StaticKeyPair,
        rng: &mut R,
    ) -> Result<(Self, Vec<u8>), NoiseError> {
        let ephemeral = StaticKeyPair::generate(rng);
        let mut state = State::new(Pattern::Xx);
        state.mix_hash(&ephemeral.public());
        let ephemeral_public = Some(ephemeral.public().to_vec());
        let hello = Hello {
            ephemeral: ephemeral_public,
            ..Hello::default()
        };
        Ok((
            Self {
                state,
                static_key,
                ephemeral,
            },
            Handshake::from_client_hello(hello),
        ))
    }

    /// Reads the server hello and checks the server's certificate chain against the pinned root.
    /// `now` is in seconds since 1970.
    ///
    /// # Errors
    ///
    /// If the message is damaged or the server cannot prove its key: close the connection.
    pub fn server_hello(
        mut self,
        bytes: &[u8],
        root: &TrustRoot,
        now: u64,
    ) -> Result<TrustedServer, NoiseError> {
        let hello = need(Handshake::parse(bytes)?.server_hello, "the server hello")?;
        let ephemeral = need_key(hello.ephemeral.as_deref(), "the server's ephemeral key")?;
        self.state.mix_hash(&ephemeral);
        self.state.mix_agreement(&self.ephemeral, &ephemeral)?;
        let sealed = need(hello.r#static, "the server's static key")?;
        let static_key = self.state.decrypt_key(&sealed)?;
        self.state.mix_agreement(&self.ephemeral, &static_key)?;
        let chain = self
            .state
            .decrypt(&need(hello.payload, "the certificate chain")?)?;
        let certificate = root.verify(&chain, &static_key, now)?;
        Ok(TrustedServer {
            state: self.state,
            static_key: self.static_key,
            ephemeral,
            info: ServerInfo {
                static_key,
                certificate,
            },
        })
    }
}

/// What the handshake proved about the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// The server's static public key.
    pub static_key: [u8; 32],
    /// The certificate of that key.
    pub certificate: Certificate,
}

/// A server that has proved its key; the client has not named itself yet.
pub struct TrustedServer {
    state: State,
    static_key: StaticKeyPair,
    ephemeral: [u8; 32],
    info: ServerInfo,
}

impl TrustedServer {
    /// What the server proved.
    pub fn info(&self) -> &ServerInfo {
        &self.info
    }

    /// Ends the handshake with the login payload. Returns the client finish, to send as a frame, and
    /// the connection's encryption.
    ///
    /// # Errors
    ///
    /// If the payload fits into no frame.
    pub fn client_finish(mut self, payload: &[u8]) -> Result<(Vec<u8>, Transport), NoiseError> {
        let static_key = self.state.encrypt(&self.static_key.public())?;
        self.state
            .mix_agreement(&self.static_key, &self.ephemeral)?;
        let payload = self.state.encrypt(payload)?;
        let finish = Finish {
            r#static: Some(static_key),
            payload: Some(payload),
        };
        Ok((
            Handshake::from_client_finish(finish),
            self.state.split(Role::Initiator)?,
        ))
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Initiator(..)")
    }
}

impl fmt::Debug for TrustedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedServer")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
