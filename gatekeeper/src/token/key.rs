//! One signing key.

use std::fmt;

use aws_lc_rs::{
    encoding::AsDer as _,
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Claims, Jwk, MAX_TOKEN, TokenError};

/// An RSA-2048 key that signs tokens, with the name under which it is published.
#[derive(Clone)]
pub struct SigningKey {
    pkcs8: Zeroizing<Vec<u8>>,
    signer: EncodingKey,
    public: Jwk,
}

impl SigningKey {
    /// Makes a new key (some 100 ms of computing). It is named by its thumbprint (RFC 7638), so
    /// two keys never share a name.
    pub fn generate() -> Result<Self, TokenError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| TokenError::Generate)?;
        let pkcs8 = pair.as_der().map_err(|_| TokenError::Generate)?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// Reads a stored key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, TokenError> {
        let pair = KeyPair::from_pkcs8(pkcs8).map_err(|_| TokenError::BadKey)?;
        let public = pair.public_key();
        let n = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
        let e = URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero());
        let thumbprint = Sha256::digest(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#));
        let public = Jwk {
            kid: URL_SAFE_NO_PAD.encode(thumbprint),
            kty: "RSA".to_owned(),
            alg: "RS256".to_owned(),
            usage: "sig".to_owned(),
            n,
            e,
        };
        Ok(Self {
            pkcs8: Zeroizing::new(pkcs8.to_vec()),
            signer: signer(pkcs8)?,
            public,
        })
    }

    /// The same key under another name, for a counterpart that names its keys otherwise.
    #[must_use]
    pub fn named(mut self, kid: impl Into<String>) -> Self {
        self.public.kid = kid.into();
        self
    }

    /// The name of the key.
    pub fn kid(&self) -> &str {
        &self.public.kid
    }

    /// The published half.
    pub const fn jwk(&self) -> &Jwk {
        &self.public
    }

    /// The secret form for the sealed database: PKCS #8, DER.
    pub fn to_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Signs claims; refuses a token that the gatekeeper would not take.
    pub fn issue(&self, claims: &Claims) -> Result<String, TokenError> {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.public.kid.clone());
        let token =
            jsonwebtoken::encode(&header, claims, &self.signer).map_err(|_| TokenError::Sign)?;
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong { size: token.len() });
        }
        Ok(token)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.public.kid)
            .finish_non_exhaustive()
    }
}

/// The token library reads PKCS #8 from PEM only.
fn signer(pkcs8: &[u8]) -> Result<EncodingKey, TokenError> {
    let body = Zeroizing::new(STANDARD.encode(pkcs8));
    let mut pem = Zeroizing::new(String::with_capacity(body.len() + 64));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    pem.push_str(&body);
    pem.push_str("\n-----END PRIVATE KEY-----\n");
    EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| TokenError::BadKey)
}
