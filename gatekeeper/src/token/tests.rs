//! Issue, publish, rotate, refuse.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_688_669_232;
const AUDIENCE: &str = "https://integrator.com";

/// RSA keys take a while to make; one does for most tests.
static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().expect("key"));
static OTHER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().expect("key"));

fn published(keys: &[&SigningKey]) -> Jwks {
    Jwks {
        keys: keys.iter().map(|key| key.jwk().clone()).collect(),
    }
}

fn claims() -> Claims {
    Claims::new("https://bridge.example", AUDIENCE, NOW, 3600).about("@alice:example.org")
}

/// One part of a token, as JSON.
fn part(token: &str, at: usize) -> serde_json::Value {
    let part = token.split('.').nth(at).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

#[test]
fn the_key_set_has_the_published_shape() {
    let set = serde_json::to_string(&published(&[&KEY])).expect("JSON");
    let jwk = KEY.jwk();
    assert_eq!(
        set,
        format!(
            r#"{{"keys":[{{"kid":"{}","kty":"RSA","alg":"RS256","use":"sig","n":"{}","e":"AQAB"}}]}}"#,
            jwk.kid, jwk.n
        )
    );
    assert_eq!(
        URL_SAFE_NO_PAD.decode(&jwk.n).expect("base64url").len(),
        256
    );
    let read: Jwks = serde_json::from_str(&set).expect("reads its own");
    assert_eq!(read, published(&[&KEY]));
}

#[test]
fn a_set_with_other_keys_is_read() {
    let jwk = KEY.jwk();
    let set = format!(
        r#"{{"extra":1,"keys":[{{"kty":"EC","crv":"P-256","kid":"x","x":"AA","y":"AA"}},
            {{"kid":"enc","kty":"RSA","use":"enc","n":"{0}","e":"AQAB"}},
            {{"kid":"bare","kty":"RSA","n":"{0}","e":"AQAB","x5t":"zz"}}]}}"#,
        jwk.n
    );
    let set: Jwks = serde_json::from_str(&set).expect("reads");
    assert_eq!(
        set.keys
            .iter()
            .map(|key| key.kid.as_str())
            .collect::<Vec<_>>(),
        ["bare"]
    );
}

#[test]
fn an_identity_token_is_issued_and_verified() {
    let token = KEY.issue(&claims()).expect("token");
    assert_eq!(
        part(&token, 0),
        serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": KEY.kid()})
    );
    assert_eq!(
        part(&token, 1),
        serde_json::json!({
            "iss": "https://bridge.example", "aud": AUDIENCE, "sub": "@alice:example.org",
            "iat": NOW, "exp": NOW + 3600,
        })
    );
    assert_eq!(
        verify(&token, &published(&[&OTHER, &KEY]), AUDIENCE, NOW),
        Ok(claims())
    );
}

/// The decoded sample of the published push request: header and claims, to the member.
#[test]
fn the_push_token_has_the_published_header_and_claims() {
    let key = KEY.clone().named("1aXf8");
    let token = key
        .issue(&Claims::new("WHATSAPP", AUDIENCE, NOW, 3600))
        .expect("token");
    assert_eq!(
        part(&token, 0),
        serde_json::json!({"alg": "RS256", "kid": "1aXf8", "typ": "JWT"})
    );
    assert_eq!(
        part(&token, 1),
        serde_json::json!({
            "iss": "WHATSAPP", "aud": "https://integrator.com",
            "iat": 1_688_669_232, "exp": 1_688_672_832,
        })
    );
    let keys = published(&[&key]);
    let claims = verify(&token, &keys, AUDIENCE, NOW).expect("valid");
    assert_eq!((claims.iss.as_str(), claims.sub), ("WHATSAPP", None));
}

#[test]
fn each_refusal_is_named() {
    let keys = published(&[&KEY]);
    let token = KEY.issue(&claims()).expect("token");
    let check = |token: &str, audience: &str, now: u64| verify(token, &keys, audience, now).err();

    assert_eq!(
        check(&token, "https://elsewhere.example", NOW),
        Some(VerifyError::Audience)
    );
    assert_eq!(
        check(&token, AUDIENCE, NOW + 3600 + CLOCK_SKEW),
        Some(VerifyError::Expired)
    );
    assert_eq!(check(&token, AUDIENCE, NOW + 3599 + CLOCK_SKEW), None);
    assert_eq!(
        check(&token, AUDIENCE, NOW - CLOCK_SKEW - 1),
        Some(VerifyError::NotYetValid)
    );
    assert_eq!(check(&token, AUDIENCE, NOW - CLOCK_SKEW), None);

    let strange = OTHER.issue(&claims()).expect("token");
    assert_eq!(
        check(&strange, AUDIENCE, NOW),
        Some(VerifyError::UnknownKid)
    );
    let forged = OTHER
        .clone()
        .named(KEY.kid())
        .issue(&claims())
        .expect("token");
    assert_eq!(check(&forged, AUDIENCE, NOW), Some(VerifyError::Signature));

    let (head, signature) = token.rsplit_once('.').expect("three parts");
    let (header, _) = head.split_once('.').expect("three parts");
    let mut raised = claims();
    raised.sub = Some("@bob:example.org".to_owned());
    let raised = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&raised).expect("JSON"));
    let swapped = format!("{header}.{raised}.{signature}");
    assert_eq!(check(&swapped, AUDIENCE, NOW), Some(VerifyError::Signature));

    for bad in ["", "a.b", "a.b.c", "....", "e30.e30.", header] {
        assert_eq!(
            check(bad, AUDIENCE, NOW),
            Some(VerifyError::Malformed),
            "{bad:?}"
        );
    }
    let long = "a".repeat(MAX_TOKEN + 1);
    assert_eq!(
        check(&long, AUDIENCE, NOW),
        Some(VerifyError::TooLong {
            size: MAX_TOKEN + 1
        })
    );
}

