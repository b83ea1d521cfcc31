//! Who is who on the other side: numbers to addresses and back, and contacts' keys.
//!
//! An address (JID) is opaque: what its parts mean is the gatekeeper profile's business alone.

use std::sync::Arc;

use gatekeeper::{
    connection::{Connection, QueryError},
    signal::Bundle,
    stanza::Jid,
    stanzas::{
        self, keys,
        usync::{self, ContactState},
    },
};
use store::{
    Batch,
    contacts::{self, Contact},
};

use crate::{core::Core, passes::Hold, phone::PhoneNumber};

/// Why a number leads nowhere; the text is for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreachable {
    /// Nobody with this number, or nobody who takes messages from other messengers.
    #[error(
        "nobody with this number can be reached through WhatsApp. They must use WhatsApp in Europe and have third-party chats turned on in its settings"
    )]
    NotFound,
}

/// An address from its text in the database.
pub(crate) fn parse(jid: &str) -> Result<Jid, Hold> {
    jid.parse()
        .map_err(|_| Hold::damaged("a stored address is damaged"))
}

/// The address of a phone number, as `login` sees it: from the contacts, else from the gatekeeper.
pub(crate) async fn resolve(
    core: &Arc<Core>,
    login: &str,
    phone: &PhoneNumber,
) -> Result<Result<String, Unreachable>, Hold> {
    if let Some(contact) = contacts::by_phone(&core.store, login, phone.digits()).await? {
        return Ok(Ok(contact.peer));
    }
    let connection = core
        .logins
        .get(login)
        .ok_or_else(Hold::not_connected)?
        .connection;
    let jid = match core.profile.jid_of(&phone.international()) {
        Some(jid) => jid,
        None => match ask(&connection, phone).await? {
            Some(jid) => jid,
            None => return Ok(Err(Unreachable::NotFound)),
        },
    };
    let peer = core.peer_id(&jid);
    let mut batch = Batch::new();
    contacts::put(&mut batch, &contact(login, &peer, phone));
    failpoints::around!("contact.commit", core.store.commit(batch).await)?;
    Ok(Ok(peer))
}

/// Asks the gatekeeper for the address of a number.
async fn ask(connection: &Connection, phone: &PhoneNumber) -> Result<Option<Jid>, Hold> {
    let query = usync::ContactQuery {
        sid: stanzas::id::derived(&["usync", phone.digits()]),
        phones: vec![phone.international()],
    };
    let answer = connection
        .query(query.to_node())
        .await
        .map_err(|error| unanswered(&error))?;
    let found = usync::parse_contacts(&answer).map_err(|error| Hold::failed(&error))?;
    Ok(found
        .into_iter()
        .find(|contact| contact.state == ContactState::In)
        .and_then(|contact| contact.jid))
}

fn contact(login: &str, peer: &str, phone: &PhoneNumber) -> Contact {
    Contact {
        login: login.to_owned(),
        peer: peer.to_owned(),
        phone: phone.digits().to_owned(),
        alias: None,
    }
}

/// The phone number of an address, where it is known or the profile can tell it.
pub(crate) async fn phone_of(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
) -> Result<Option<PhoneNumber>, Hold> {
    if let Some(contact) = contacts::get(&core.store, login, peer).await?
        && let Some(phone) = PhoneNumber::from_digits(&contact.phone)
    {
        return Ok(Some(phone));
    }
    let phone = core
        .profile
        .phone_of(&parse(peer)?)
        .and_then(|phone| phone.parse().ok());
    if let Some(phone) = &phone {
        let mut batch = Batch::new();
        contacts::put(&mut batch, &contact(login, peer, phone));
        failpoints::around!("contact.commit", core.store.commit(batch).await)?;
    }
    Ok(phone)
}

/// Fetches the keys that open a session with a contact.
pub(crate) async fn bundle(core: &Arc<Core>, login: &str, peer: &str) -> Result<Bundle, Hold> {
    let connection = core
        .logins
        .get(login)
        .ok_or_else(Hold::not_connected)?
        .connection;
    let jid = parse(peer)?;
    let query = keys::KeysRequest::fetch(jid.clone()).to_node();
    let answer = failpoints::around!("signal.bundle", connection.query(query).await)
        .map_err(|error| unanswered(&error))?;
    let answers = keys::parse_fetch(&answer).map_err(|error| Hold::failed(&error))?;
    answers
        .into_iter()
        .find(|answer| answer.jid.same_user(&jid))
        .and_then(|answer| answer.keys.ok())
        .ok_or_else(|| Hold::until("the gatekeeper has no keys for a contact"))
}

/// A query that was not answered: the room waits.
pub(crate) fn unanswered(error: &QueryError) -> Hold {
    match error {
        QueryError::NotConnected => Hold::not_connected(),
        error => Hold::failed(error),
    }
}
