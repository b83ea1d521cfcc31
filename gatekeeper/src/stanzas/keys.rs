//! Prekeys: publishing one's own and fetching another user's (G 4.6, namespace `encrypt`).
//!
//! Ids have three bytes, registration ids four, all big-endian; public keys are 32 bytes without
//! their type byte.

use super::{IqHead, ParseError, iq, read};
use crate::{
    signal::{Bundle, PreKeyPublic, SignedPreKeyPublic},
    stanza::{Jid, Node},
};

/// The namespace.
pub const XMLNS: &str = "encrypt";

/// The type byte of Curve25519 keys.
const KEY_TYPE: u8 = 5;

/// What a client publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUpload {
    /// Its registration id.
    pub registration_id: u32,
    /// Its identity key.
    pub identity: [u8; 32],
    /// Further one-time prekeys.
    pub prekeys: Vec<PreKeyPublic>,
    /// Its signed prekey.
    pub signed_prekey: SignedPreKeyPublic,
}

/// A user whose keys are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The user, or one device.
    pub jid: Jid,
    /// Whether they are wanted because the user's identity changed.
    pub identity_changed: bool,
}

/// A query of the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysRequest {
    /// How many one-time prekeys has the server left?
    Count,
    /// Publish keys.
    Upload(KeyUpload),
    /// Fetch the keys of users.
    Fetch(Vec<Wanted>),
    /// What does the server have of ours?
    Digest,
    /// Replace the signed prekey.
    Rotate(SignedPreKeyPublic),
}

impl KeysRequest {
    /// Fetches the keys of one user.
    pub fn fetch(jid: Jid) -> Self {
        Self::Fetch(vec![Wanted {
            jid,
            identity_changed: false,
        }])
    }

    /// Writes it, without id.
    pub fn to_node(&self) -> Node {
        match self {
            Self::Count => iq::get(XMLNS).child(Node::new("count")),
            Self::Digest => iq::get(XMLNS).child(Node::new("digest")),
            Self::Fetch(users) => {
                iq::get(XMLNS).child(Node::new("key").children(users.iter().map(|user| {
                    Node::new("user")
                        .attr("jid", &user.jid)
                        .opt_attr("reason", user.identity_changed.then_some("identity"))
                })))
            }
            Self::Rotate(key) => iq::set(XMLNS).child(Node::new("rotate").child(signed_node(key))),
            Self::Upload(upload) => iq::set(XMLNS)
                .children(identity_nodes(upload.registration_id, &upload.identity))
                .child(Node::new("list").children(upload.prekeys.iter().map(prekey_node)))
                .child(signed_node(&upload.signed_prekey)),
        }
    }

    /// Reads it, as the server does.
    pub fn parse(node: &Node) -> Result<Self, ParseError> {
        if node.child_named("count").is_some() {
            return Ok(Self::Count);
        }
        if node.child_named("digest").is_some() {
            return Ok(Self::Digest);
        }
        if let Some(rotate) = node.child_named("rotate") {
            return Ok(Self::Rotate(parse_signed(read::child(
                rotate, "rotate", "skey",
            )?)?));
        }
        if let Some(key) = node.child_named("key") {
            let users = key.children_named("user").map(|user| {
                Ok(Wanted {
                    jid: read::jid(user, "user", "jid")?,
                    identity_changed: user.get("reason").as_deref() == Some("identity"),
                })
            });
            return Ok(Self::Fetch(users.collect::<Result<_, ParseError>>()?));
        }
        let list = read::child(node, "iq", "list")?;
        Ok(Self::Upload(KeyUpload {
            registration_id: read::child_be(node, "iq", "registration")?,
            identity: read::child_array(node, "iq", "identity")?,
            prekeys: list
                .children_named("key")
                .map(parse_prekey)
                .collect::<Result<_, _>>()?,
            signed_prekey: parse_signed(read::child(node, "iq", "skey")?)?,
        }))
    }
}

/// The answer to [`KeysRequest::Count`].
pub fn count_answer(head: &IqHead, count: u32) -> Node {
    head.result().child(Node::new("count").attr("value", count))
}

/// Reads [`count_answer`].
pub fn parse_count(iq: &Node) -> Result<u32, ParseError> {
    read::number(read::child(iq, "iq", "count")?, "count", "value")
}

/// One user of the answer to [`KeysRequest::Fetch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchAnswer {
    /// The user.
    pub jid: Jid,
    /// The keys, or the code of the server's refusal for this user.
    pub keys: Result<Bundle, u16>,
}

/// The answer to [`KeysRequest::Fetch`].
pub fn fetch_answer(head: &IqHead, users: &[FetchAnswer]) -> Node {
    let users = users.iter().map(|user| {
        let node = Node::new("user").attr("jid", &user.jid);
        match &user.keys {
            Ok(bundle) => node
                .children(identity_nodes(bundle.registration_id, &bundle.identity))
                .children(bundle.prekey.as_ref().map(prekey_node))
                .child(signed_node(&bundle.signed_prekey)),
            Err(code) => node.child(Node::new("error").attr("code", u64::from(*code))),
        }
    });
    head.result().child(Node::new("list").children(users))
}

