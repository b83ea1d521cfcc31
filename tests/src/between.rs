//! What stands between the bridge and its neighbours and gets in their way on demand: a proxy each way between it and the
//! homeserver, one before the gatekeeper's chat, and one before its media.

mod http;
mod rules;
mod tcp;
mod transactions;

use crate::Result;
use crate::error::Context as _;
use crate::sandbox::Addresses;

pub use http::{HttpProxy, Refuse, Trouble};
pub use rules::Fate;
pub use tcp::TcpProxy;
pub use transactions::Keys;

/// In the path of each request that sends an encrypted event of a ghost into a room: for [`HttpProxy::rule`], method `PUT`.
#[must_use]
pub fn sends_of(ghost: &str, room: &str) -> String {
    format!("/rooms/{room}/send/m.room.encrypted/*user_id={ghost}")
}

/// The proxies. While nothing is asked of them they pass everything on.
#[derive(Debug)]
pub struct Between {
    /// Requests of the bridge to the homeserver.
    pub to_homeserver: HttpProxy,
    /// Transactions of the homeserver to the bridge.
    pub to_bridge: HttpProxy,
    /// The bridge's connection to the gatekeeper.
    pub to_gatekeeper: TcpProxy,
    /// Requests of the bridge for the gatekeeper's files.
    pub to_media: HttpProxy,
}

impl Between {
    /// Starts them: `homeserver` and `bridge` are base addresses, which need not be served yet.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start(homeserver: &str, bridge: &str, gatekeeper: &Addresses) -> Result<Self> {
        let chat = gatekeeper
            .chat
            .parse::<reqwest::Url>()
            .context("the chat's address")?;
        let port = chat.port().context("the chat's address has no port")?;
        Ok(Self {
            to_homeserver: HttpProxy::start(homeserver).await?,
            to_bridge: HttpProxy::start(bridge).await?,
            to_gatekeeper: TcpProxy::start(port).await?,
            to_media: HttpProxy::start(&gatekeeper.http).await?,
        })
    }

    /// The gatekeeper's addresses as the bridge shall see them.
    #[must_use]
    pub fn addresses(&self, gatekeeper: &Addresses) -> Addresses {
        let mut addresses = gatekeeper.clone();
        self.to_media.address().clone_into(&mut addresses.http);
        if let Ok(mut chat) = addresses.chat.parse::<reqwest::Url>()
            && chat.set_port(Some(self.to_gatekeeper.port())).is_ok()
        {
            addresses.chat = chat.into();
        }
        addresses
    }
}
