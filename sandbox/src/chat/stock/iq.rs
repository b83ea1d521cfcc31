//! What a stock client asks: rightly answered where a partner's user is concerned, and otherwise so
//! that the client goes on.

use gatekeeper::{
    signal::Bundle,
    stanza::{Jid, Node},
    stanzas::{
        IqError, IqHead, IqKind,
        blocklist::{self, Blocklist, BlocklistRequest},
        ib, iq,
        keys::{self, Digest, FetchAnswer, KeysRequest},
        privacy::{self, Setting},
        usync,
    },
};
use serde_json::json;

use super::{
    super::iq::{AT_ONCE, MEDIA, media_hosts},
    route::Client,
    usync as contacts,
};
use crate::{assumed, stock::alias};

/// Settings of an account that have nothing to do with partners: they stay as they are.
const SETTINGS: [(&str, &str); 7] = [
    ("last", "all"),
    ("online", "all"),
    ("profile", "all"),
    ("status", "contacts"),
    ("groupadd", "all"),
    ("calladd", "all"),
    ("messages", "all"),
];

/// Orders that are taken and change nothing here.
const TAKEN: [&str; 6] = [
    "w:stats",
    "w:profile:picture",
    "status",
    "disappearing_mode",
    "urn:xmpp:whatsapp:push",
    ib::DIRTY,
];

/// The answer to an iq; nothing to one that is itself an answer.
pub(super) fn answer(client: &Client<'_>, node: &Node) -> Option<Node> {
    let head = IqHead::parse(node).ok()?;
    if !matches!(head.kind, IqKind::Get | IqKind::Set) {
        return None;
    }
    let bad = || head.error(&IqError::new(400, "bad-request"));
    let changes = head.kind == IqKind::Set;
    Some(match head.xmlns.as_deref() {
        Some(iq::CLIENT_PING | iq::SERVER_PING) => head.result(),
        Some(iq::PASSIVE) => match iq::parse_active(node) {
            Ok(active) => {
                client.session.drain(|drain| drain.set_active(active));
                client.session.wake();
                head.result()
            }
            Err(_) => bad(),
        },
        Some(keys::XMLNS) => match KeysRequest::parse(node) {
            Ok(request) => key_answer(client, &head, request).unwrap_or_else(bad),
            Err(_) => bad(),
        },
        Some(usync::XMLNS) => contacts::answer(client, &head, node).unwrap_or_else(bad),
        Some(blocklist::XMLNS) => match BlocklistRequest::parse(node) {
            Ok(request) => block(client, &head, &request),
            Err(_) => bad(),
        },
        // Tokens for trusted contacts: a partner's user has no use for one.
        Some(privacy::XMLNS) if node.child_named("tokens").is_some() => head.result(),
        Some(privacy::XMLNS) => privacy_answer(client, &head, node).unwrap_or_else(bad),
        Some(MEDIA) if node.child_named("media_conn").is_some() => {
            media_hosts(client.world, &head, &client.world.https_base())
        }
        Some("abt") => head.result().child(
            Node::new("props")
                .attr("protocol", "1")
                .attr("refresh", assumed::PROPS_REFRESH),
        ),
        Some("w:sync:app:state") => app_state(&head, node),
        Some("w:g2") if !changes => head.result().child(Node::new("groups")),
        Some("md") if node.child_named("remove-companion-device").is_some() => {
            client.session.reply(head.result());
            log_out(client);
            return None;
        }
        Some("w:profile:picture") if !changes => head.error(&IqError::new(404, "item-not-found")),
        Some(known) if TAKEN.contains(&known) => head.result(),
        _ => head.error(&IqError::new(501, "feature-not-implemented")),
    })
}