/// Reads [`fetch_answer`].
pub fn parse_fetch(iq: &Node) -> Result<Vec<FetchAnswer>, ParseError> {
    let users = read::child(iq, "iq", "list")?.children_named("user");
    users
        .map(|user| {
            let jid = read::jid(user, "user", "jid")?;
            let keys = match user.child_named("error") {
                Some(error) => Err(read::opt_number(error, "error", "code")?.unwrap_or(500)),
                None => Ok(parse_bundle(user)?),
            };
            Ok(FetchAnswer { jid, keys })
        })
        .collect()
}

/// The answer to [`KeysRequest::Digest`]: what the server has of a user's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The registration id.
    pub registration_id: u32,
    /// The identity key.
    pub identity: [u8; 32],
    /// The signed prekey.
    pub signed_prekey: SignedPreKeyPublic,
    /// The ids of the one-time prekeys that are left.
    pub prekey_ids: Vec<u32>,
    /// The server's SHA-1 over all of it, if it gives one. What it covers is not public.
    pub hash: Option<[u8; 20]>,
}

impl Digest {
    /// Writes it, as the server does.
    pub fn to_node(&self, head: &IqHead) -> Node {
        let ids = self
            .prekey_ids
            .iter()
            .map(|id| Node::new("id").bytes(be24(*id)));
        head.result().child(
            Node::new("digest")
                .children(identity_nodes(self.registration_id, &self.identity))
                .child(signed_node(&self.signed_prekey))
                .child(Node::new("list").children(ids))
                .children(self.hash.map(|hash| Node::new("hash").bytes(hash))),
        )
    }

    /// Reads it.
    pub fn parse(iq: &Node) -> Result<Self, ParseError> {
        const TAG: &str = "digest";
        let digest = read::child(iq, "iq", TAG)?;
        let ids = digest
            .child_named("list")
            .into_iter()
            .flat_map(|list| list.children_named("id"));
        Ok(Self {
            registration_id: read::child_be(digest, TAG, "registration")?,
            identity: read::child_array(digest, TAG, "identity")?,
            signed_prekey: parse_signed(read::child(digest, TAG, "skey")?)?,
            prekey_ids: ids.map(|id| read::be(id, "id")).collect::<Result<_, _>>()?,
            hash: match digest.child_named("hash") {
                Some(hash) => Some(read::array(hash, "hash")?),
                None => None,
            },
        })
    }
}

/// `<registration>`, `<type>`, `<identity>`: how every bundle begins.
fn identity_nodes(registration_id: u32, identity: &[u8; 32]) -> [Node; 3] {
    [
        Node::new("registration").bytes(registration_id.to_be_bytes()),
        Node::new("type").bytes([KEY_TYPE]),
        Node::new("identity").bytes(*identity),
    ]
}

/// `<key>`: a one-time prekey.
pub(super) fn prekey_node(key: &PreKeyPublic) -> Node {
    Node::new("key")
        .child(Node::new("id").bytes(be24(key.id)))
        .child(Node::new("value").bytes(key.public))
}

/// `<skey>`: a signed prekey.
pub(super) fn signed_node(key: &SignedPreKeyPublic) -> Node {
    Node::new("skey")
        .child(Node::new("id").bytes(be24(key.id)))
        .child(Node::new("value").bytes(key.public))
        .child(Node::new("signature").bytes(key.signature))
}

/// The children of a `<user>`, and with another registration id those of a retry's `<keys>`.
fn parse_bundle(node: &Node) -> Result<Bundle, ParseError> {
    let registration_id = read::child_be(node, "user", "registration")?;
    parse_keys(node, "user", registration_id)
}

/// Identity, signed prekey and one-time prekey among the children of a node.
pub(super) fn parse_keys(
    node: &Node,
    tag: &'static str,
    registration_id: u32,
) -> Result<Bundle, ParseError> {
    Ok(Bundle {
        registration_id,
        identity: read::child_array(node, tag, "identity")?,
        signed_prekey: parse_signed(read::child(node, tag, "skey")?)?,
        prekey: node.child_named("key").map(parse_prekey).transpose()?,
    })
}

fn parse_prekey(node: &Node) -> Result<PreKeyPublic, ParseError> {
    Ok(PreKeyPublic {
        id: read::child_be(node, "key", "id")?,
        public: read::child_array(node, "key", "value")?,
    })
}

fn parse_signed(node: &Node) -> Result<SignedPreKeyPublic, ParseError> {
    Ok(SignedPreKeyPublic {
        id: read::child_be(node, "skey", "id")?,
        public: read::child_array(node, "skey", "value")?,
        signature: read::child_array(node, "skey", "signature")?,
    })
}

/// The low three bytes of an id.
fn be24(id: u32) -> [u8; 3] {
    let [_, a, b, c] = id.to_be_bytes();
    [a, b, c]
}

/// The children of a retry receipt's `<keys>`.
pub(super) fn retry_key_nodes(bundle: &Bundle) -> Vec<Node> {
    let mut nodes = vec![
        Node::new("type").bytes([KEY_TYPE]),
        Node::new("identity").bytes(bundle.identity),
    ];
    nodes.extend(bundle.prekey.as_ref().map(prekey_node));
    nodes.push(signed_node(&bundle.signed_prekey));
    nodes
}
