//! The queries of a partner user and their answers.

use std::sync::Arc;

use gatekeeper::{
    assumed::{self as invented, Reach},
    stanza::{Jid, Node, Server},
    stanzas::{
        IqError, IqHead, IqKind,
        blocklist::{self, Blocklist, BlocklistRequest},
        ib, iq,
        keys::{self, Digest, FetchAnswer, KeysRequest},
        privacy::{self, Setting},
        usync::{self, Contact, ContactQuery, ContactState},
    },
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::session::Session;
use crate::{account::Account, assumed, phone::Number, world::World};

/// Users that one fetch of keys or one contact query may name.
pub(super) const AT_ONCE: usize = 1000;

/// Namespace of the query for media hosts.
pub(super) const MEDIA: &str = "w:m";

/// Seconds for which the answer to it holds.
const MEDIA_TTL: u64 = 300;

/// The answer to an iq; nothing to one that is itself an answer.
pub(super) fn answer(
    world: &Arc<World>,
    account: &Arc<Account>,
    session: &Session,
    node: &Node,
) -> Option<Node> {
    let Ok(head) = IqHead::parse(node) else {
        let id = node.get("id")?.into_owned();
        let head = IqHead {
            id,
            kind: IqKind::Get,
            xmlns: None,
            to: None,
            from: None,
        };
        return Some(head.error(&IqError::new(400, "bad-request")));
    };
    if !matches!(head.kind, IqKind::Get | IqKind::Set) {
        return None;
    }
    let bad = || head.error(&IqError::new(400, "bad-request"));
    Some(match head.xmlns.as_deref() {
        Some(iq::CLIENT_PING | iq::SERVER_PING) => head.result(),
        Some(iq::PASSIVE) => match iq::parse_active(node) {
            Ok(active) => {
                session.drain(|drain| drain.set_active(active));
                session.wake();
                head.result()
            }
            Err(_) => bad(),
        },
        Some(keys::XMLNS) => match KeysRequest::parse(node) {
            Ok(request) => key_answer(world, account, &head, request).unwrap_or_else(bad),
            Err(_) => bad(),
        },
        Some(usync::XMLNS) => match ContactQuery::parse(node) {
            Ok(query) if query.phones.len() <= AT_ONCE => contacts(world, account, &head, &query),
            _ => bad(),
        },
        Some(blocklist::XMLNS) => match BlocklistRequest::parse(node) {
            Ok(request) => block(world, account, &head, request),
            Err(_) => bad(),
        },
        Some(privacy::XMLNS) => privacy_answer(account, &head, node).unwrap_or_else(bad),
        Some(ib::DIRTY) => head.result(),
        Some(MEDIA) if node.child_named("media_conn").is_some() => {
            media_hosts(world, &head, &world.http_base())
        }
        Some(invented::ACCOUNT) if invented::is_delete_account(node) => {
            session.reply(head.result());
            world.remove(account, "deleted");
            return None;
        }
        Some(invented::INTEROP) => match invented::parse_reach(node) {
            Ok(peer) => reach(world, account, &head, &peer),
            Err(_) => bad(),
        },
        _ => head.error(&IqError::new(501, "feature-not-implemented")),
    })
}

/// Keys: one's own, and those of phones.
fn key_answer(
    world: &World,
    account: &Arc<Account>,
    head: &IqHead,
    request: KeysRequest,
) -> Option<Node> {
    Some(match request {
        KeysRequest::Count => {
            let count = account.lock().prekeys.len();
            keys::count_answer(head, u32::try_from(count).unwrap_or(u32::MAX))
        }
        KeysRequest::Upload(upload) => {
            // One identity at a time, and it is the enlistment's.
            let mut inner = account.lock();
            let signed = upload.signed_prekey;
            if upload.identity != inner.keys.identity || signed.verify(&upload.identity).is_err() {
                return None;
            }
            inner.keys.signed = signed;
            drop(inner);
            account.add_prekeys(upload.prekeys);
            world.touch();
            head.result()
        }
        KeysRequest::Rotate(signed) => {
            let mut inner = account.lock();
            signed.verify(&inner.keys.identity).ok()?;
            inner.keys.signed = signed;
            world.touch();
            head.result()
        }
        KeysRequest::Digest => {
            let inner = account.lock();
            let digest = Digest {
                registration_id: inner.keys.registration_id,
                identity: inner.keys.identity,
                signed_prekey: inner.keys.signed,
                prekey_ids: inner.prekeys.iter().map(|key| key.id).collect(),
                hash: None,
            };
            digest.to_node(head)
        }
        KeysRequest::Fetch(users) if users.len() <= AT_ONCE => {
            let answers: Vec<_> = users
                .into_iter()
                .map(|user| FetchAnswer {
                    keys: bundle_of(world, &user.jid),
                    jid: user.jid,
                })
                .collect();
            keys::fetch_answer(head, &answers)
        }
        KeysRequest::Fetch(_) => return None,
    })
}

/// Where files are uploaded and fetched: the sandbox's own HTTP side, plain or over TLS.
pub(super) fn media_hosts(world: &World, head: &IqHead, base: &str) -> Node {
    let host = base.split_once("://").map_or("", |(_, host)| host);
    head.result().child(
        Node::new("media_conn")
            .attr("auth", world.media_auth.as_str())
            .attr("ttl", MEDIA_TTL)
            .attr("auth_ttl", MEDIA_TTL)
            .attr("max_buckets", 12_u64)
            .child(Node::new("host").attr("hostname", host)),
    )
}

fn bundle_of(world: &World, jid: &Jid) -> Result<gatekeeper::signal::Bundle, u16> {
    let phone = world.phone_by_jid(jid).ok_or(assumed::NO_SUCH_USER)?;
    if !phone.lock().options.third_party_chats {
        return Err(assumed::NO_SUCH_USER);
    }
    world.phone_bundle(&phone, jid.device)
}

/// Who of these numbers can be written to.
fn contacts(world: &World, account: &Account, head: &IqHead, query: &ContactQuery) -> Node {
    let contacts: Vec<_> = query
        .phones
        .iter()
        .map(|asked| {
            let number = Number::parse(asked).ok();
            let phone = number.as_ref().and_then(|number| world.phone(number));
            let reachable = phone
                .filter(|phone| phone.lock().options.third_party_chats)
                .map(|phone| phone.jid.clone());
            let state = match (&number, &reachable) {
                (None, _) => ContactState::Invalid,
                (Some(_), Some(_)) => ContactState::In,
                (Some(_), None) => ContactState::Out,
            };
            Contact {
                phone: Some(asked.clone()),
                state,
                jid: reachable,
            }
        })
        .collect();
    world.events.emit(
        "contacts_asked",
        || json!({"user": account.identifier, "numbers": contacts.len()}),
    );
    query.answer(head, &contacts)
}

fn block(world: &World, account: &Account, head: &IqHead, request: BlocklistRequest) -> Node {
    let mut inner = account.lock();
    if let BlocklistRequest::Set { jid, block } = request {
        let jid = jid.without_device();
        world.events.emit(
            "blocked",
            || json!({"user": account.identifier, "peer": jid, "blocked": block}),
        );
        if block {
            inner.blocked.insert(jid);
        } else {
            inner.blocked.remove(&jid);
        }
        world.touch();
    }
    let users: Vec<Jid> = inner.blocked.iter().cloned().collect();
    drop(inner);
    let mut hash = Sha256::new();
    for user in &users {
        hash.update(user.to_string());
    }
    let dhash = hex::encode(hash.finalize()).chars().take(16).collect();
    Blocklist {
        dhash: Some(dhash),
        users,
    }
    .to_node(head)
}

/// The one privacy setting that the sandbox knows: read receipts.
fn privacy_answer(account: &Account, head: &IqHead, node: &Node) -> Option<Node> {
    let mut inner = account.lock();
    if head.kind == IqKind::Set {
        for setting in privacy::parse(node).ok()? {
            if setting.name == privacy::READ_RECEIPTS {
                inner.read_receipts = setting.value == "all";
            }
        }
    }
    let value = if inner.read_receipts { "all" } else { "none" };
    let setting = Setting {
        name: privacy::READ_RECEIPTS.to_owned(),
        value: value.to_owned(),
    };
    Some(privacy::answer(head, &[setting]))
}

/// Asks a phone's owner to take part in third-party chats: the owner decides with the phone's option.
fn reach(world: &World, account: &Account, head: &IqHead, peer: &Jid) -> Node {
    let status = match world.phone_by_jid(peer) {
        Some(phone) if phone.lock().options.third_party_chats => Reach::Reachable,
        Some(phone) => {
            world.events.emit(
                "invited",
                || json!({"user": account.identifier, "phone": phone.number.to_string()}),
            );
            Reach::Invited
        }
        None => Reach::Unreachable,
    };
    let peer = if peer.server == Server::Whatsapp {
        peer.without_device()
    } else {
        peer.clone()
    };
    invented::reach_answer(head, &peer, status)
}
