//! `<message>`: one message to or from one user or group (G 4.1, 4.2).

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::{ClientAck, ParseError, read};
use crate::{
    signal::EncKind,
    stanza::{Jid, Node},
};

const TAG: &str = "message";

/// How the bytes of an `<enc>` are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncType {
    /// A message of an established Signal session.
    Msg,
    /// A message that also establishes the session.
    PkMsg,
    /// A message under a group's sender key.
    SkMsg,
    /// Something newer than this code.
    Other(String),
}

impl EncType {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Msg => "msg",
            Self::PkMsg => "pkmsg",
            Self::SkMsg => "skmsg",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for EncType {
    fn from(name: &str) -> Self {
        match name {
            "msg" => Self::Msg,
            "pkmsg" => Self::PkMsg,
            "skmsg" => Self::SkMsg,
            _ => Self::Other(name.to_owned()),
        }
    }
}

impl From<EncKind> for EncType {
    fn from(kind: EncKind) -> Self {
        match kind {
            EncKind::Msg => Self::Msg,
            EncKind::PkMsg => Self::PkMsg,
        }
    }
}

/// `<enc>`: the ciphertext of a message for one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enc {
    /// How it is encrypted.
    pub kind: EncType,
    /// Version of what is inside: 2 is a padded `Message` protobuf.
    pub version: u8,
    /// How often the receiver has asked for it again; 0 and absent at the first time.
    pub count: u8,
    /// Whether the receiver shall show nothing if it cannot decrypt it: edits, revokes, reactions.
    pub decrypt_fail_hide: bool,
    /// What kind of media the message announces, such as `image`.
    pub media_type: Option<String>,
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
}

impl Enc {
    /// A first ciphertext of version 2.
    pub fn new(kind: EncType, ciphertext: Vec<u8>) -> Self {
        Self {
            kind,
            version: 2,
            count: 0,
            decrypt_fail_hide: false,
            media_type: None,
            ciphertext,
        }
    }

    /// Writes it.
    pub fn to_node(&self) -> Node {
        Node::new("enc")
            .attr("v", u64::from(self.version))
            .attr("type", self.kind.as_str())
            .opt_attr("mediatype", self.media_type.as_deref())
            .opt_attr("decrypt-fail", self.decrypt_fail_hide.then_some("hide"))
            .opt_attr("count", (self.count > 0).then_some(u64::from(self.count)))
            .bytes(self.ciphertext.clone())
    }

    /// Reads it.
    pub fn parse(node: &Node) -> Result<Self, ParseError> {
        const TAG: &str = "enc";
        read::expect(node, TAG)?;
        Ok(Self {
            kind: read::text(node, TAG, "type")?.as_str().into(),
            version: read::opt_number(node, TAG, "v")?.unwrap_or(2),
            count: read::opt_number(node, TAG, "count")?.unwrap_or(0),
            decrypt_fail_hide: node.get("decrypt-fail").as_deref() == Some("hide"),
            media_type: read::opt_text(node, "mediatype"),
            ciphertext: read::bytes(node, TAG)?,
        })
    }
}

/// One device's copy of a message that is fanned out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// The device.
    pub jid: Jid,
    /// Its ciphertexts.
    pub encs: Vec<Enc>,
}

/// A message as a client writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The chat: a user or a group.
    pub to: Jid,
    /// The stanza id, chosen by the sender.
    pub id: String,
    /// `text`, `media`, `reaction` or `poll`.
    pub kind: String,
    /// 1 edit, 7 taken back (also a reaction), 8 taken back by an admin.
    pub edit: Option<u8>,
    /// Hash over the devices of a fan-out.
    pub phash: Option<String>,
    /// `false` says that the ciphertext is for the one device of `to`, and not to be fanned out.
    pub device_fanout: Option<bool>,
    /// The short form: ciphertexts directly under the message.
    pub encs: Vec<Enc>,
    /// The long form: a copy for each device.
    pub participants: Vec<Participant>,
}

impl OutgoingMessage {
    /// A text message in the short form.
    pub fn text(to: Jid, id: impl Into<String>, enc: Enc) -> Self {
        Self {
            to,
            id: id.into(),
            kind: "text".to_owned(),
            edit: None,
            phash: None,
            device_fanout: None,
            encs: vec![enc],
            participants: Vec::new(),
        }
    }

    /// Writes it.
    pub fn to_node(&self) -> Node {
        let node = Node::new(TAG)
            .attr("to", &self.to)
            .attr("id", self.id.as_str())
            .attr("type", self.kind.as_str())
            .opt_attr("edit", self.edit.map(u64::from))
            .opt_attr("phash", self.phash.as_deref())
            .opt_attr(
                "device_fanout",
                self.device_fanout
                    .map(|on| if on { "true" } else { "false" }),
            );
        let participants = (!self.participants.is_empty()).then(|| {
            Node::new("participants").children(self.participants.iter().map(|participant| {
                Node::new("to")
                    .attr("jid", &participant.jid)
                    .children(participant.encs.iter().map(Enc::to_node))
            }))
        });
        node.children(
            participants
                .into_iter()
                .chain(self.encs.iter().map(Enc::to_node)),
        )
    }

