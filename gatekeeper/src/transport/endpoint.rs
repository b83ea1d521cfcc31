//! Where the chat server is.

use std::{fmt, str::FromStr};

/// Where the chat server is: `wss://host/path`, `ws://host/path`, `tcp://host:port` or
/// `tls://host:port` (TCP within TLS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address of the machine, without the brackets of an IPv6 address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The path of a WebSocket, `/` if the address has none; nothing for raw TCP.
    pub websocket: Option<String>,
}

/// An address that is no [`Endpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No address at all.
    #[error(
        "not an address: write it as wss://host/path, ws://host/path, tcp://host:port or tls://host:port"
    )]
    Syntax,
    /// An address of another protocol.
    #[error("unknown protocol: use wss, ws, tcp or tls")]
    Scheme,
    /// The port is missing, and the protocol has no usual one.
    #[error("the port is missing: write it as tcp://host:port")]
    Port,
    /// Something that the address cannot have.
    #[error("an endpoint has no user, password or fragment, and a path only for ws and wss")]
    Extra,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let url = reqwest::Url::parse(text.trim()).map_err(|_| EndpointError::Syntax)?;
        let (websocket, tls, usual_port) = match url.scheme() {
            "ws" => (true, false, Some(80)),
            "wss" => (true, true, Some(443)),
            "tcp" => (false, false, None),
            "tls" => (false, true, Some(443)),
            _ => return Err(EndpointError::Scheme),
        };
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or(EndpointError::Syntax)?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let extra =
            !url.username().is_empty() || url.password().is_some() || url.fragment().is_some();
        let path = matches!(url.path(), "" | "/") && url.query().is_none();
        if extra || !(websocket || path) {
            return Err(EndpointError::Extra);
        }
        let resource = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(Self {
            host: host.to_owned(),
            port: url.port().or(usual_port).ok_or(EndpointError::Port)?,
            tls,
            websocket: websocket.then_some(resource),
        })
    }
}

impl Endpoint {
    /// Host and port, as an address or a header has them.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.websocket.is_some(), self.tls) {
            (true, true) => "wss",
            (true, false) => "ws",
            (false, true) => "tls",
            (false, false) => "tcp",
        };
        let path = self.websocket.as_deref().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority())
    }
}
