//! Published bytes, refusals, and the request against a real HTTP server on loopback.

use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::signal::{Identity, SignedPreKey, SignedPreKeyPublic};

/// A form whose every byte is known.
fn sample() -> EnlistForm {
    EnlistForm {
        authkey: [0xfb; 32],
        registration_id: 0x0102_0304,
        identity: [2; 32],
        signed_prekey: SignedPreKeyPublic {
            id: 0x00ab_cdef,
            public: [3; 32],
            signature: [0xff; 64],
        },
        token: "e30.e30.c2ln".to_owned(),
    }
}

/// The same, as the interface writes it: names, order, base64url without padding.
const SAMPLE: &str = "authkey=-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s\
    &e_keytype=BQ\
    &e_regid=AQIDBA\
    &e_ident=AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI\
    &e_skey_id=q83v\
    &e_skey_val=AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM\
    &e_skey_sig=_____________________________________________________________________________________w\
    &token=e30.e30.c2ln";

#[test]
fn the_form_has_the_published_bytes() {
    assert_eq!(sample().to_form(), SAMPLE);
    assert_eq!(EnlistForm::parse(SAMPLE.as_bytes()), Ok(sample()));
}

#[test]
fn the_answers_have_the_published_bytes() {
    let ok = r#"{"login":"1-10853634039893@interop","status":"ok"}"#;
    let login = "1-10853634039893@interop".parse().expect("address");
    assert_eq!(
        EnlistAnswer::parse(ok.as_bytes()),
        Ok(EnlistAnswer::Ok { login })
    );
    let fail = r#"{"reason":"bad_integrator","status":"fail"}"#;
    let reason = BAD_INTEGRATOR.to_owned();
    assert_eq!(
        EnlistAnswer::parse(fail.as_bytes()),
        Ok(EnlistAnswer::Fail { reason })
    );
    for json in [ok, fail] {
        assert_eq!(
            EnlistAnswer::parse(json.as_bytes())
                .expect("answer")
                .to_json(),
            json
        );
    }
}

#[test]
fn each_refusal_of_a_form_is_named() {
    let parse = |form: &str| EnlistForm::parse(form.as_bytes());
    let without = |name: &str| {
        let kept: Vec<&str> = SAMPLE
            .split('&')
            .filter(|pair| !pair.starts_with(&format!("{name}=")))
            .collect();
        kept.join("&")
    };
    for name in [
        "authkey",
        "e_keytype",
        "e_regid",
        "e_ident",
        "e_skey_id",
        "e_skey_val",
        "e_skey_sig",
        "token",
    ] {
        assert_eq!(parse(&without(name)), Err(FormError::Missing(name)));
        let twice = format!("{SAMPLE}&{name}=BQ");
        assert_eq!(parse(&twice), Err(FormError::Repeated(name)));
        if name != "token" {
            let bad = format!("{}&{name}=***", without(name));
            assert_eq!(parse(&bad), Err(FormError::Encoding(name)));
            let long = format!("{}&{name}={}", without(name), "A".repeat(200));
            assert!(
                matches!(parse(&long), Err(FormError::Size { name: n, size: 150, .. }) if n == name)
            );
        }
    }
    let padded = SAMPLE.replace("e_keytype=BQ", "e_keytype=BQ==");
    assert_eq!(parse(&padded), Err(FormError::Encoding("e_keytype")));
    let other_key = SAMPLE.replace("e_keytype=BQ", "e_keytype=Bg");
    assert_eq!(parse(&other_key), Err(FormError::KeyType(6)));
    let zero = SAMPLE.replace("e_skey_id=q83v", "e_skey_id=AAAA");
    assert_eq!(parse(&zero), Err(FormError::SignedPreKeyId));
    for size in [0, 4097] {
        let token = format!("{}&token={}", without("token"), "a".repeat(size));
        assert_eq!(parse(&token), Err(FormError::TokenSize(size)));
    }
    let longest = format!("{}&token={}", without("token"), "a".repeat(4096));
    assert!(parse(&longest).is_ok());
    assert_eq!(parse(&"x".repeat(MAX_FORM + 1)), Err(FormError::TooLong));
    assert!(
        parse(&format!("{SAMPLE}&e_new_argument=1")).is_ok(),
        "the interface grows"
    );
}