    /// Reads it, as the server does.
    pub fn parse(node: &Node) -> Result<Self, ParseError> {
        read::expect(node, TAG)?;
        let participants = match node.child_named("participants") {
            None => Vec::new(),
            Some(list) => list
                .children_named("to")
                .map(|to| {
                    Ok(Participant {
                        jid: read::jid(to, "to", "jid")?,
                        encs: parse_encs(to)?,
                    })
                })
                .collect::<Result<_, ParseError>>()?,
        };
        let message = Self {
            to: read::jid(node, TAG, "to")?,
            id: read::text(node, TAG, "id")?,
            kind: read::opt_text(node, "type").unwrap_or_else(|| "text".to_owned()),
            edit: read::opt_number(node, TAG, "edit")?,
            phash: read::opt_text(node, "phash"),
            device_fanout: node.get("device_fanout").map(|value| value == "true"),
            encs: parse_encs(node)?,
            participants,
        };
        if message.encs.is_empty() && message.participants.is_empty() {
            return Err(ParseError::NoChild {
                tag: TAG,
                child: "enc",
            });
        }
        Ok(message)
    }

    /// The ciphertexts for one device: those of its own entry, or the short form's.
    pub fn encs_for(&self, device: &Jid) -> &[Enc] {
        match self
            .participants
            .iter()
            .find(|participant| participant.jid == *device)
        {
            Some(participant) => &participant.encs,
            None => &self.encs,
        }
    }
}

/// A message as the server writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingMessage {
    /// The chat: the sending user, or a group.
    pub from: Jid,
    /// The stanza id, chosen by the sender.
    pub id: String,
    /// When the server took it, in seconds since 1970.
    pub t: u64,
    /// `text`, `media`, `reaction` or `poll`.
    pub kind: String,
    /// The sender within a group.
    pub participant: Option<Jid>,
    /// The chat partner, if the sender is another device of our own.
    pub recipient: Option<Jid>,
    /// The name that the sender gives itself.
    pub notify: Option<String>,
    /// How often it was queued, if it comes from the mailbox.
    pub offline: Option<u32>,
    /// See [`OutgoingMessage::edit`].
    pub edit: Option<u8>,
    /// The ciphertexts, best first; empty if the server has none.
    pub encs: Vec<Enc>,
    /// Whether the server says that it has no ciphertext for us (`<unavailable>`).
    pub unavailable: bool,
}

impl IncomingMessage {
    /// A text message from a user.
    pub fn text(from: Jid, id: impl Into<String>, t: u64, enc: Enc) -> Self {
        Self {
            from,
            id: id.into(),
            t,
            kind: "text".to_owned(),
            participant: None,
            recipient: None,
            notify: None,
            offline: None,
            edit: None,
            encs: vec![enc],
            unavailable: false,
        }
    }

    /// Who wrote it: the participant in a group, else the chat.
    pub fn sender(&self) -> &Jid {
        self.participant.as_ref().unwrap_or(&self.from)
    }

    /// Its ack: for a message that is not decrypted, or that the profile wants acknowledged besides
    /// its delivery receipt.
    pub fn ack(&self) -> ClientAck {
        ClientAck {
            class: TAG.to_owned(),
            id: self.id.clone(),
            to: self.from.clone(),
            participant: self.participant.clone(),
            recipient: self.recipient.clone(),
            kind: None,
            error: None,
        }
    }

    /// Writes it, as the server does.
    pub fn to_node(&self) -> Node {
        Node::new(TAG)
            .attr("from", &self.from)
            .attr("id", self.id.as_str())
            .attr("t", self.t)
            .attr("type", self.kind.as_str())
            .opt_attr("participant", self.participant.as_ref())
            .opt_attr("recipient", self.recipient.as_ref())
            .opt_attr("notify", self.notify.as_deref())
            .opt_attr("offline", self.offline)
            .opt_attr("edit", self.edit.map(u64::from))
            .children(self.unavailable.then(|| Node::new("unavailable")))
            .children(self.encs.iter().map(Enc::to_node))
    }

    /// Reads it.
    pub fn parse(node: &Node) -> Result<Self, ParseError> {
        read::expect(node, TAG)?;
        let message = Self {
            from: read::jid(node, TAG, "from")?,
            id: read::text(node, TAG, "id")?,
            t: read::opt_number(node, TAG, "t")?.unwrap_or(0),
            kind: read::opt_text(node, "type").unwrap_or_else(|| "text".to_owned()),
            participant: read::opt_jid(node, TAG, "participant")?,
            recipient: read::opt_jid(node, TAG, "recipient")?,
            notify: read::opt_text(node, "notify"),
            offline: read::opt_number(node, TAG, "offline")?,
            edit: read::opt_number(node, TAG, "edit")?,
            encs: parse_encs(node)?,
            unavailable: node.child_named("unavailable").is_some(),
        };
        if message.encs.is_empty() && !message.unavailable {
            return Err(ParseError::NoChild {
                tag: TAG,
                child: "enc",
            });
        }
        Ok(message)
    }
}

fn parse_encs(node: &Node) -> Result<Vec<Enc>, ParseError> {
    node.children_named("enc").map(Enc::parse).collect()
}

/// The hash over the devices that a message is for: `2:` and the beginning of the SHA-256 over their
/// sorted addresses (G Appendix A).
pub fn phash(devices: &[Jid]) -> String {
    let mut names: Vec<String> = devices
        .iter()
        .map(|jid| format!("{}.0:{}@{}", jid.user, jid.device, jid.server))
        .collect();
    names.sort_unstable();
    let digest = Sha256::digest(names.concat());
    let start: Vec<u8> = digest.iter().copied().take(6).collect();
    format!("2:{}", STANDARD_NO_PAD.encode(start))
}
