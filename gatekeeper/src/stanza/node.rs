//! The tree: nodes, their attributes and content.

use std::borrow::Cow;

use super::jid::Jid;

/// A node of a stanza, and a stanza as a whole.
///
/// It may hold addresses and content: neither may be logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// What the node is, such as `message`.
    pub tag: String,
    /// The attributes, in the order of the wire.
    pub attrs: Attrs,
    /// What the node holds.
    pub content: Content,
}

/// What a node holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    #[default]
    Empty,
    /// Further nodes; without members it is the same as nothing and decodes so.
    Nodes(Vec<Node>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text that is a word of the dictionary, packed digits or an address. On the wire other text is
    /// the same as bytes and decodes so: read it with [`Node::content_text`].
    Text(String),
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text; empty if the wire has nothing.
    Text(String),
    /// An address.
    Jid(Jid),
}

impl Value {
    /// The value as text: an address in its text form.
    pub fn as_str(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Jid(jid) => Cow::Owned(jid.to_string()),
        }
    }

    /// The value as an address, parsed if the peer wrote it as text.
    pub fn to_jid(&self) -> Option<Jid> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Jid(jid) => Some(jid.clone()),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Jid> for Value {
    fn from(jid: Jid) -> Self {
        Self::Jid(jid)
    }
}

impl From<&Jid> for Value {
    fn from(jid: &Jid) -> Self {
        Self::Jid(jid.clone())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Text(number.to_string())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        u64::from(number).into()
    }
}

/// Attributes in the order of the wire; a name stands once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attrs(Vec<(String, Value)>);

impl Attrs {
    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The value of an attribute as text.
    pub fn get_str(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(Value::as_str)
    }

    /// The value of an attribute as an address; nothing if it is none.
    pub fn get_jid(&self, name: &str) -> Option<Jid> {
        self.get(name).and_then(Value::to_jid)
    }

    /// The value of an attribute as a number; nothing if it is none.
    pub fn get_u64(&self, name: &str) -> Option<u64> {
        self.get_str(name).and_then(|text| text.parse().ok())
    }

    /// Sets an attribute: in its old place if it is there already, else at the end.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Takes an attribute out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    /// Names and values in the order of the wire.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The number of attributes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Room for this many attributes.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// Appends an attribute that is known not to be there yet.
    pub(super) fn push(&mut self, name: String, value: Value) {
        self.0.push((name, value));
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Attrs {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        let mut attrs = Self::default();
        for (name, value) in iter {
            attrs.set(name, value);
        }
        attrs
    }
}

impl Node {
    /// A node without attributes and content.
    pub fn new(tag: impl Into<String>) -> Self {
        Self {
            tag: tag.into(),
            ..Self::default()
        }
    }

    /// Sets an attribute.
    #[must_use]
    pub fn attr(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.attrs.set(name, value);
        self
    }

    /// Sets an attribute if there is a value.
    #[must_use]
    pub fn opt_attr(self, name: impl Into<String>, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// Appends a child; content that is not nodes is replaced.
    #[must_use]
    pub fn child(self, child: Self) -> Self {
        self.children([child])
    }

    /// Appends children; content that is not nodes is replaced.
    #[must_use]
    pub fn children(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        let mut nodes = match self.content {
            Content::Nodes(nodes) => nodes,
            _ => Vec::new(),
        };
        nodes.extend(children);
        self.content = Content::Nodes(nodes);
        self
    }

    /// Sets bytes as content.
    #[must_use]
    pub fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.content = Content::Bytes(bytes.into());
        self
    }

    /// Sets text as content; see [`Content::Text`] for what the peer reads.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.content = Content::Text(text.into());
        self
    }

    /// An attribute as text.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.attrs.get_str(name)
    }

    /// An attribute as an address.
    pub fn jid(&self, name: &str) -> Option<Jid> {
        self.attrs.get_jid(name)
    }

    /// An attribute as a number.
    pub fn u64(&self, name: &str) -> Option<u64> {
        self.attrs.get_u64(name)
    }

    /// Whether the tag is this word.
    pub fn is(&self, tag: &str) -> bool {
        self.tag == tag
    }

    /// The children; none if the content is something else.
    pub fn nodes(&self) -> &[Self] {
        match &self.content {
            Content::Nodes(nodes) => nodes,
            _ => &[],
        }
    }

    /// The first child with this tag.
    pub fn child_named(&self, tag: &str) -> Option<&Self> {
        self.nodes().iter().find(|node| node.tag == tag)
    }

    /// All children with this tag.
    pub fn children_named<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a Self> {
        self.nodes().iter().filter(move |node| node.tag == tag)
    }

    /// The content as bytes: also those of text, as a peer may have packed it.
    pub fn content_bytes(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Bytes(bytes) => Some(bytes),
            Content::Text(text) => Some(text.as_bytes()),
            Content::Empty | Content::Nodes(_) => None,
        }
    }

    /// The content as text, if it is text or UTF-8 bytes.
    pub fn content_text(&self) -> Option<&str> {
        self.content_bytes()
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_stand_once_and_in_order() {
        let node = Node::new("iq")
            .attr("a", "1")
            .attr("b", 2u64)
            .attr("a", "3");
        let attrs: Vec<_> = node.attrs.iter().map(|(k, v)| (k, v.as_str())).collect();
        assert_eq!(attrs, [("a", "3".into()), ("b", "2".into())]);
        assert_eq!(node.u64("b"), Some(2));
        assert_eq!(node.u64("c"), None);
    }

    #[test]
    fn addresses_are_read_from_both_forms() {
        let jid = Jid::phone("14155551001");
        let node = Node::new("iq")
            .attr("to", &jid)
            .attr("from", jid.to_string())
            .attr("x", "y");
        assert_eq!(node.jid("to"), Some(jid.clone()));
        assert_eq!(node.jid("from"), Some(jid));
        assert_eq!(node.jid("x"), None);
        assert_eq!(
            node.get("to").as_deref(),
            Some("14155551001@s.whatsapp.net")
        );
    }

    #[test]
    fn content_is_read_in_the_form_asked_for() {
        let node = Node::new("a")
            .child(Node::new("b").bytes("hi"))
            .child(Node::new("b").text("1"));
        assert_eq!(node.children_named("b").count(), 2);
        assert_eq!(
            node.child_named("b").and_then(Node::content_text),
            Some("hi")
        );
        assert_eq!(node.nodes()[1].content_bytes(), Some(&b"1"[..]));
        assert_eq!(node.content_bytes(), None);
        assert_eq!(Node::new("a").bytes([0xff]).content_text(), None);
    }
}