/// Keys: the device's own, and those of partners' users.
fn key_answer(client: &Client<'_>, head: &IqHead, request: KeysRequest) -> Option<Node> {
    let world = client.world;
    Some(match request {
        KeysRequest::Count => {
            let count = client.device(|device| device.prekeys.len())?;
            keys::count_answer(head, u32::try_from(count).unwrap_or(u32::MAX))
        }
        KeysRequest::Upload(upload) => {
            let signed = upload.signed_prekey;
            let taken = client.device(|device| {
                let known = upload.identity == device.keys.identity;
                if !known || signed.verify(&upload.identity).is_err() {
                    return false;
                }
                device.keys.signed = signed;
                device.add_prekeys(upload.prekeys);
                true
            });
            world.touch();
            taken.filter(|taken| *taken).map(|_| head.result())?
        }
        KeysRequest::Rotate(signed) => {
            let taken = client.device(|device| {
                let good = signed.verify(&device.keys.identity).is_ok();
                if good {
                    device.keys.signed = signed;
                }
                good
            });
            world.touch();
            taken.filter(|taken| *taken).map(|_| head.result())?
        }
        KeysRequest::Digest => client
            .device(|device| Digest {
                registration_id: device.keys.registration_id,
                identity: device.keys.identity,
                signed_prekey: device.keys.signed,
                prekey_ids: device.prekeys.iter().map(|key| key.id).collect(),
                hash: None,
            })?
            .to_node(head),
        KeysRequest::Fetch(users) if users.len() <= AT_ONCE => {
            let answers: Vec<_> = users
                .into_iter()
                .map(|user| FetchAnswer {
                    keys: bundle_of(client, &user.jid),
                    jid: user.jid,
                })
                .collect();
            keys::fetch_answer(head, &answers)
        }
        KeysRequest::Fetch(_) => return None,
    })
}

fn bundle_of(client: &Client<'_>, jid: &Jid) -> Result<Bundle, u16> {
    let world = client.world;
    if client.is_own(jid) {
        return world.phone_bundle(client.phone, jid.device);
    }
    let account = world.account_behind(jid).ok_or(404u16)?;
    Ok(account.take_bundle(world, !world.faults().prekeys_exhausted))
}

/// Whom the phone's owner has blocked. A change may name both addresses of somebody; either will do.
fn block(client: &Client<'_>, head: &IqHead, request: &BlocklistRequest) -> Node {
    let world = client.world;
    let changed = match request {
        BlocklistRequest::Get => None,
        BlocklistRequest::Set { jid, block } => match world.account_behind(jid) {
            Some(account) => Some((account, *block)),
            None => return head.error(&IqError::new(404, "item-not-found")),
        },
    };
    let mut inner = client.phone.lock();
    if let Some((account, block)) = changed {
        if block {
            inner.blocked.insert(account.jid.clone());
        } else {
            inner.blocked.remove(&account.jid);
        }
        world.touch();
        world.events.emit("block", || {
            json!({"phone": client.phone.number.to_string(), "with": account.identifier,
                   "blocked": block})
        });
    }
    let mut users: Vec<Jid> = inner.blocked.iter().map(alias::lid).collect();
    drop(inner);
    users.sort_unstable();
    Blocklist { dhash: None, users }.to_node(head)
}

fn privacy_answer(client: &Client<'_>, head: &IqHead, node: &Node) -> Option<Node> {
    let mut inner = client.phone.lock();
    if head.kind == IqKind::Set {
        for setting in privacy::parse(node).ok()? {
            if setting.name == privacy::READ_RECEIPTS {
                inner.options.read_receipts = setting.value == "all";
                client.world.touch();
            }
        }
    }
    let receipts = if inner.options.read_receipts {
        "all"
    } else {
        "none"
    };
    drop(inner);
    let settings: Vec<_> = [(privacy::READ_RECEIPTS, receipts)]
        .into_iter()
        .chain(SETTINGS)
        .map(|(name, value)| Setting {
            name: name.to_owned(),
            value: value.to_owned(),
        })
        .collect();
    Some(privacy::answer(head, &settings))
}

/// What a client's application keeps in common among its devices: nothing is kept here, so every
/// collection stands where the client says.
fn app_state(head: &IqHead, node: &Node) -> Node {
    let asked = node.child_named("sync");
    let collections = asked.into_iter().flat_map(|sync| {
        sync.children_named("collection").map(|collection| {
            Node::new("collection")
                .attr(
                    "name",
                    collection.get("name").unwrap_or_default().into_owned(),
                )
                .attr("version", collection.u64("version").unwrap_or(0))
                .attr("has_more_patches", "false")
        })
    });
    head.result().child(Node::new("sync").children(collections))
}

/// The client logs out: its credentials are of no use any more.
fn log_out(client: &Client<'_>) {
    let mut inner = client.phone.lock();
    if let Some(device) = inner.devices.get(&client.index)
        && device.is_on(client.session)
    {
        device.end();
        // The phone itself stays what it is, waiting for new credentials.
        if client.index != 0 {
            inner.devices.remove(&client.index);
        } else if let Some(device) = inner.devices.get_mut(&0) {
            device.keys.authkey = rand::random();
        }
    }
    drop(inner);
    client.world.touch();
}
