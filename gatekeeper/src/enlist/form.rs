//! The arguments of an enlistment.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use form_urlencoded::Serializer;

use crate::{
    signal::{Identity, MAX_PREKEY_ID, SignalError, SignedPreKeyPublic},
    token::MAX_TOKEN,
};

/// More than the longest form can have, percent-encoding of the token included.
pub const MAX_FORM: usize = 16 * 1024;

/// The only key type: Curve25519.
const CURVE25519: u8 = 5;

/// The arguments, in the order of the published sample.
#[derive(Clone, PartialEq, Eq)]
pub struct EnlistForm {
    /// `authkey`: public half of the client's static Noise key, which every later login must show.
    pub authkey: [u8; 32],
    /// `e_regid`: Signal registration id, 4 bytes.
    pub registration_id: u32,
    /// `e_ident`: Signal identity key, without type byte.
    pub identity: [u8; 32],
    /// `e_skey_id` (3 bytes), `e_skey_val` and `e_skey_sig`: the signed prekey.
    pub signed_prekey: SignedPreKeyPublic,
    /// `token`: the bridge's token for the user.
    pub token: String,
}

/// Why a form is refused. The name is that of the argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// The whole form is too long.
    #[error("the form is longer than {MAX_FORM} bytes")]
    TooLong,
    /// An argument is not there.
    #[error("the argument {0} is missing")]
    Missing(&'static str),
    /// An argument is there more than once.
    #[error("the argument {0} is given more than once")]
    Repeated(&'static str),
    /// An argument is not base64url without padding.
    #[error("the argument {0} is not base64url without padding")]
    Encoding(&'static str),
    /// An argument has the wrong size.
    #[error("the argument {name} has {size} bytes instead of {expected}")]
    Size {
        /// Its name.
        name: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The published size.
        expected: usize,
    },
    /// Another key type than Curve25519.
    #[error("the argument e_keytype is {0}, only {CURVE25519} (Curve25519) is known")]
    KeyType(u8),
    /// A prekey with number 0.
    #[error("the argument e_skey_id is 0")]
    SignedPreKeyId,
    /// The token is empty or longer than 4 KiB.
    #[error("the argument token has {0} bytes instead of 1 to {MAX_TOKEN}")]
    TokenSize(usize),
    /// The identity key did not sign the signed prekey.
    #[error("e_skey_sig is not the signature of e_ident over e_skey_val")]
    Signature,
}

impl EnlistForm {
    /// The arguments for an identity.
    pub fn new(
        authkey: [u8; 32],
        identity: &Identity,
        signed_prekey: SignedPreKeyPublic,
        token: String,
    ) -> Self {
        Self {
            authkey,
            registration_id: identity.registration_id(),
            identity: identity.public(),
            signed_prekey,
            token,
        }
    }

    /// The body of the request (`application/x-www-form-urlencoded`).
    pub fn to_form(&self) -> String {
        let key = &self.signed_prekey;
        let [_, skey_id @ ..] = key.id.to_be_bytes();
        let bytes = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        Serializer::new(String::new())
            .append_pair("authkey", &bytes(&self.authkey))
            .append_pair("e_keytype", &bytes(&[CURVE25519]))
            .append_pair("e_regid", &bytes(&self.registration_id.to_be_bytes()))
            .append_pair("e_ident", &bytes(&self.identity))
            .append_pair("e_skey_id", &bytes(&skey_id))
            .append_pair("e_skey_val", &bytes(&key.public))
            .append_pair("e_skey_sig", &bytes(&key.signature))
            .append_pair("token", &self.token)
            .finish()
    }

    /// Reads a form and checks every size. Arguments that are not known are passed over, because
    /// the interface grows. The signature is checked by [`EnlistForm::verify`].
    pub fn parse(form: &[u8]) -> Result<Self, FormError> {
        if form.len() > MAX_FORM {
            return Err(FormError::TooLong);
        }
        let arguments = Arguments::read(form)?;
        let authkey = arguments.bytes("authkey")?;
        let [key_type] = arguments.bytes("e_keytype")?;
        if key_type != CURVE25519 {
            return Err(FormError::KeyType(key_type));
        }
        let registration_id = u32::from_be_bytes(arguments.bytes("e_regid")?);
        let identity = arguments.bytes("e_ident")?;
        let [high, middle, low] = arguments.bytes("e_skey_id")?;
        let id = u32::from_be_bytes([0, high, middle, low]);
        if id == 0 || id > MAX_PREKEY_ID {
            return Err(FormError::SignedPreKeyId);
        }
        let public = arguments.bytes("e_skey_val")?;
        let signature = arguments.bytes("e_skey_sig")?;
        let token = arguments.get("token")?.to_owned();
        if token.is_empty() || token.len() > MAX_TOKEN {
            return Err(FormError::TokenSize(token.len()));
        }
        Ok(Self {
            authkey,
            registration_id,
            identity,
            signed_prekey: SignedPreKeyPublic {
                id,
                public,
                signature,
            },
            token,
        })
    }

    /// Checks that the identity signed the prekey.
    pub fn verify(&self) -> Result<(), FormError> {
        self.signed_prekey
            .verify(&self.identity)
            .map_err(|_: SignalError| FormError::Signature)
    }
}

impl fmt::Debug for EnlistForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnlistForm")
            .field("registration_id", &self.registration_id)
            .field("signed_prekey", &self.signed_prekey.id)
            .finish_non_exhaustive()
    }
}

/// All names, in the published order.
const NAMES: [&str; 8] = [
    "authkey",
    "e_keytype",
    "e_regid",
    "e_ident",
    "e_skey_id",
    "e_skey_val",
    "e_skey_sig",
    "token",
];

/// The known arguments of a form.
struct Arguments(Vec<(&'static str, String)>);

impl Arguments {
    fn read(form: &[u8]) -> Result<Self, FormError> {
        let mut known = Vec::with_capacity(NAMES.len());
        for (name, value) in form_urlencoded::parse(form) {
            let Some(name) = NAMES.into_iter().find(|known| *known == name) else {
                continue;
            };
            if known.iter().any(|(before, _)| *before == name) {
                return Err(FormError::Repeated(name));
            }
            known.push((name, value.into_owned()));
        }
        Ok(Self(known))
    }

    fn get(&self, name: &'static str) -> Result<&str, FormError> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
            .ok_or(FormError::Missing(name))
    }

    fn bytes<const N: usize>(&self, name: &'static str) -> Result<[u8; N], FormError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(self.get(name)?)
            .map_err(|_| FormError::Encoding(name))?;
        let size = bytes.len();
        bytes.try_into().map_err(|_| FormError::Size {
            name,
            size,
            expected: N,
        })
    }
}
