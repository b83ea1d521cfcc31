//! The server's side of the handshake.

use std::fmt;

use rand::CryptoRng;

use super::{
    NoiseError,
    keys::StaticKeyPair,
    messages::{Handshake, Hello, need, need_key},
    state::{Pattern, Role, State},
    transport::Transport,
};

/// A server that waits for a client's hello.
#[derive(Clone, Copy, Debug)]
pub struct Responder<'a> {
    static_key: &'a StaticKeyPair,
    chain: &'a [u8],
}

/// What to do after a client's hello.
#[derive(Debug)]
pub enum Step {
    /// Send the server hello and wait for the client's finish.
    Continue {
        /// The server hello, to send as a frame.
        server_hello: Vec<u8>,
        /// The handshake's state.
        responder: AwaitFinish,
    },
    /// Send the server hello; the handshake is over. The client knew our key and sent its login in
    /// the hello. Somebody else can send the same hello again, but no frame after it: act on the
    /// login only once a frame has been decrypted.
    Done {
        /// The server hello, to send as a frame.
        server_hello: Vec<u8>,
        /// The client.
        accepted: Accepted,
    },
}

/// A client that has proved its static key.
#[derive(Debug)]
pub struct Accepted {
    /// The client's static public key: it must be the `authkey` of its enlistment.
    pub client_static: [u8; 32],
    /// The login.
    pub payload: Vec<u8>,
    /// The connection's encryption.
    pub transport: Transport,
}

impl<'a> Responder<'a> {
    /// A server with this key and the certificate chain that proves it.
    pub fn new(static_key: &'a StaticKeyPair, chain: &'a [u8]) -> Self {
        Self { static_key, chain }
    }

    /// Reads a client hello and answers it. A hello made with a key of ours that the client
    /// remembers (IK) ends the handshake; if we cannot read it, it goes on as any other (XX).
    ///
    /// # Errors
    ///
    /// If the message is damaged: close the connection.
    pub fn client_hello<R: CryptoRng + ?Sized>(
        &self,
        bytes: &[u8],
        rng: &mut R,
    ) -> Result<Step, NoiseError> {
        let hello = need(Handshake::parse(bytes)?.client_hello, "the client hello")?;
        let theirs = need_key(hello.ephemeral.as_deref(), "the client's ephemeral key")?;
        let ephemeral = StaticKeyPair::generate(rng);
        match (hello.r#static, hello.payload) {
            (Some(sealed_static), Some(sealed_payload)) => {
                match self.resume(&theirs, &sealed_static, &sealed_payload) {
                    Ok(resumed) => self.resumed(resumed, ephemeral, &theirs),
                    Err(_) => self.exchange(Pattern::XxFallback, ephemeral, &theirs),
                }
            }
            _ => self.exchange(Pattern::Xx, ephemeral, &theirs),
        }
    }

    fn exchange(
        &self,
        pattern: Pattern,
        ephemeral: StaticKeyPair,
        theirs: &[u8; 32],
    ) -> Result<Step, NoiseError> {
        let mut state = State::new(pattern);
        state.mix_hash(theirs);
        state.mix_hash(&ephemeral.public());
        state.mix_agreement(&ephemeral, theirs)?;
        let sealed_static = state.encrypt(&self.static_key.public())?;
        state.mix_agreement(self.static_key, theirs)?;
        let payload = state.encrypt(self.chain)?;
        let server_hello = Handshake::from_server_hello(Hello {
            ephemeral: Some(ephemeral.public().to_vec()),
            r#static: Some(sealed_static),
            payload: Some(payload),
        });
        Ok(Step::Continue {
            server_hello,
            responder: AwaitFinish { state, ephemeral },
        })
    }

    fn resume(
        &self,
        theirs: &[u8; 32],
        sealed_static: &[u8],
        sealed_payload: &[u8],
    ) -> Result<Resumed, NoiseError> {
        let mut state = State::new(Pattern::Ik);
        state.mix_hash(&self.static_key.public());
        state.mix_hash(theirs);
        state.mix_agreement(self.static_key, theirs)?;
        let client_static = state.decrypt_key(sealed_static)?;
        state.mix_agreement(self.static_key, &client_static)?;
        let payload = state.decrypt(sealed_payload)?;
        Ok(Resumed {
            state,
            client_static,
            payload,
        })
    }

    fn resumed(
        &self,
        Resumed {
            mut state,
            client_static,
            payload,
        }: Resumed,
        ephemeral: StaticKeyPair,
        theirs: &[u8; 32],
    ) -> Result<Step, NoiseError> {
        state.mix_hash(&ephemeral.public());
        state.mix_agreement(&ephemeral, theirs)?;
        state.mix_agreement(&ephemeral, &client_static)?;
        let server_hello = Handshake::from_server_hello(Hello {
            ephemeral: Some(ephemeral.public().to_vec()),
            r#static: None,
            payload: Some(state.encrypt(self.chain)?),
        });
        let transport = state.split(Role::Responder)?;
        Ok(Step::Done {
            server_hello,
            accepted: Accepted {
                client_static,
                payload,
                transport,
            },
        })
    }
}

/// What an IK hello told.
struct Resumed {
    state: State,
    client_static: [u8; 32],
    payload: Vec<u8>,
}

/// A server that has answered and waits for the client's finish.
pub struct AwaitFinish {
    state: State,
    ephemeral: StaticKeyPair,
}

impl AwaitFinish {
    /// Reads the client finish: the client's key and login.
    ///
    /// # Errors
    ///
    /// If the message is damaged or not made with the client's key: close the connection.
    pub fn client_finish(mut self, bytes: &[u8]) -> Result<Accepted, NoiseError> {
        let finish = need(Handshake::parse(bytes)?.client_finish, "the client finish")?;
        let sealed = need(finish.r#static, "the client's static key")?;
        let client_static = self.state.decrypt_key(&sealed)?;
        self.state.mix_agreement(&self.ephemeral, &client_static)?;
        let payload = self.state.decrypt(&need(finish.payload, "the login")?)?;
        let transport = self.state.split(Role::Responder)?;
        Ok(Accepted {
            client_static,
            payload,
            transport,
        })
    }
}

impl fmt::Debug for AwaitFinish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwaitFinish(..)")
    }
}
