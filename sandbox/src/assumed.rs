//! What the sandbox says where neither the published text nor open source tells what the gatekeeper
//! says (G 9). Invented stanzas stand in [`gatekeeper::assumed`]; here are the invented numbers and
//! words. A client must not depend on them.

/// `<failure reason=…>` for a user who is not enlisted (any more). Clients take 401 as "enlist again".
pub const NOT_ENLISTED: u16 = 401;

/// `<failure reason=…>` for a login that says too little, or what no client says.
pub const BAD_LOGIN: u16 = 400;

/// `<failure reason=…>` for a key or token that is not the user's. Clients take it as [`NOT_ENLISTED`].
pub const NOT_THE_USER: u16 = 401;

/// `<failure reason=…>` while the partner's key set cannot be fetched: the token may be good. Clients come back by
/// themselves.
pub const KEYS_OUT_OF_REACH: u16 = 503;

/// `<ack error=…>` for a stanza that cannot be read; seen in open source for stanzas that fail a check.
pub const INVALID_STANZA: u16 = 479;

/// `<ack error=…>` for a message to an address that nobody has, and `<error code=…>` for its keys.
pub const NO_SUCH_USER: u16 = 404;

/// `<ack error=…>` for a message to somebody who has third-party chats off; seen in open source where
/// the sender may not write to the receiver.
pub const NOT_REACHABLE: u16 = 463;

/// Why an enlistment fails. Only `bad_integrator` is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnlistFailure {
    /// The token belongs to no partner: published.
    BadIntegrator,
    /// The token is too long, expired, for another audience, or without a user.
    BadToken,
    /// An argument is missing, has a wrong size or is not base64url.
    BadParam,
    /// The signature over the signed prekey is not the identity key's.
    BadSignature,
}

impl EnlistFailure {
    /// The word in `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadIntegrator => "bad_integrator",
            Self::BadToken => "bad_token",
            Self::BadParam => "bad_param",
            Self::BadSignature => "bad_signature",
        }
    }
}

/// Before the number of a partner's user it makes the phone number under which stock clients see the
/// user. No country has it, and what comes out has more digits than a phone number may have.
pub const ALIAS_PREFIX: &str = "999";

/// The first digit of the opaque number (LID) that stands for a phone; fifteen digits follow.
pub const PHONE_LID_PREFIX: &str = "7";

/// Seconds for which a stock client may keep the settings that it is told.
pub const PROPS_REFRESH: u64 = 86_400;