#[test]
fn the_signature_is_checked() {
    let mut rng = StdRng::seed_from_u64(1);
    let identity = Identity::generate(&mut rng);
    let signed = SignedPreKey::generate(1, &identity, &mut rng).expect("id");
    let mut form = EnlistForm::new([1; 32], &identity, signed.public(), "t".to_owned());
    let again = EnlistForm::parse(form.to_form().as_bytes()).expect("form");
    assert_eq!(again, form);
    assert_eq!(again.verify(), Ok(()));
    form.identity = [9; 32];
    assert_eq!(form.verify(), Err(FormError::Signature));
}

#[test]
fn other_answers_are_refused_and_reasons_shown() {
    let parse = |json: &str| EnlistAnswer::parse(json.as_bytes());
    assert_eq!(parse("<html>"), Err(MalformedAnswer::Json));
    assert_eq!(parse("[]"), Err(MalformedAnswer::Json));
    assert_eq!(parse(r#"{"status":"maybe"}"#), Err(MalformedAnswer::Status));
    assert_eq!(parse(r#"{"status":"ok"}"#), Err(MalformedAnswer::Login));
    assert_eq!(
        parse(r#"{"status":"ok","login":"4915112345678@s.whatsapp.net"}"#),
        Err(MalformedAnswer::Login)
    );
    let grown = r#"{"status":"fail","reason":"moon_phase","code":7}"#;
    let Ok(EnlistAnswer::Fail { reason }) = parse(grown) else {
        panic!("a refusal")
    };
    assert!(explain(&reason).contains("moon_phase"));
    assert!(explain(BAD_INTEGRATOR).contains("partner"));
    assert!(explain(&"x\u{7}".repeat(5000)).len() < 300);
}

/// Answers one request with the given bytes, and gives the request back.
async fn serve(answer: String) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}{PATH}", listener.local_addr().expect("address"));
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(b"c2ln") {
            assert_ne!(stream.read_buf(&mut request).await.expect("request"), 0);
        }
        // The client may have heard enough before all is written.
        let _ = stream.write_all(answer.as_bytes()).await;
        request
    });
    (url, served)
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn client() -> reqwest::Client {
    // Another test of this process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("client")
}

#[tokio::test]
async fn both_answers_come_with_status_200() {
    for json in [
        r#"{"login":"1-10853634039893@interop","status":"ok"}"#,
        r#"{"reason":"bad_integrator","status":"fail"}"#,
    ] {
        let (url, served) = serve(http("200 OK", json)).await;
        let answer = enlist(&client(), &url, &sample()).await.expect("answer");
        assert_eq!(answer.to_json(), json);
        let request = String::from_utf8(served.await.expect("served")).expect("text");
        assert!(
            request.starts_with("POST /3p/interop_reg HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains("content-type: application/x-www-form-urlencoded\r\n"));
        assert!(request.ends_with(&format!("\r\n\r\n{SAMPLE}")));
    }
}

#[tokio::test]
async fn failures_say_whether_to_try_again() {
    for (answer, retryable, says) in [
        (http("503 Service Unavailable", ""), true, "503"),
        (http("404 Not Found", ""), false, "404"),
        (http("200 OK", "hello"), false, "not understood"),
        (http("200 OK", &"x".repeat(MAX_ANSWER + 1)), false, "longer"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{".to_owned(),
            true,
            "reached",
        ),
    ] {
        let (url, served) = serve(answer).await;
        let error = enlist(&client(), &url, &sample())
            .await
            .expect_err("no answer");
        assert_eq!(error.is_retryable(), retryable, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        served.await.expect("served");
    }
    let error = enlist(&client(), "http://127.0.0.1:1/", &sample())
        .await
        .expect_err("closed port");
    assert!(error.is_retryable());
}

proptest! {
    #[test]
    fn forms_round_trip(
        authkey: [u8; 32],
        registration_id: u32,
        identity: [u8; 32],
        id in 1..=crate::signal::MAX_PREKEY_ID,
        public: [u8; 32],
        signature in prop::collection::vec(any::<u8>(), 64),
        token in "[ -~]{1,4096}",
    ) {
        let signature = signature.try_into().expect("64 bytes");
        let signed_prekey = SignedPreKeyPublic { id, public, signature };
        let form = EnlistForm { authkey, registration_id, identity, signed_prekey, token };
        prop_assert_eq!(EnlistForm::parse(form.to_form().as_bytes()), Ok(form));
    }

    #[test]
    fn garbage_never_panics(bytes: Vec<u8>) {
        let _ = EnlistForm::parse(&bytes);
        let _ = EnlistAnswer::parse(&bytes);
    }
}
