//! The client-server API as an application service speaks it: one bearer token, the user and device asserted in the query.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use ruma::{
    DeviceId, UserId,
    api::{
        AppserviceUserIdentity, IncomingResponse, MatrixVersion, OutgoingRequest,
        OutgoingRequestAppserviceExt, SupportedVersions,
        auth_scheme::{AuthScheme, SendAccessToken},
        path_builder::{PathBuilder, SinglePath, VersionHistory},
    },
};
use tokio::sync::Notify;

mod media;

pub use self::media::Download;
use crate::{HomeserverConfig, HttpError, Refusal};

/// The longest answer that is read, in bytes. A sync of a device that was away for months stays well below.
const MAX_ANSWER: usize = 64 << 20;
/// How long a request may take unless said otherwise. Room creation and joins over federation are slow.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// On whose behalf a request is made.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The user.
    pub user: &'a UserId,
    /// The device, where one is needed: keys, to-device messages, durable transaction ids.
    pub device: Option<&'a DeviceId>,
}

impl<'a> Identity<'a> {
    /// A user without a device.
    pub fn user(user: &'a UserId) -> Self {
        Self { user, device: None }
    }

    /// A user's device.
    pub fn device(user: &'a UserId, device: &'a DeviceId) -> Self {
        Self {
            user,
            device: Some(device),
        }
    }
}

/// One homeserver. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Homeserver {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: HomeserverConfig,
    client: reqwest::Client,
    versions: SupportedVersions,
    upload_limit: std::sync::Mutex<media::KnownLimit>,
    outage: Outage,
}

/// Whether requests go through.
#[derive(Debug, Default)]
struct Outage {
    lasts: AtomicBool,
    began: Notify,
}

impl Outage {
    fn begins(&self) {
        if !self.lasts.swap(true, Ordering::Relaxed) {
            self.began.notify_one();
        }
    }

    fn ends(&self) {
        self.lasts.store(false, Ordering::Relaxed);
    }
}

impl Homeserver {
    /// Makes a client. No request is sent.
    ///
    /// The process must have installed its TLS provider before.
    ///
    /// # Errors
    ///
    /// [`HttpError::Request`] if no client can be made.
    pub fn new(config: HomeserverConfig) -> Result<Self, HttpError> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| HttpError::Request {
                endpoint: "any",
                reason: e.to_string(),
            })?;
        // What a server says about itself is not what it can do (Synapse has device management and says v1.15): the
        // paths of v1.11 are understood by all servers that can carry the bridge.
        let versions = SupportedVersions {
            versions: [
                MatrixVersion::V1_1,
                MatrixVersion::V1_7,
                MatrixVersion::V1_11,
            ]
            .into(),
            features: [].into(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                client,
                versions,
                upload_limit: std::sync::Mutex::default(),
                outage: Outage::default(),
            }),
        })
    }

    /// The configuration this client was made from.
    pub fn config(&self) -> &HomeserverConfig {
        &self.inner.config
    }

    /// Ends when a request finds that the homeserver does not answer. For one waiter; one that was found before the call counts.
    pub async fn went_away(&self) {
        self.inner.outage.began.notified().await;
    }

    /// Whether the last request was not answered.
    pub fn is_away(&self) -> bool {
        self.inner.outage.lasts.load(Ordering::Relaxed)
    }

    /// Sends a typed request as `identity` and reads the typed answer, within [`DEADLINE`].
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn call<R>(
        &self,
        identity: Option<Identity<'_>>,
        request: R,
    ) -> Result<R::IncomingResponse, HttpError>
    where
        R: OutgoingRequest,
        R::PathBuilder: PathInput,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
    {
        self.call_within(DEADLINE, identity, request).await
    }

    /// [`call`](Self::call) with a deadline of its own.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn call_within<R>(
        &self,
        deadline: Duration,
        identity: Option<Identity<'_>>,
        request: R,
    ) -> Result<R::IncomingResponse, HttpError>
    where
        R: OutgoingRequest,
        R::PathBuilder: PathInput,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
    {
        let endpoint = endpoint_name::<R>();
        let request = self.request(endpoint, identity, request)?;
        let response = self.send(endpoint, deadline, request).await?;
        R::IncomingResponse::try_from_http_response(response).map_err(|e| HttpError::Answer {
            endpoint,
            reason: e.to_string(),
        })
    }

    fn request<R>(
        &self,
        endpoint: &'static str,
        identity: Option<Identity<'_>>,
        request: R,
    ) -> Result<http::Request<BytesMut>, HttpError>
    where
        R: OutgoingRequest,
        R::PathBuilder: PathInput,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
    {
        let failed = |reason: String| HttpError::Request { endpoint, reason };
        let config = &self.inner.config;
        let mut asserted = AppserviceUserIdentity::default();
        asserted.user_id = identity.map(|i| i.user);
        asserted.device_id = identity.and_then(|i| i.device);
        let mut request = request
            .try_into_http_request_with_identity::<BytesMut>(
                &config.url,
                SendAccessToken::Appservice(config.as_token.reveal()),
                asserted,
                R::PathBuilder::input(&self.inner.versions),
            )
            .map_err(|e| failed(e.to_string()))?;
        if let Some(device) = asserted.device_id {
            // The name that servers read before the device assertion became stable (MSC4326).
            let uri = format!("{}&org.matrix.msc3202.device_id={device}", request.uri());
            *request.uri_mut() = uri
                .parse()
                .map_err(|_| failed("unusable device id".into()))?;
        }
        Ok(request)
    }

    async fn send(
        &self,
        endpoint: &'static str,
        deadline: Duration,
        request: http::Request<BytesMut>,
    ) -> Result<http::Response<Vec<u8>>, HttpError> {
        let unreachable = |e: reqwest::Error| HttpError::Transport {
            endpoint,
            reason: if e.is_timeout() {
                "timed out".to_owned()
            } else {
                source_of(&e)
            },
        };
        let request =
            reqwest::Request::try_from(request.map(|body| body.freeze())).map_err(|e| {
                HttpError::Request {
                    endpoint,
                    reason: source_of(&e),
                }
            })?;
        let exchange = async {
            let mut response = self
                .inner
                .client
                .execute(request)
                .await
                .map_err(unreachable)?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
                if body.len().saturating_add(chunk.len()) > MAX_ANSWER {
                    let reason = format!("longer than {MAX_ANSWER} bytes");
                    return Err(HttpError::Answer { endpoint, reason });
                }
                body.extend_from_slice(&chunk);
            }
            Ok((response, body))
        };
        let answered = tokio::time::timeout(deadline, exchange)
            .await
            .unwrap_or_else(|_| {
                Err(HttpError::Transport {
                    endpoint,
                    reason: "timed out".to_owned(),
                })
            });
        let outage = &self.inner.outage;
        let (response, body) = answered.inspect_err(|_| outage.begins())?;
        let status = response.status();
        if !status.is_success() {
            let wait = response.headers().get(http::header::RETRY_AFTER);
            let wait = wait.and_then(|value| value.to_str().ok());
            let refusal = Refusal::read(status.as_u16(), wait, &body);
            // A proxy before the homeserver answers so while that is away.
            if matches!(status.as_u16(), 502..=504) && refusal.errcode.is_none() {
                outage.begins();
            } else {
                outage.ends();
            }
            return Err(HttpError::Refused { endpoint, refusal });
        }
        outage.ends();
        let mut answer = http::Response::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = response.headers().clone();
        Ok(answer)
    }
}

