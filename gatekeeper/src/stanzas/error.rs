//! What can be wrong with a stanza that decoded.

/// A stanza that is not what its tag says. Holds names only, never a value: it may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The stanza is another one.
    #[error("expected <{expected}>")]
    Tag {
        /// The tag that was looked for.
        expected: &'static str,
    },
    /// An attribute that must be there is not.
    #[error("<{tag}> has no attribute {name}")]
    Missing {
        /// The node.
        tag: &'static str,
        /// The attribute.
        name: &'static str,
    },
    /// An attribute is there and cannot be what it should be, such as a number.
    #[error("attribute {name} of <{tag}> is damaged")]
    Invalid {
        /// The node.
        tag: &'static str,
        /// The attribute.
        name: &'static str,
    },
    /// A child that must be there is not.
    #[error("<{tag}> has no <{child}>")]
    NoChild {
        /// The node.
        tag: &'static str,
        /// The child.
        child: &'static str,
    },
    /// The content has a wrong length or is no bytes.
    #[error("content of <{tag}> is damaged")]
    Content {
        /// The node.
        tag: &'static str,
    },
}
