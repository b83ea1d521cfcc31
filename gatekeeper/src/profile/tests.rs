use std::time::Duration;

use super::*;
use crate::{
    stanza::Jid,
    stanzas::{Enc, EncType, Failure, IqError, Receipt, ReceiptKind, StreamError},
};

fn profile() -> Profile {
    Profile::default()
}

#[test]
fn defaults_are_consistent_and_survive_the_configuration() {
    let profile = profile();
    assert_eq!(profile.check(), Ok(()));
    let json = serde_json::to_string(&profile).unwrap();
    assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile);
    assert_eq!(serde_json::from_str::<Profile>("{}").unwrap(), profile);
}

#[test]
fn unknown_keys_are_refused() {
    for json in [
        r#"{"tokens":{}}"#,
        r#"{"chat":{"origin":""}}"#,
        r#"{"limits":{"pong":1}}"#,
    ] {
        let error = serde_json::from_str::<Profile>(json).unwrap_err();
        assert!(error.to_string().contains("unknown field"), "{error}");
    }
}

#[test]
fn contradictions_name_their_key() {
    let key = |json: &str| {
        let profile: Profile = serde_json::from_str(json).unwrap();
        profile.check().unwrap_err().key
    };
    assert_eq!(
        key(r#"{"limits":{"keepalive_min_seconds":40}}"#),
        "limits.keepalive_min_seconds"
    );
    assert_eq!(key(r#"{"limits":{"pong_seconds":0}}"#), "limits");
    assert_eq!(key(r#"{"limits":{"query_seconds":100000}}"#), "limits");
    assert_eq!(key(r#"{"offline":{"batch":0}}"#), "offline.batch");
    assert_eq!(key(r#"{"login":{"version":[]}}"#), "login.version");
    assert_eq!(key(r#"{"keys":{"batch":0}}"#), "keys.batch");
    assert_eq!(
        key(r#"{"keys":{"keep_signed_days":29}}"#),
        "keys.keep_signed_days"
    );
    assert_eq!(
        key(r#"{"token":{"lifetime_seconds":0}}"#),
        "token.lifetime_seconds"
    );
    assert_eq!(
        key(r#"{"token":{"identifier_claim":"aud"}}"#),
        "token.identifier_claim"
    );
    assert_eq!(key(r#"{"token":{"extra":{"exp":1}}}"#), "token.extra");
    assert_eq!(
        key(r#"{"chat":{"websocket_path":"ws"}}"#),
        "chat.websocket_path"
    );
}

#[test]
fn trust_root_is_hexadecimal() {
    let json = format!(r#"{{"chat":{{"trust_root":"{}"}}}}"#, "ab".repeat(32));
    let profile: Profile = serde_json::from_str(&json).unwrap();
    assert_eq!(profile.chat.trust_root.0, [0xab; 32]);
    let error = serde_json::from_str::<Profile>(r#"{"chat":{"trust_root":"ab"}}"#).unwrap_err();
    assert!(
        error.to_string().contains("64 hexadecimal digits"),
        "{error}"
    );
}

#[test]
fn phone_numbers_come_from_phone_addresses_alone() {
    let profile = profile();
    let phone = |text: &str| profile.phone_of(&text.parse().unwrap());
    assert_eq!(
        phone("14155551001@s.whatsapp.net").as_deref(),
        Some("+14155551001")
    );
    assert_eq!(
        phone("14155551001:3@s.whatsapp.net").as_deref(),
        Some("+14155551001")
    );
    assert_eq!(phone("14155551001@lid"), None);
    assert_eq!(phone("1-14155551001@interop"), None);
    assert_eq!(phone("s.whatsapp.net"), None);
    assert_eq!(phone("14x@s.whatsapp.net"), None);

    assert_eq!(profile.jid_of("+14155551001"), None);
    let direct: Profile = serde_json::from_str(r#"{"directory":{"lookup":"direct"}}"#).unwrap();
    assert_eq!(
        direct.jid_of("+14155551001"),
        Some(Jid::phone("14155551001"))
    );
    assert_eq!(direct.jid_of("14155551001"), None);
    assert_eq!(direct.jid_of("+"), None);
}

#[test]
fn failures_are_classified() {
    let profile = profile();
    let class = |reason| profile.classify_failure(&Failure::new(reason));
    assert!(matches!(class(401), FailureClass::ReEnlist(text) if text.contains("enlist again")));
    assert!(matches!(class(415), FailureClass::ReEnlist(_)));
    for reason in [403, 405, 406, 409] {
        assert!(matches!(class(reason), FailureClass::Fatal(_)), "{reason}");
    }
    for reason in [0, 400, 402, 413, 414, 418, 500, 501, 503, 999] {
        assert_eq!(class(reason), FailureClass::Retry(None), "{reason}");
    }
    let banned = Failure {
        code: Some(101),
        expire: Some(3600),
        ..Failure::new(402)
    };
    assert_eq!(
        profile.classify_failure(&banned),
        FailureClass::Retry(Some(Duration::from_secs(3600)))
    );
    let mad = Failure {
        expire: Some(u64::MAX),
        ..banned
    };
    let FailureClass::Retry(Some(wait)) = profile.classify_failure(&mad) else {
        panic!("a wait")
    };
    assert!(std::time::Instant::now().checked_add(wait).is_some());
}

#[test]
fn stream_errors_are_classified() {
    let profile = profile();
    let class = |error: &StreamError| profile.classify_stream_error(error);
    assert_eq!(class(&StreamError::code(515)), FailureClass::Reconnect);
    assert_eq!(class(&StreamError::code(503)), FailureClass::Retry(None));
    assert_eq!(class(&StreamError::default()), FailureClass::Retry(None));
    assert_eq!(class(&StreamError::replaced()), FailureClass::Replaced);
    let removed = StreamError {
        code: Some(401),
        conflict: Some("device_removed".to_owned()),
    };
    assert!(matches!(class(&removed), FailureClass::ReEnlist(_)));
}

#[test]
fn refusals_of_queries_and_messages_are_classified() {
    let profile = profile();
    assert_eq!(profile.classify_ack(463), RefusalClass::Retry(None));
    assert!(matches!(profile.classify_ack(479), RefusalClass::Final(_)));
    assert!(matches!(profile.classify_ack(404), RefusalClass::Final(text) if text.contains("404")));
    let busy = IqError {
        code: 404,
        text: None,
        backoff: Some(7),
    };
    assert_eq!(
        profile.classify_query(&busy),
        RefusalClass::Retry(Some(Duration::from_secs(7)))
    );
}

#[test]
fn an_unknown_reason_against_enlisting_is_shown() {
    let profile = profile();
    let RefusalClass::Final(text) = profile.classify_enlistment("too_\u{7}young") else {
        panic!("final");
    };
    assert!(text.contains("too_young"));
    assert!(matches!(
        profile.classify_enlistment("bad_integrator"),
        RefusalClass::Final(text) if text.contains("bad_integrator")
    ));
    let patient: Profile =
        serde_json::from_str(r#"{"failures":{"retry_enlistment":["busy"]}}"#).unwrap();
    assert_eq!(
        patient.classify_enlistment("busy"),
        RefusalClass::Retry(None)
    );
}

#[test]
fn claims_name_the_user() {
    let claims = profile()
        .token
        .claims("https://example.org", "@alice:example.org", 100);
    insta::assert_json_snapshot!(claims, @r#"
    {
      "iss": "https://example.org",
      "aud": "WHATSAPP",
      "sub": "@alice:example.org",
      "iat": 100,
      "exp": 3700
    }
    "#);
    let other: Profile =
        serde_json::from_str(r#"{"token":{"identifier_claim":"user","extra":{"region":"EU"}}}"#)
            .unwrap();
    let claims = other.token.claims("i", "@alice:example.org", 100);
    assert_eq!(claims.sub, None);
    assert_eq!(claims.extra["user"], "@alice:example.org");
    assert_eq!(claims.extra["region"], "EU");
}

#[test]
fn messages_take_the_form_of_the_profile() {
    let to = Jid::phone("14155551001");
    let enc = Enc::new(EncType::Msg, vec![1, 2, 3]);
    let short = profile()
        .message
        .message(to.clone(), "A", "text", enc.clone());
    assert_eq!(
        (short.encs.len(), short.participants.len(), &short.phash),
        (1, 0, &None)
    );

    let long: Profile =
        serde_json::from_str(r#"{"message":{"participants":true,"phash":true}}"#).unwrap();
    let long = long.message.message(to.clone(), "A", "text", enc.clone());
    assert_eq!((long.encs.len(), long.participants.len()), (0, 1));
    assert_eq!(long.encs_for(&to), [enc]);
    assert!(long.phash.unwrap().starts_with("2:"));
}

#[test]
fn a_message_that_is_safe_is_receipted_and_acknowledged_if_wanted() {
    let enc = Enc::new(EncType::Msg, vec![1]);
    let message = crate::stanzas::IncomingMessage::text(Jid::phone("14155551001"), "A", 5, enc);
    let tags = |profile: &Profile| -> Vec<String> {
        profile
            .taken(&message)
            .into_iter()
            .map(|node| node.tag)
            .collect()
    };
    assert_eq!(tags(&profile()), ["receipt"]);
    let both: Profile =
        serde_json::from_str(r#"{"offline":{"receipt_replaces_ack":false}}"#).unwrap();
    assert_eq!(tags(&both), ["receipt", "ack"]);
}

#[test]
fn receipts_are_gathered_or_single() {
    let peer = Jid::phone("14155551001");
    let ids = || vec!["A".to_owned(), "B".to_owned()];
    let list = profile()
        .message
        .receipts(&peer, &ReceiptKind::Read, ids(), Some(5));
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].ids, ids());
    let single: Profile = serde_json::from_str(r#"{"message":{"receipt_lists":false}}"#).unwrap();
    let single = single
        .message
        .receipts(&peer, &ReceiptKind::Read, ids(), Some(5));
    assert_eq!(
        single.iter().map(Receipt::id).collect::<Vec<_>>(),
        ["A", "B"]
    );
    assert!(
        profile()
            .message
            .receipts(&peer, &ReceiptKind::Read, vec![], None)
            .is_empty()
    );
}

#[test]
fn kinds_that_whatsapp_does_not_show() {
    assert!(profile().message.accepts("text"));
    assert!(!profile().message.accepts("poll"));
}