/// How an endpoint's path is chosen: ruma's endpoints with a history take the server's versions, the others nothing.
pub trait PathInput: PathBuilder {
    /// The input for [`PathBuilder::select_path`].
    fn input(versions: &SupportedVersions) -> Self::Input<'_>;
}

impl PathInput for VersionHistory {
    fn input(versions: &SupportedVersions) -> Cow<'_, SupportedVersions> {
        Cow::Borrowed(versions)
    }
}

impl PathInput for SinglePath {
    fn input(_: &SupportedVersions) {}
}

/// `send_message_event` for `ruma_client_api::message::send_message_event::v3::Request`.
fn endpoint_name<R>() -> &'static str {
    let name = std::any::type_name::<R>();
    name.rsplit("::").nth(2).unwrap_or(name)
}

/// The innermost cause, without the address that `reqwest` puts in front: it holds user and room ids.
fn source_of(error: &reqwest::Error) -> String {
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    let mut text = None;
    while let Some(error) = cause {
        text = Some(error.to_string());
        cause = error.source();
    }
    text.unwrap_or_else(|| "the connection failed".to_owned())
}

#[cfg(test)]
mod tests {
    use ruma::api::client::{device, message::send_message_event};

    use super::*;
    use crate::Token;

    fn homeserver() -> Homeserver {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Homeserver::new(HomeserverConfig {
            url: "http://127.0.0.1:1/".to_owned(),
            server_name: "localhost".try_into().unwrap(),
            appservice_id: "gatehouse".to_owned(),
            as_token: Token::new("secret"),
            bot: "@whatsappbot:localhost".try_into().unwrap(),
        })
        .unwrap()
    }

    #[test]
    fn both_spellings_of_the_device() {
        let user: &UserId = "@whatsapp_1:localhost".try_into().unwrap();
        let request = device::update_device::v3::Request::new("GHOSTDEV".into());
        let identity = Identity::device(user, "GHOSTDEV".into());
        let request = homeserver()
            .request("test", Some(identity), request)
            .unwrap();
        assert_eq!(
            request.uri(),
            "http://127.0.0.1:1/_matrix/client/v3/devices/GHOSTDEV?user_id=%40whatsapp_1%3Alocalhost\
             &device_id=GHOSTDEV&org.matrix.msc3202.device_id=GHOSTDEV"
        );
        assert_eq!(request.headers()["authorization"], "Bearer secret");
    }

    #[test]
    fn the_token_is_not_shown() {
        assert!(!format!("{:?}", homeserver()).contains("secret"));
    }

    #[test]
    fn endpoints_have_names() {
        assert_eq!(
            endpoint_name::<send_message_event::v3::Request>(),
            "send_message_event"
        );
    }

    #[tokio::test]
    async fn a_dead_server_is_a_passing_fault_without_address() {
        let user: &UserId = "@whatsapp_1:localhost".try_into().unwrap();
        let request = device::get_devices::v3::Request::new();
        let error = homeserver()
            .call(Some(Identity::user(user)), request)
            .await
            .unwrap_err();
        assert!(error.is_retryable());
        assert!(!error.to_string().contains("whatsapp_1"), "{error}");
    }
}
