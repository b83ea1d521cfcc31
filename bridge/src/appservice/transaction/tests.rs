use proptest::prelude::*;
use ruma::{device_id, user_id};
use serde_json::json;

use super::*;

fn parse(body: &serde_json::Value) -> RawTransaction {
    RawTransaction::parse(body.to_string().as_bytes()).expect("a transaction")
}

/// A body as Synapse sends it: everything twice that it doubles.
fn from_synapse() -> serde_json::Value {
    let typing =
        json!({"type": "m.typing", "room_id": "!r:localhost", "content": {"user_ids": []}});
    let counts = json!({
        "@whatsapp_49:localhost": {
            "0gPg7uWOUdGawWPBCqX3/5V9BHUZ3sW+D2YP+J7aeOo": {},
            "GHOSTDEV": {"signed_curve25519": 4}
        }
    });
    json!({
        "events": [{
            "event_id": "$e", "room_id": "!29DR8fnoserver", "sender": "@alice:localhost",
            "type": "m.room.encrypted", "content": {"ciphertext": "AwgA"}, "unsigned": {"age": 1}
        }],
        "ephemeral": [typing],
        "de.sorunome.msc2409.ephemeral": [typing],
        "de.sorunome.msc2409.to_device": [{
            "type": "m.room.encrypted", "sender": "@alice:localhost",
            "to_user_id": "@whatsapp_49:localhost", "to_device_id": "GHOSTDEV", "content": {}
        }],
        "org.matrix.msc3202.device_one_time_key_counts": counts,
        "org.matrix.msc3202.device_one_time_keys_count": counts,
        "org.matrix.msc3202.device_unused_fallback_key_types": {
            "@whatsapp_49:localhost": {"GHOSTDEV": ["signed_curve25519"]}
        },
        "org.matrix.msc3202.device_lists": {"changed": ["@alice:localhost"], "left": []}
    })
}

#[test]
fn synapse_sends_some_things_twice() {
    let transaction = parse(&from_synapse());
    assert_eq!(transaction.unreadable, 0);
    let [event] = transaction.events.as_slice() else {
        panic!("one event")
    };
    assert_eq!(
        (event.event_id.as_str(), event.room_id.as_str()),
        ("$e", "!29DR8fnoserver")
    );
    assert_eq!(
        (event.sender.as_str(), event.kind.as_str()),
        ("@alice:localhost", "m.room.encrypted")
    );
    assert_eq!(event.state_key, None);
    assert_eq!(transaction.ephemeral.len(), 1);
    let [message] = transaction.to_device.as_slice() else {
        panic!("one message")
    };
    assert_eq!(message.to_user_id, "@whatsapp_49:localhost");
    assert_eq!(message.to_device_id, "GHOSTDEV");
    assert_eq!(
        transaction.crypto.device_lists.changed,
        ["@alice:localhost"]
    );
}

