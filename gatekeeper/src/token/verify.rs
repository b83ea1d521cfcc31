//! Checking a token.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use super::{Claims, Jwks, MAX_TOKEN};

/// Seconds by which two clocks may differ.
pub const CLOCK_SKEW: u64 = 30;

/// Why a token is refused. It shows no claim, so it may be logged and answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Longer than [`MAX_TOKEN`].
    #[error("the token has {size} bytes, more than the {MAX_TOKEN} allowed")]
    TooLong {
        /// Its size in bytes.
        size: usize,
    },
    /// Not three parts of base64url JSON, or claims without an end.
    #[error("the token is malformed")]
    Malformed,
    /// Another algorithm than RS256, `none` among them.
    #[error("the token is not signed with RS256")]
    Algorithm,
    /// The header names no key.
    #[error("the token names no key (kid)")]
    NoKid,
    /// The key is not in the set; fetch the set again before refusing for good.
    #[error("the token's key is not in the published key set (unknown kid)")]
    UnknownKid,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// Made for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// Not valid any more.
    #[error("the token has expired")]
    Expired,
    /// Not valid yet.
    #[error("the token is dated in the future: check the clocks of both servers")]
    NotYetValid,
}

/// Checks signature, key, algorithm, audience and times, and gives the claims.
///
/// `now` is seconds since 1970. Issuer and subject are left to the caller.
pub fn verify(token: &str, keys: &Jwks, audience: &str, now: u64) -> Result<Claims, VerifyError> {
    if token.len() > MAX_TOKEN {
        return Err(VerifyError::TooLong { size: token.len() });
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| header_fault(token))?;
    if header.alg != Algorithm::RS256 {
        return Err(VerifyError::Algorithm);
    }
    let kid = header.kid.ok_or(VerifyError::NoKid)?;
    let key = keys.find(&kid).ok_or(VerifyError::UnknownKid)?;
    let key =
        DecodingKey::from_rsa_components(&key.n, &key.e).map_err(|_| VerifyError::UnknownKid)?;

    // The library reads the system's clock; ours is passed in. So it checks the signature, and
    // the claims are checked here.
    let mut rules = Validation::new(Algorithm::RS256);
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    rules.validate_aud = false;
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &rules)
        .map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => VerifyError::Signature,
            jsonwebtoken::errors::ErrorKind::InvalidAlgorithm => VerifyError::Algorithm,
            _ => VerifyError::Malformed,
        })?
        .claims;

    if !claims.aud.iter().any(|aud| aud == audience) {
        return Err(VerifyError::Audience);
    }
    if claims.exp.saturating_add(CLOCK_SKEW) <= now {
        return Err(VerifyError::Expired);
    }
    let from = claims.nbf.unwrap_or(0).max(claims.iat);
    if from > now.saturating_add(CLOCK_SKEW) {
        return Err(VerifyError::NotYetValid);
    }
    Ok(claims)
}

/// The library cannot read headers with an algorithm that it does not know, such as `none`.
fn header_fault(token: &str) -> VerifyError {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    #[derive(serde::Deserialize)]
    struct Named {
        alg: String,
    }
    let header = token.split('.').next().unwrap_or_default();
    let named = URL_SAFE_NO_PAD
        .decode(header)
        .ok()
        .and_then(|json| serde_json::from_slice::<Named>(&json).ok());
    match named {
        Some(Named { alg }) if alg != "RS256" => VerifyError::Algorithm,
        _ => VerifyError::Malformed,
    }
}
