//! `usync` as stock clients ask it: who has which devices, which opaque number, who can be written to.

use gatekeeper::{
    stanza::{Jid, Node, Server},
    stanzas::IqHead,
};

use super::route::Client;
use crate::stock::alias;

/// Somebody who was asked about.
enum Found {
    /// A partner's user, by the number that stands for it and the opaque one.
    User(Jid, Jid),
    /// The phone itself, with its devices.
    Own(Vec<u16>),
    /// Nobody whom a phone can write to here.
    Nobody,
}

/// Answers a query; nothing if it is none.
pub(super) fn answer(client: &Client<'_>, head: &IqHead, node: &Node) -> Option<Node> {
    let usync = node.child_named("usync")?;
    let query = usync.child_named("query")?;
    let wanted: Vec<&str> = query.nodes().iter().map(|one| one.tag.as_str()).collect();
    let users = usync.child_named("list")?.children_named("user");
    let answers: Vec<Node> = users.map(|user| about(client, user, &wanted)).collect();
    let answer = Node::new("usync")
        .attr("sid", usync.get("sid").unwrap_or_default().into_owned())
        .attr("mode", "query")
        .attr("last", "true")
        .attr("index", "0")
        .child(Node::new("result").children(wanted.iter().map(|name| Node::new(*name))))
        .child(Node::new("list").children(answers));
    Some(head.result().child(answer))
}

/// One user of the answer.
fn about(client: &Client<'_>, user: &Node, wanted: &[&str]) -> Node {
    let contact = user.child_named("contact");
    let asked = contact.and_then(Node::content_text);
    let jid = match asked {
        Some(number) => {
            let digits: String = number.chars().filter(char::is_ascii_digit).collect();
            Some(Jid::phone(digits))
        }
        None => user.jid("jid"),
    };
    let found = jid.as_ref().map_or(Found::Nobody, |jid| find(client, jid));
    let named = match (&found, &jid) {
        (Found::Nobody, _) if asked.is_some() => None,
        (Found::User(number, _), Some(_)) if asked.is_some() => Some(number.clone()),
        (_, jid) => jid.as_ref().map(Jid::without_device),
    };
    let by_number = jid
        .as_ref()
        .is_some_and(|jid| jid.server == Server::Whatsapp);
    let parts = wanted.iter().filter_map(|name| match (*name, &found) {
        ("contact", found) => {
            let is_in = !matches!(found, Found::Nobody);
            let state = Node::new("contact").attr("type", if is_in { "in" } else { "out" });
            Some(match asked {
                Some(number) => state.bytes(number.as_bytes()),
                None => state,
            })
        }
        ("devices", Found::User(..)) => Some(devices(&[0])),
        ("devices", Found::Own(own)) => Some(devices(own)),
        // Who is asked about by an opaque number needs none.
        ("lid", _) if !by_number => None,
        ("lid", Found::User(_, lid)) => Some(Node::new("lid").attr("val", lid)),
        ("lid", Found::Own(_)) => {
            let lid = alias::phone_lid(&client.phone.number);
            Some(Node::new("lid").attr("val", lid))
        }
        _ => None,
    });
    Node::new("user").opt_attr("jid", named).children(parts)
}

fn find(client: &Client<'_>, jid: &Jid) -> Found {
    if client.is_own(jid) {
        let inner = client.phone.lock();
        let mut devices: Vec<u16> = inner.devices.keys().copied().collect();
        if devices.first() != Some(&0) {
            devices.insert(0, 0);
        }
        return Found::Own(devices);
    }
    match client.world.account_behind(jid) {
        Some(account) => Found::User(alias::number(&account.jid), alias::lid(&account.jid)),
        None => Found::Nobody,
    }
}

/// A list of devices. Companions have an index in the list of their account's keys.
fn devices(indices: &[u16]) -> Node {
    let devices = indices.iter().map(|index| {
        let companion = (*index != 0).then_some(u64::from(*index));
        Node::new("device")
            .attr("id", u64::from(*index))
            .opt_attr("key-index", companion)
    });
    Node::new("devices").child(Node::new("device-list").children(devices))
}