#[test]
fn an_event_stays_byte_for_byte() {
    let event = r#"{"type":"m.x" ,  "event_id":"$e","room_id":"!r","sender":"@a:b","n":1.50,"unknown":{"ä":[]}}"#;
    let body = format!(r#"{{"events":[{event}],"org.example":{{"a":1}}}}"#);
    let transaction = RawTransaction::parse(body.as_bytes()).expect("a transaction");
    assert_eq!(transaction.events[0].json.get(), event);
}

#[test]
fn stable_names_are_read_too() {
    let transaction = parse(&json!({
        "events": [],
        "to_device": [{"type": "t", "sender": "@a:b", "to_user_id": "@c:b", "to_device_id": "D", "content": {}}],
        "device_lists": {"changed": ["@a:b"]},
        "device_one_time_keys_count": {"@c:b": {"D": {"signed_curve25519": 50}}},
        "device_unused_fallback_key_types": {"@c:b": {"D": []}}
    }));
    assert_eq!(transaction.to_device.len(), 1);
    let devices: Vec<_> = transaction.crypto.of_devices().collect();
    let [(user, device, keys)] = devices.as_slice() else {
        panic!("one device")
    };
    assert_eq!((*user, *device), (user_id!("@c:b"), device_id!("D")));
    assert_eq!(
        keys.one_time
            .and_then(|counts| counts.get("signed_curve25519")),
        Some(&50)
    );
    assert_eq!(keys.unused_fallback, Some(&[][..]));
}

#[test]
fn an_unreadable_entry_does_not_take_the_others_with_it() {
    let transaction = parse(&json!({
        "events": [
            {"type": "no id"},
            7,
            {"event_id": "$e", "room_id": "!r:b", "sender": "not a user", "type": "m.x"},
            {"event_id": "$ok", "room_id": "!r:b", "sender": "@a:b", "type": "m.x", "state_key": ""}
        ],
        "to_device": null,
        "org.matrix.msc3202.device_lists": "none"
    }));
    assert_eq!(transaction.events.len(), 1);
    assert_eq!(transaction.events[0].state_key.as_deref(), Some(""));
    assert_eq!(transaction.unreadable, 4);
}

#[test]
fn what_is_no_transaction() {
    for body in ["", "{", "nonsense", "{\"events\": [}", "\u{feff}{}"] {
        let error = RawTransaction::parse(body.as_bytes()).expect_err(body);
        assert!(
            matches!(error, MalformedTransaction::NotJson(_)),
            "{body}: {error}"
        );
    }
    for body in [
        "[1]",
        "7",
        "\"text\"",
        "{\"events\": 7}",
        "{\"events\": {\"a\": 1}}",
    ] {
        let error = RawTransaction::parse(body.as_bytes()).expect_err(body);
        assert!(
            matches!(error, MalformedTransaction::BadShape(_)),
            "{body}: {error}"
        );
    }
    assert!(
        RawTransaction::parse(b"{}")
            .expect("nothing")
            .events
            .is_empty()
    );
}

#[test]
fn only_what_asks_for_work_is_kept() {
    let crypto = parse(&from_synapse()).crypto;
    let kept = crypto
        .worth_keeping(5)
        .expect("a changed list and few keys");
    let kept: CryptoChanges = serde_json::from_slice(&kept).expect("JSON");
    assert_eq!(kept.device_lists.changed.len(), 1);
    assert_eq!(kept.of_devices().count(), 1);
    let quiet = CryptoChanges {
        device_lists: DeviceLists::default(),
        ..crypto
    };
    assert!(quiet.worth_keeping(5).is_some());
    assert_eq!(quiet.worth_keeping(4), None);
    // The fallback key was used: a new one is due.
    let mut used = quiet;
    for devices in used.unused_fallback_keys.values_mut() {
        devices.values_mut().for_each(Vec::clear);
    }
    assert!(used.worth_keeping(4).is_some());
}

#[test]
fn debug_shows_no_ids() {
    let shown = format!("{:?}", parse(&from_synapse()).events);
    assert!(
        shown.contains("m.room.encrypted") && !shown.contains("alice") && !shown.contains("AwgA"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = RawTransaction::parse(&body);
    }

    #[test]
    fn no_event_is_lost_or_doubled(ids in proptest::collection::vec("[a-z0-9]{1,8}", 0..20), junk in any::<bool>()) {
        let mut events: Vec<_> = ids
            .iter()
            .map(|id| json!({"event_id": format!("${id}"), "room_id": "!r:b", "sender": "@a:b", "type": "m.x"}))
            .collect();
        if junk {
            events.insert(events.len() / 2, json!({"type": "broken"}));
        }
        let transaction = parse(&json!({ "events": events }));
        let read: Vec<&str> = transaction.events.iter().map(|event| &event.event_id.as_str()[1..]).collect();
        prop_assert_eq!(read, ids);
        prop_assert_eq!(transaction.unreadable, usize::from(junk));
    }
}
