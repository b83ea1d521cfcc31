//! What stands between the bridge and its neighbours and gets in their way on demand: a proxy each way between it and the
//! homeserver, and one between it and the gatekeeper's chat.

mod http;
mod tcp;
mod transactions;

use crate::Result;
use crate::error::Context as _;
use crate::sandbox::Addresses;

pub use http::{HttpProxy, Refuse, Trouble};
pub use tcp::TcpProxy;
pub use transactions::Keys;

/// The three proxies. While nothing is asked of them they pass everything on.
#[derive(Debug)]
pub struct Between {
    /// Requests of the bridge to the homeserver.
    pub to_homeserver: HttpProxy,
    /// Transactions of the homeserver to the bridge.
    pub to_bridge: HttpProxy,
    /// The bridge's connection to the gatekeeper.
    pub to_gatekeeper: TcpProxy,
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
        })
    }

    /// The gatekeeper's addresses as the bridge shall see them.
    #[must_use]
    pub fn addresses(&self, gatekeeper: &Addresses) -> Addresses {
        let mut addresses = gatekeeper.clone();
        if let Ok(mut chat) = addresses.chat.parse::<reqwest::Url>()
            && chat.set_port(Some(self.to_gatekeeper.port())).is_ok()
        {
            addresses.chat = chat.into();
        }
        addresses
    }

    /// Lets everything through again.
    pub fn clear(&self) {
        self.to_homeserver.set(Trouble::default());
        self.to_bridge.set(Trouble::default());
        self.to_gatekeeper.full_speed();
    }
}
