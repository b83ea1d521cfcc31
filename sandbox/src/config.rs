//! How a sandbox is set up.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

/// Everything that [`crate::Sandbox::start`] needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the control API listens. Port 0 takes a free one.
    pub control: SocketAddr,
    /// Where the gatekeeper's HTTP side listens: enlistment, key set and the chat's WebSocket.
    pub http: SocketAddr,
    /// Where the HTTP side listens over TLS, for stock clients.
    pub https: SocketAddr,
    /// Names in the certificate of that side, besides the local ones.
    pub tls_names: Vec<String>,
    /// Names under which the control API is reached, besides `localhost` and numeric addresses.
    pub control_names: Vec<String>,
    /// Where the chat listens for plain TCP.
    pub tcp: SocketAddr,
    /// The services that have signed an agreement.
    pub partners: Vec<PartnerConfig>,
    /// Keeps keys, accounts, mailboxes and phones over a restart.
    pub state: Option<PathBuf>,
    /// Records every byte that partners send, as it came and after Noise decryption.
    pub record: Option<PathBuf>,
    /// Seed of faults and of the harmless variety on the wire.
    pub seed: u64,
    /// Compressed stanzas, unpacked digits, split and merged frames, at random.
    pub variety: bool,
    /// How often partners' key sets are fetched.
    pub jwks_interval: Duration,
    /// Messages that each phone's log keeps; `None` keeps all.
    pub log_limit: Option<usize>,
    /// Connections to the chat that may be between their first byte and their login at once.
    pub half_open: usize,
    /// Time that a client of the chat has for its handshake.
    pub handshake: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let free = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self {
            control: free,
            http: free,
            https: free,
            tls_names: Vec::new(),
            control_names: Vec::new(),
            tcp: free,
            partners: Vec::new(),
            state: None,
            record: None,
            seed: 0,
            variety: true,
            jwks_interval: Duration::from_secs(300),
            log_limit: None,
            half_open: 256,
            handshake: Duration::from_secs(20),
        }
    }
}

/// One partner service, written `integrator=1,base_url=http://127.0.0.1:8080/whatsapp,audience=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerConfig {
    /// The number in its users' JIDs, `{integrator}-{user}@interop`.
    pub integrator: u16,
    /// Base of its key set, its push endpoint and its media; without a slash at the end.
    pub base_url: String,
    /// `iss` of its identity tokens; without it their signature alone tells whose they are.
    pub issuer: Option<String>,
    /// `aud` of its identity tokens: the name it uses for the gatekeeper.
    pub audience: String,
    /// `aud` of the pushes it gets.
    pub push_audience: String,
}

/// Path of a partner's key set under its base URL.
pub const PARTNER_JWKS_PATH: &str = "/.well-known/oauth/openid/jwks";

impl PartnerConfig {
    /// A partner with the defaults: pushes name the origin of its base URL, and it calls the gatekeeper
    /// `WHATSAPP`.
    pub fn new(integrator: u16, base_url: impl Into<String>) -> Self {
        let base_url = base_url.into().trim_end_matches('/').to_owned();
        Self {
            integrator,
            issuer: None,
            audience: DEFAULT_AUDIENCE.to_owned(),
            push_audience: origin(&base_url),
            base_url,
        }
    }

    /// Where its key set is fetched.
    pub fn jwks_url(&self) -> String {
        format!("{}{PARTNER_JWKS_PATH}", self.base_url)
    }

    /// Where its pushes go.
    pub fn push_url(&self) -> String {
        format!("{}/push", self.base_url)
    }
}

/// What identity tokens name as their audience unless a partner says otherwise.
pub const DEFAULT_AUDIENCE: &str = "WHATSAPP";

/// Why a `--partner` value cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PartnerError {
    /// A part without `=`.
    #[error(
        "`{0}` is not a setting: write key=value, e.g. integrator=1,base_url=http://127.0.0.1:8080"
    )]
    NotASetting(String),
    /// A key that does not exist.
    #[error("`{0}` is not known: use integrator, base_url, audience, issuer or push_audience")]
    UnknownKey(String),
    /// The integrator is not a number that fits.
    #[error("integrator `{0}` is not a number from 1 to 65535")]
    Integrator(String),
    /// The base URL is not one.
    #[error("base_url `{0}` is not an http or https address")]
    BaseUrl(String),
    /// A setting that must be there.
    #[error("`{0}=` is missing")]
    Missing(&'static str),
}

impl FromStr for PartnerConfig {
    type Err = PartnerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut integrator, mut base_url) = (None, None);
        let (mut audience, mut issuer, mut push_audience) = (None, None, None);
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| PartnerError::NotASetting(part.to_owned()))?;
            match key {
                "integrator" => {
                    let number = value.parse::<u16>().ok().filter(|number| *number > 0);
                    integrator =
                        Some(number.ok_or_else(|| PartnerError::Integrator(value.to_owned()))?);
                }
                "base_url" => {
                    if !is_http_url(value) {
                        return Err(PartnerError::BaseUrl(value.to_owned()));
                    }
                    base_url = Some(value);
                }
                "audience" => audience = Some(value),
                "issuer" => issuer = Some(value),
                "push_audience" => push_audience = Some(value),
                _ => return Err(PartnerError::UnknownKey(key.to_owned())),
            }
        }
        let mut partner = Self::new(
            integrator.ok_or(PartnerError::Missing("integrator"))?,
            base_url.ok_or(PartnerError::Missing("base_url"))?,
        );
        partner.issuer = issuer.map(str::to_owned);
        if let Some(audience) = audience {
            audience.clone_into(&mut partner.audience);
        }
        if let Some(audience) = push_audience {
            audience.clone_into(&mut partner.push_audience);
        }
        Ok(partner)
    }
}

/// Scheme, host and port of a URL; the whole text if it is none.
fn origin(url: &str) -> String {
    reqwest::Url::parse(url).map_or_else(
        |_| url.to_owned(),
        |parsed| parsed.origin().ascii_serialization(),
    )
}

fn is_http_url(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_listens_on_loopback_unless_told_otherwise() {
        let Config {
            control,
            http,
            https,
            tcp,
            ..
        } = Config::default();
        for address in [control, http, https, tcp] {
            assert!(address.ip().is_loopback(), "{address}");
        }
    }

    #[test]
    fn a_partner_is_read_from_its_settings() {
        let partner: PartnerConfig =
            "integrator=7, base_url=http://127.0.0.1:9/whatsapp/,audience=gk"
                .parse()
                .unwrap();
        assert_eq!(partner.integrator, 7);
        assert_eq!(
            partner.jwks_url(),
            "http://127.0.0.1:9/whatsapp/.well-known/oauth/openid/jwks"
        );
        assert_eq!(partner.push_url(), "http://127.0.0.1:9/whatsapp/push");
        assert_eq!(partner.audience, "gk");
        assert_eq!(partner.push_audience, "http://127.0.0.1:9");
    }

    #[test]
    fn a_bad_partner_says_what_is_wrong() {
        for (text, cause) in [
            ("integrator", "not a setting"),
            ("integrator=0,base_url=http://x", "not a number from 1"),
            ("integrator=1", "`base_url=` is missing"),
            ("integrator=1,base_url=ftp://x", "not an http"),
            ("integrator=1,colour=red", "`colour` is not known"),
        ] {
            let error = text.parse::<PartnerConfig>().unwrap_err().to_string();
            assert!(error.contains(cause), "{text}: {error}");
        }
    }
}
