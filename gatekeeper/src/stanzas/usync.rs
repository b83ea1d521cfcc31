//! `usync`: who of a list of phone numbers can be reached, and under which address (G 4.7).

use super::{IqHead, ParseError, iq, read};
use crate::stanza::{Jid, Node};

/// The namespace.
pub const XMLNS: &str = "usync";

/// Asks for the addresses of phone numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactQuery {
    /// Tells apart queries that run at the same time.
    pub sid: String,
    /// The numbers, each with `+` and digits.
    pub phones: Vec<String>,
}

/// What the server knows of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactState {
    /// A user.
    In,
    /// No user.
    Out,
    /// No phone number, or a word newer than this code.
    Invalid,
}

impl ContactState {
    fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Invalid => "invalid",
        }
    }
}

/// One number of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The number as it was asked for, if the server repeats it.
    pub phone: Option<String>,
    /// What the server knows.
    pub state: ContactState,
    /// The user's address.
    pub jid: Option<Jid>,
}

impl ContactQuery {
    /// Writes it, without iq id.
    pub fn to_node(&self) -> Node {
        let users = self
            .phones
            .iter()
            .map(|phone| Node::new("user").child(Node::new("contact").bytes(phone.as_bytes())));
        iq::get(XMLNS).child(
            Node::new("usync")
                .attr("sid", self.sid.as_str())
                .attr("mode", "query")
                .attr("last", "true")
                .attr("index", "0")
                .attr("context", "interactive")
                .child(Node::new("query").child(Node::new("contact")))
                .child(Node::new("list").children(users)),
        )
    }

    /// Reads it, as the server does.
    pub fn parse(iq: &Node) -> Result<Self, ParseError> {
        let usync = read::child(iq, "iq", "usync")?;
        let list = read::child(usync, "usync", "list")?;
        let phones = list.children_named("user").map(|user| {
            let contact = read::child(user, "user", "contact")?;
            contact
                .content_text()
                .map(str::to_owned)
                .ok_or(ParseError::Content { tag: "contact" })
        });
        Ok(Self {
            sid: read::opt_text(usync, "sid").unwrap_or_default(),
            phones: phones.collect::<Result<_, _>>()?,
        })
    }

    /// The server's answer.
    pub fn answer(&self, head: &IqHead, contacts: &[Contact]) -> Node {
        let users = contacts.iter().map(|contact| {
            let state = Node::new("contact").attr("type", contact.state.as_str());
            let state = match &contact.phone {
                Some(phone) => state.bytes(phone.as_bytes()),
                None => state,
            };
            Node::new("user")
                .opt_attr("jid", contact.jid.as_ref())
                .child(state)
        });
        head.result().child(
            Node::new("usync")
                .attr("sid", self.sid.as_str())
                .attr("mode", "query")
                .attr("last", "true")
                .attr("index", "0")
                .child(Node::new("list").children(users)),
        )
    }
}

/// Reads the answer to a [`ContactQuery`].
pub fn parse_contacts(iq: &Node) -> Result<Vec<Contact>, ParseError> {
    let usync = read::child(iq, "iq", "usync")?;
    let list = read::child(usync, "usync", "list")?;
    list.children_named("user")
        .map(|user| {
            let contact = read::child(user, "user", "contact")?;
            Ok(Contact {
                phone: contact.content_text().map(str::to_owned),
                state: match contact.get("type").as_deref() {
                    Some("in") => ContactState::In,
                    Some("out") => ContactState::Out,
                    _ => ContactState::Invalid,
                },
                jid: read::opt_jid(user, "user", "jid")?,
            })
        })
        .collect()
}
