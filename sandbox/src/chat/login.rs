//! The handshake and the login (G 2.3, 2.5): who is this, and may the user in?

use bytes::Bytes;
use gatekeeper::{
    frame::{FrameDecoder, encode_frame},
    login::{ClientPayload, Product},
    noise::{Accepted, Receiver, Responder, Sender, Step},
    stanza::Node,
    stanzas::{Ib, Success},
};

use super::{
    Ended, Refusal,
    party::Party,
    stock,
    transport::{Reader, Writer},
};
use crate::{assumed, partner::TokenRefused, world::World};

/// Most bytes of a frame before the peer has proved who it is: a token is at most 4 KB.
const UNPROVEN: usize = 64 * 1024;

/// A finished handshake.
pub(super) struct Login {
    pub(super) client_static: [u8; 32],
    pub(super) payload: Vec<u8>,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
}

/// What a login is answered with.
pub(super) struct Welcome {
    pub(super) node: Node,
    pub(super) routing: Node,
    pub(super) active: bool,
}

/// Answers the handshake. What follows it stays in the decoder.
pub(super) async fn handshake(
    world: &World,
    reader: &mut Reader,
    writer: &mut Writer,
    decoder: &mut FrameDecoder,
) -> Result<Login, Ended> {
    decoder.set_limit(UNPROVEN);
    let hello = next_frame(world, reader, decoder).await?;
    let responder = Responder::new(&world.keys.noise, &world.keys.chain);
    let step = responder.client_hello(&hello, &mut rand::rng())?;
    let accepted = match step {
        Step::Continue {
            server_hello,
            responder,
        } => {
            writer
                .write(vec![Bytes::from(encode_frame(&server_hello)?)])
                .await?;
            let finish = next_frame(world, reader, decoder).await?;
            responder.client_finish(&finish)?
        }
        // Whoever repeats a recorded hello gets this far and no further: nothing can be read or said
        // without its keys. The real user is disconnected by it once, and comes back.
        Step::Done {
            server_hello,
            accepted,
        } => {
            writer
                .write(vec![Bytes::from(encode_frame(&server_hello)?)])
                .await?;
            accepted
        }
    };
    decoder.set_limit(gatekeeper::frame::MAX_PAYLOAD);
    let Accepted {
        client_static,
        payload,
        transport,
    } = accepted;
    world.recorder.write(&payload);
    let (sender, receiver) = transport.split();
    Ok(Login {
        client_static,
        payload,
        sender,
        receiver,
    })
}

async fn next_frame(
    world: &World,
    reader: &mut Reader,
    decoder: &mut FrameDecoder,
) -> Result<Bytes, Ended> {
    loop {
        if let Some(frame) = decoder.next_frame()? {
            return Ok(frame);
        }
        let bytes = reader.read().await?.ok_or(Ended::ByClient)?;
        world.recorder.write(&bytes);
        decoder.push(&bytes);
    }
}

/// Checks a login. A partner's: an enlisted user, the Noise key of the enlistment, a token of the partner's.
pub(super) async fn admit(
    world: &World,
    client_static: &[u8; 32],
    payload: &[u8],
) -> Result<(Party, Welcome), Refusal> {
    let refuse = Refusal::new;
    let payload = ClientPayload::parse(payload).map_err(|_| {
        refuse(
            assumed::BAD_LOGIN,
            "the client payload is no protobuf of this kind",
        )
    })?;
    match payload.product {
        Product::Interop => {}
        Product::Whatsapp | Product::WhatsappLid => {
            return stock::admit(world, client_static, &payload);
        }
        _ => {
            return Err(refuse(
                assumed::BAD_LOGIN,
                "the product is neither INTEROP nor WHATSAPP",
            ));
        }
    }
    let interop = payload
        .interop
        .ok_or_else(|| refuse(assumed::BAD_LOGIN, "the client payload has no interop data"))?;
    let account = world
        .account(interop.account_id)
        .filter(|account| !account.lock().gone)
        .ok_or_else(|| {
            refuse(
                assumed::NOT_ENLISTED,
                "no user of this account id is enlisted",
            )
        })?;
    if account.lock().keys.authkey != *client_static {
        return Err(refuse(
            assumed::NOT_THE_USER,
            "the static key is not the one of the enlistment",
        ));
    }
    let token = std::str::from_utf8(&interop.token)
        .map_err(|_| refuse(assumed::NOT_THE_USER, "the token is no text"))?;
    match account.partner.verify(world, token).await {
        Ok(identifier) if identifier == account.identifier => {}
        Ok(_) => return Err(refuse(assumed::NOT_THE_USER, "the token is another user's")),
        Err(TokenRefused::Unavailable) => {
            return Err(refuse(
                assumed::KEYS_OUT_OF_REACH,
                "the partner's key set cannot be fetched",
            ));
        }
        Err(_) => {
            return Err(refuse(
                assumed::NOT_THE_USER,
                "the token cannot be verified",
            ));
        }
    }
    let success = Success {
        t: Some(world.clock.now()),
        ..Success::default()
    };
    let welcome = Welcome {
        node: success.to_node(),
        routing: Ib::EdgeRouting(world.keys.routing()).to_node(),
        active: !payload.passive,
    };
    Ok((Party::User(account, interop.enable_read_receipts), welcome))
}
