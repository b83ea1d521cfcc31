//! What can be wrong with a stanza. No variant carries text of the stanza: errors may be logged.

/// Bytes that are not a stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Bytes are missing at the end.
    #[error("the stanza ends too early")]
    Truncated,
    /// Bytes are left after the root node.
    #[error("{0} bytes are left after the stanza")]
    Trailing(usize),
    /// The stanza, or what it inflates to, is larger than [`limits`](super::limits) allow.
    #[error("the stanza is too large")]
    TooLarge,
    /// The body is marked as compressed and is not one whole zlib stream.
    #[error("the compressed body is damaged")]
    Inflate,
    /// Nodes are nested deeper than [`limits::DEPTH`](super::limits::DEPTH).
    #[error("nodes are nested too deep")]
    TooDeep,
    /// More nodes or attributes than [`limits`](super::limits) allow.
    #[error("the stanza has too many nodes or attributes")]
    TooManyItems,
    /// A byte that is no tag, or a tag where it may not stand.
    #[error("tag {0} is unknown or out of place")]
    Tag(u8),
    /// A list that is no node: without a tag.
    #[error("a node has no tag")]
    NoTag,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// Packed digits with a half byte that stands for no digit.
    #[error("packed digits are damaged")]
    Packed,
    /// An attribute without a name.
    #[error("an attribute has no name")]
    NoAttributeName,
    /// An attribute stands twice in one node.
    #[error("a node has an attribute twice")]
    DuplicateAttribute,
    /// A damaged address.
    #[error(transparent)]
    Jid(#[from] JidError),
}

/// A node that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The stanza is larger than [`limits`](super::limits) allow.
    #[error("the stanza is too large")]
    TooLarge,
    /// Nodes are nested deeper than [`limits::DEPTH`](super::limits::DEPTH).
    #[error("nodes are nested too deep")]
    TooDeep,
    /// More nodes or attributes than [`limits`](super::limits) allow.
    #[error("the stanza has too many nodes or attributes")]
    TooManyItems,
    /// A node with an empty tag.
    #[error("a node has no tag")]
    NoTag,
    /// An attribute with an empty name.
    #[error("an attribute has no name")]
    NoAttributeName,
    /// An address that has no form on the wire.
    #[error(transparent)]
    Jid(#[from] JidError),
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JidError {
    /// No server, or none that is known where the text has no `@`.
    #[error("the address has no server")]
    NoServer,
    /// A user where there must be one.
    #[error("the address has no user")]
    NoUser,
    /// The device is not a number from 0 to 65535, or this server's addresses have none that large.
    #[error("the address has a device that its server does not allow")]
    Device,
    /// A byte that cannot be part of an address (`@` or `:` in the user, white space, control bytes).
    #[error("the address has a character that is not allowed")]
    Character,
    /// Longer than [`limits::JID`](super::limits::JID).
    #[error("the address is too long")]
    TooLong,
    /// An unknown domain byte in a device address.
    #[error("the address has the unknown domain {0}")]
    Domain(u8),
    /// A server that this form of address cannot have.
    #[error("the address has a server that its tag does not allow")]
    Server,
}
