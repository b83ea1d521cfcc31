//! The gatekeeper's answer to an enlistment.

use serde::{Deserialize, Serialize};

use crate::stanza::{Jid, Server};

/// The only published reason of a refusal.
pub const BAD_INTEGRATOR: &str = "bad_integrator";

/// Yes or no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnlistAnswer {
    /// The user is enlisted.
    Ok {
        /// The address that the gatekeeper gave the user.
        login: Jid,
    },
    /// The user is not enlisted, and asking again changes nothing until something else changes.
    Fail {
        /// The gatekeeper's word for it; only [`BAD_INTEGRATOR`] is published.
        reason: String,
    },
}

/// An answer that is neither of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedAnswer {
    /// Not the JSON object of the interface.
    #[error("the gatekeeper's enlistment answer is not understood: no JSON object with a status")]
    Json,
    /// A status that is not known.
    #[error("the gatekeeper's enlistment answer has a status that is neither ok nor fail")]
    Status,
    /// `ok` without an interop address.
    #[error("the gatekeeper accepted the enlistment but gave no interop address")]
    Login,
}

/// Members in the order of the published samples.
#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    status: String,
}

impl EnlistAnswer {
    /// Reads an answer; members that are not known are passed over.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedAnswer> {
        let wire: Wire = serde_json::from_slice(body).map_err(|_| MalformedAnswer::Json)?;
        match wire.status.as_str() {
            "ok" => {
                let login = wire.login.and_then(|login| login.parse::<Jid>().ok());
                let login = login.filter(|login| login.server == Server::Interop);
                login
                    .map(|login| Self::Ok { login })
                    .ok_or(MalformedAnswer::Login)
            }
            "fail" => Ok(Self::Fail {
                reason: wire.reason.unwrap_or_default(),
            }),
            _ => Err(MalformedAnswer::Status),
        }
    }

    /// The body of the answer, as published.
    pub fn to_json(&self) -> String {
        let wire = match self {
            Self::Ok { login } => Wire {
                login: Some(login.to_string()),
                reason: None,
                status: "ok".to_owned(),
            },
            Self::Fail { reason } => Wire {
                login: None,
                reason: Some(reason.clone()),
                status: "fail".to_owned(),
            },
        };
        // Strings only: this cannot fail.
        serde_json::to_string(&wire).unwrap_or_default()
    }
}

/// A reason in words that the refused user can act on. What is not published is shown as it came,
/// shortened and without control characters.
pub fn explain(reason: &str) -> String {
    const SHOWN: usize = 200;
    match reason {
        BAD_INTEGRATOR => "The gatekeeper does not know this bridge as a partner \
             (bad_integrator). Its operator must check the partner agreement, the address where \
             the gatekeeper fetches the bridge's keys, and the issuer and audience of its tokens."
            .to_owned(),
        "" => "The gatekeeper refused without giving a reason.".to_owned(),
        other => {
            let shown: String = other
                .chars()
                .filter(|c| !c.is_control())
                .take(SHOWN)
                .collect();
            format!("The gatekeeper refused, with the reason \"{shown}\".")
        }
    }
}
