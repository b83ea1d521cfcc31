//! Enlistment: the one HTTP request that makes a user known to the gatekeeper.
//!
//! The client posts the public keys of the new identity and the bridge's token for the user; the
//! gatekeeper answers with the address that it gave the user. Both answers, yes and no, come with
//! HTTP status 200. Names, sizes and bytes are the published ones (G 1.3); both directions are
//! here, so that the sandbox reads what the bridge writes by the same rules.

mod answer;
mod form;

pub use self::{
    answer::{BAD_INTEGRATOR, EnlistAnswer, MalformedAnswer, explain},
    form::{EnlistForm, FormError, MAX_FORM},
};

/// The published path of the request.
pub const PATH: &str = "/3p/interop_reg";

/// An answer longer than this is not one.
const MAX_ANSWER: usize = 64 * 1024;

/// Why there is no answer to an enlistment. A refusal is an answer: [`EnlistAnswer::Fail`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnlistError {
    /// The request did not get through, or the answer broke off.
    #[error("the gatekeeper's enlistment address cannot be reached: {0}")]
    Unreachable(#[source] reqwest::Error),
    /// Another status than the published 200.
    #[error("the gatekeeper's enlistment address answers with HTTP status {0} instead of 200")]
    Status(u16),
    /// The answer is neither of the two published ones.
    #[error(transparent)]
    Answer(#[from] MalformedAnswer),
    /// The answer does not end.
    #[error("the gatekeeper's enlistment answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
}

impl EnlistError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status(status) => matches!(status, 408 | 429 | 500..=599),
            Self::Answer(_) | Self::TooLong => false,
        }
    }
}

/// Posts the form to `url` and reads the answer.
///
/// The request is safe to repeat with the same keys: a user has one identity at a time.
pub async fn enlist(
    client: &reqwest::Client,
    url: &str,
    form: &EnlistForm,
) -> Result<EnlistAnswer, EnlistError> {
    let request = client
        .post(url)
        .header(
            reqwest::header::CONTENT_TYPE,
            "application/x-www-form-urlencoded",
        )
        .body(form.to_form());
    let mut response = request.send().await.map_err(EnlistError::Unreachable)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(EnlistError::Status(response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(EnlistError::Unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(EnlistError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(EnlistAnswer::parse(&body)?)
}

#[cfg(test)]
mod tests;