#[test]
fn other_algorithms_are_refused() {
    let keys = published(&[&KEY]);
    let encode = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims()).expect("JSON"));
    let none = encode(serde_json::json!({"alg": "none", "kid": KEY.kid()}));
    assert_eq!(
        verify(&format!("{none}.{body}."), &keys, AUDIENCE, NOW),
        Err(VerifyError::Algorithm)
    );
    // The public key as the secret of a symmetric signature.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(KEY.kid().to_owned());
    let secret = EncodingKey::from_secret(KEY.jwk().n.as_bytes());
    let symmetric = jsonwebtoken::encode(&header, &claims(), &secret).expect("token");
    assert_eq!(
        verify(&symmetric, &keys, AUDIENCE, NOW),
        Err(VerifyError::Algorithm)
    );
    let nameless = encode(serde_json::json!({"alg": "RS256"}));
    assert_eq!(
        verify(&format!("{nameless}.{body}.c2ln"), &keys, AUDIENCE, NOW),
        Err(VerifyError::NoKid)
    );
}

#[test]
fn a_token_over_4_kib_is_not_issued() {
    let mut long = claims();
    long.extra
        .insert("note".to_owned(), "x".repeat(4000).into());
    let Err(TokenError::TooLong { size }) = KEY.issue(&long) else {
        panic!("must be refused")
    };
    assert!(size > MAX_TOKEN);
    assert!(TokenError::TooLong { size }.to_string().contains("shorten"));
    long.extra
        .insert("note".to_owned(), "x".repeat(2000).into());
    let token = KEY.issue(&long).expect("below the limit");
    assert_eq!(verify(&token, &published(&[&KEY]), AUDIENCE, NOW), Ok(long));
}

#[test]
fn several_audiences_are_read() {
    let mut many = claims();
    many.aud.push("https://second.example".to_owned());
    let token = KEY.issue(&many).expect("token");
    let keys = published(&[&KEY]);
    assert_eq!(
        verify(&token, &keys, "https://second.example", NOW),
        Ok(many)
    );
    let mut nobody = claims();
    nobody.aud.clear();
    let token = KEY.issue(&nobody).expect("token");
    assert_eq!(
        verify(&token, &keys, AUDIENCE, NOW),
        Err(VerifyError::Audience)
    );
}

#[test]
fn keys_rotate_by_name() {
    let mut ring = KeyRing::default();
    assert_eq!(ring.issue(&claims()), Err(TokenError::NoKey));
    ring.add(KEY.clone(), NOW - 100);
    let before = ring.issue(&claims()).expect("token");
    ring.add(OTHER.clone(), NOW);
    assert_eq!(
        ring.signer(NOW).expect("key").kid(),
        OTHER.kid(),
        "the newest signs"
    );
    let after = ring.issue(&claims()).expect("token");
    for token in [&before, &after] {
        assert!(
            verify(token, &ring.jwks(), AUDIENCE, NOW).is_ok(),
            "both are published"
        );
    }
    ring.retire(KEY.kid());
    assert_eq!(
        verify(&before, &ring.jwks(), AUDIENCE, NOW),
        Err(VerifyError::UnknownKid)
    );
    assert!(verify(&after, &ring.jwks(), AUDIENCE, NOW).is_ok());
}

#[test]
fn a_new_key_is_published_before_it_signs() {
    let mut ring = KeyRing::new(600);
    ring.add(KEY.clone(), NOW);
    assert_eq!(
        ring.signer(NOW).expect("key").kid(),
        KEY.kid(),
        "the only key signs at once"
    );
    ring.add(OTHER.clone(), NOW + 1000);
    assert_eq!(ring.jwks().keys.len(), 2);
    assert_eq!(ring.signer(NOW + 1599).expect("key").kid(), KEY.kid());
    assert_eq!(ring.signer(NOW + 1600).expect("key").kid(), OTHER.kid());
    assert_eq!(
        ring.keys().map(|(created, _)| created).collect::<Vec<_>>(),
        [NOW, NOW + 1000]
    );
}

#[test]
fn a_stored_key_reads_back_and_is_not_shown() {
    let again = SigningKey::from_pkcs8(KEY.to_pkcs8()).expect("key");
    assert_eq!(again.jwk(), KEY.jwk());
    let token = again.issue(&claims()).expect("token");
    assert!(verify(&token, &published(&[&KEY]), AUDIENCE, NOW).is_ok());
    assert_eq!(
        SigningKey::from_pkcs8(b"not a key").err(),
        Some(TokenError::BadKey)
    );
    let shown = format!("{:?}", *KEY);
    assert!(shown.len() < 100 && shown.contains(KEY.kid()), "{shown}");
}

proptest! {
    #[test]
    fn garbage_never_panics(token in "[A-Za-z0-9_.-]{0,300}") {
        prop_assert!(verify(&token, &published(&[&KEY]), AUDIENCE, NOW).is_err());
    }
}
