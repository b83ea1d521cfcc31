//! Addresses of users, devices, groups and servers.
//!
//! The text form is `user@server`, with `:device` after the user unless the device is 0, and with
//! `integrator-` before the user of an interop address: `1-10853634039893@interop` (G 3.5). A known
//! server alone is its name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{error::JidError, limits};

/// The part of an address after the `@`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Server {
    /// WhatsApp users by phone number: `s.whatsapp.net`.
    Whatsapp,
    /// WhatsApp users by an opaque number: `lid`.
    Lid,
    /// Users of other services: `interop`.
    Interop,
    /// Groups: `g.us`.
    Group,
    /// Messenger users: `msgr`.
    Msgr,
    /// Hosted business accounts: `hosted`.
    Hosted,
    /// Hosted business accounts by an opaque number: `hosted.lid`.
    HostedLid,
    /// Any other, such as `broadcast`, `newsletter` or `call`.
    Other(String),
}

impl Server {
    /// The server's name on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Whatsapp => "s.whatsapp.net",
            Self::Lid => "lid",
            Self::Interop => "interop",
            Self::Group => "g.us",
            Self::Msgr => "msgr",
            Self::Hosted => "hosted",
            Self::HostedLid => "hosted.lid",
            Self::Other(name) => name,
        }
    }

    /// The domain byte of this server's device addresses, if it has them (G 3.2).
    pub(super) fn domain(&self) -> Option<u8> {
        match self {
            Self::Whatsapp => Some(0),
            Self::Lid => Some(1),
            Self::Hosted => Some(128),
            Self::HostedLid => Some(129),
            _ => None,
        }
    }

    /// The server of a device address with this domain byte.
    pub(super) fn from_domain(domain: u8) -> Option<Self> {
        match domain {
            0 => Some(Self::Whatsapp),
            1 => Some(Self::Lid),
            129 => Some(Self::HostedLid),
            // Hosted accounts: the high bit, and an even number.
            _ if domain & 0x81 == 0x80 => Some(Self::Hosted),
            _ => None,
        }
    }
}

impl From<&str> for Server {
    fn from(name: &str) -> Self {
        match name {
            "s.whatsapp.net" => Self::Whatsapp,
            "lid" => Self::Lid,
            "interop" => Self::Interop,
            "g.us" => Self::Group,
            "msgr" => Self::Msgr,
            "hosted" => Self::Hosted,
            "hosted.lid" => Self::HostedLid,
            _ => Self::Other(name.to_owned()),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an interop address is written. Which one the gatekeeper wants from clients is not public
/// (G 9, U5); all three are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InteropJidStyle {
    /// Tag 245 without the server's name, as clients send it.
    #[default]
    NoServer,
    /// Tag 245 with the server's name, as the server sends it.
    WithServer,
    /// An ordinary pair of `integrator-user` and server.
    Pair,
}

/// An address.
///
/// Phone numbers stand in it: it may not be logged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Jid {
    /// The user, without integrator and device. Empty for the address of a server.
    pub user: String,
    /// The server.
    pub server: Server,
    /// The user's device; 0 is the first one, and also stands for the user as a whole.
    pub device: u16,
    /// The service that an interop user belongs to; 0 for all other servers.
    pub integrator: u16,
}

impl Jid {
    /// An address of a user (or group) on a server.
    pub fn new(user: impl Into<String>, server: Server) -> Self {
        Self {
            user: user.into(),
            server,
            device: 0,
            integrator: 0,
        }
    }

    /// The address of a WhatsApp user by phone number: the digits, without `+`.
    pub fn phone(digits: impl Into<String>) -> Self {
        Self::new(digits, Server::Whatsapp)
    }

    /// The address of another service's user.
    pub fn interop(integrator: u16, user: impl Into<String>) -> Self {
        Self {
            integrator,
            ..Self::new(user, Server::Interop)
        }
    }

    /// The address of a server itself.
    pub fn server(server: Server) -> Self {
        Self::new("", server)
    }

    /// The same user's address with this device.
    pub fn with_device(self, device: u16) -> Self {
        Self { device, ..self }
    }

    /// The user's address without a device.
    pub fn without_device(&self) -> Self {
        self.clone().with_device(0)
    }

    /// Whether it is the address of one user, of whatever service: no group, no broadcast list, no channel, no server.
    pub fn is_user(&self) -> bool {
        !self.user.is_empty() && !matches!(self.server, Server::Group | Server::Other(_))
    }

    /// Whether it is an address of WhatsApp's server itself.
    pub fn is_server(&self) -> bool {
        self.user.is_empty()
    }

    /// Whether both are the same user, on whatever device.
    pub fn same_user(&self, other: &Self) -> bool {
        self.user == other.user
            && self.server == other.server
            && self.integrator == other.integrator
    }

    /// Checks that the address has a text form that means the same address.
    pub(super) fn check(&self) -> Result<(), JidError> {
        let server = self.server.as_str();
        if server.is_empty() {
            return Err(JidError::NoServer);
        }
        if self.user.len() + server.len() > limits::JID {
            return Err(JidError::TooLong);
        }
        if self.user.is_empty() && (self.device != 0 || self.server == Server::Interop) {
            return Err(JidError::NoUser);
        }
        let strange = |c: char| c == '@' || c == ':' || c.is_whitespace() || c.is_control();
        if self.user.contains(strange) || server.contains(strange) {
            return Err(JidError::Character);
        }
        Ok(())
    }

