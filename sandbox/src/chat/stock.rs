//! A stock client's connection: its login, what it asks on the way, what becomes of its stanzas.

mod iq;
pub(super) mod route;
mod usync;

use std::sync::Arc;

use gatekeeper::{
    login::{ClientPayload, Product},
    stanza::{Jid, Server},
    stanzas::{Ib, StreamError, Success},
};

use super::{Refusal, login::Welcome, party::Party, session::Session};
use crate::{assumed, phone::Phone, stock::alias, world::World};

/// Checks a login: the number and the device of one that has credentials, and the Noise key of those.
pub(super) fn admit(
    world: &World,
    client_static: &[u8; 32],
    payload: &ClientPayload,
) -> Result<(Party, Welcome), Refusal> {
    let unknown = |cause| Refusal::new(assumed::NOT_ENLISTED, cause);
    let username = payload
        .username
        .ok_or_else(|| Refusal::new(assumed::BAD_LOGIN, "the client payload names no user"))?;
    let server = match payload.product {
        Product::WhatsappLid => Server::Lid,
        _ => Server::Whatsapp,
    };
    let phone = world
        .phone_behind(&Jid::new(username.to_string(), server))
        .ok_or_else(|| unknown("there is no phone of this number"))?;
    let index = u16::try_from(payload.device.unwrap_or(0)).unwrap_or(u16::MAX);
    let inner = phone.lock();
    let device = inner
        .devices
        .get(&index)
        .ok_or_else(|| unknown("this device of the phone has no credentials"))?;
    if device.keys.authkey != *client_static {
        return Err(unknown("the static key is not the one of the credentials"));
    }
    drop(inner);
    let success = Success {
        t: Some(world.clock.now()),
        lid: Some(alias::phone_lid(&phone.number).with_device(index)),
        location: None,
    };
    let welcome = Welcome {
        node: success.to_node(),
        routing: Ib::EdgeRouting(world.keys.routing()).to_node(),
        active: !payload.passive,
    };
    Ok((Party::Device(phone, index), welcome))
}

/// Makes `session` the connection of a device.
pub(super) fn connect(phone: &Phone, index: u16, session: &Arc<Session>) {
    let mut inner = phone.lock();
    let before = match inner.devices.get_mut(&index) {
        Some(device) => device.session.replace(Arc::clone(session)),
        // Its credentials were replaced a moment ago.
        None => Some(Arc::clone(session)),
    };
    drop(inner);
    if let Some(before) = before {
        before.end(StreamError::replaced().to_node());
    }
}