    /// Puts an address together from the text on both sides of the `@`.
    pub(super) fn from_parts(user: &str, server: Server) -> Result<Self, JidError> {
        let (user, device) = match user.split_once(':') {
            Some((user, device)) => (user, number(device).ok_or(JidError::Device)?),
            None => (user, 0),
        };
        let (user, integrator) = match user.split_once('-') {
            Some((integrator, rest)) if server == Server::Interop => match number(integrator) {
                Some(integrator) => (rest, integrator),
                None => (user, 0),
            },
            _ => (user, 0),
        };
        let jid = Self {
            user: user.to_owned(),
            server,
            device,
            integrator,
        };
        jid.check()?;
        Ok(jid)
    }

    /// The text before the `@`.
    pub(super) fn user_part(&self) -> String {
        let mut text = String::with_capacity(self.user.len() + 12);
        if self.server == Server::Interop {
            text.push_str(&self.integrator.to_string());
            text.push('-');
        }
        text.push_str(&self.user);
        if self.device != 0 {
            text.push(':');
            text.push_str(&self.device.to_string());
        }
        text
    }
}

/// A decimal number without sign.
fn number(text: &str) -> Option<u16> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.user.is_empty() {
            return match &self.server {
                // Without the `@` it would be any word.
                Server::Other(name) => write!(f, "@{name}"),
                server => f.write_str(server.as_str()),
            };
        }
        if self.server == Server::Interop {
            write!(f, "{}-", self.integrator)?;
        }
        f.write_str(&self.user)?;
        if self.device != 0 {
            write!(f, ":{}", self.device)?;
        }
        write!(f, "@{}", self.server)
    }
}

impl FromStr for Jid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<Self, JidError> {
        match text.split_once('@') {
            Some((user, server)) => Self::from_parts(user, server.into()),
            // Without `@` any word would be a server: take the known ones alone.
            None => match Server::from(text) {
                Server::Other(_) => Err(JidError::NoServer),
                server => Self::from_parts("", server),
            },
        }
    }
}

impl From<Jid> for String {
    fn from(jid: Jid) -> Self {
        jid.to_string()
    }
}

impl TryFrom<String> for Jid {
    type Error = JidError;

    fn try_from(text: String) -> Result<Self, JidError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_canonical() {
        for text in [
            "14155551001@s.whatsapp.net",
            "14155551001:3@s.whatsapp.net",
            "1-10853634039893@interop",
            "1-10853634039893:7@interop",
            "0-10853634039893@interop",
            "65535-a-b@interop",
            "123.456:65535@lid",
            "120363-99@g.us",
            "status@broadcast",
            "s.whatsapp.net",
            "@broadcast",
            "100:2@msgr",
        ] {
            let jid: Jid = text.parse().unwrap();
            assert_eq!(jid.to_string(), text);
        }
        assert_eq!("123@interop".parse(), Ok(Jid::interop(0, "123")));
        assert_eq!("@s.whatsapp.net".parse(), Ok(Jid::server(Server::Whatsapp)));
        assert_eq!("01-5@interop".parse(), Ok(Jid::interop(1, "5")));
        assert_eq!("70000-5@interop".parse(), Ok(Jid::interop(0, "70000-5")));
    }

    #[test]
    fn damaged_text_is_refused() {
        for (text, error) in [
            ("", JidError::NoServer),
            ("alice", JidError::NoServer),
            ("1@", JidError::NoServer),
            ("interop", JidError::NoUser),
            ("1-@interop", JidError::NoUser),
            (":1@lid", JidError::NoUser),
            ("1:@lid", JidError::Device),
            ("1:+2@lid", JidError::Device),
            ("1:65536@lid", JidError::Device),
            ("1:2:3@lid", JidError::Device),
            ("1@lid@lid", JidError::Character),
            ("1 2@lid", JidError::Character),
            ("1\u{0}@lid", JidError::Character),
        ] {
            assert_eq!(text.parse::<Jid>(), Err(error), "{text:?}");
        }
        assert_eq!(
            format!("{}@lid", "1".repeat(300)).parse::<Jid>(),
            Err(JidError::TooLong)
        );
    }

    #[test]
    fn devices_of_one_user() {
        let user = Jid::phone("4915112345678");
        let device = user.clone().with_device(4);
        assert!(user.same_user(&device));
        assert_eq!(device.without_device(), user);
        assert!(!user.same_user(&Jid::new("4915112345678", Server::Lid)));
        assert!(!Jid::interop(1, "5").same_user(&Jid::interop(2, "5")));
    }

    #[test]
    fn serde_uses_the_text_form() {
        let jid = Jid::interop(1, "10853634039893");
        let json = serde_json::to_string(&jid).unwrap();
        assert_eq!(json, r#""1-10853634039893@interop""#);
        assert_eq!(serde_json::from_str::<Jid>(&json).unwrap(), jid);
        assert!(serde_json::from_str::<Jid>(r#""x""#).is_err());
    }
}
