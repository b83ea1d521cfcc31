//! Two ghosts talk through the homeserver.

use std::{sync::Arc, time::Duration};

use assert_matches::assert_matches;
use puppeting::{
    CreatedRoom, DecryptError, GhostProfile, NewRoom, Puppet, PuppetError, RoomEncryption,
    SenderTrust,
};
use ruma::{OwnedRoomId, TransactionId};
use serde_json::{Value, json, value::to_raw_value};
use store::{Batch, ghosts};

use crate::{
    proxy::Proxy,
    rig::{Bridge, body, hear, rig, say, send, user},
};

/// An encrypted room of both.
pub(crate) async fn room_of(a: &Puppet, b: &Puppet, alias: Option<&str>) -> OwnedRoomId {
    let room = NewRoom {
        alias: alias.map(str::to_owned),
        invite: vec![b.user_id().to_owned()],
        is_direct: true,
        encrypted: true,
        ..NewRoom::default()
    };
    let CreatedRoom { room_id, .. } = a.create_room(room).await.unwrap();
    b.join(&room_id).await.unwrap();
    room_id
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ghosts_talk_across_a_restart() {
    let rig = rig().await;
    let proxy = Proxy::start(rig.url()).await;
    let database = rig.database("talk");
    let bridge = Bridge::start(&database, &proxy.url).await;
    let profile = GhostProfile {
        display_name: Some("Bea (WA)".into()),
        ..Default::default()
    };
    let (a_id, b_id) = (user("whatsapp_101"), user("whatsapp_102"));
    let a = bridge.puppets.ensure(&a_id, profile.clone()).await.unwrap();
    let b = bridge.ghost("whatsapp_102").await;

    let device = rig.signed_device(&a_id).await;
    assert_eq!(device.id, a.device_id().as_str());
    let path = format!("/_matrix/client/v3/profile/{a_id}/displayname");
    assert_eq!(rig.ask(&a_id, &path, None).await["displayname"], "Bea (WA)");
    let path = format!("/_matrix/client/v3/keys/upload?device_id={}", device.id);
    let counts = rig.ask(&a_id, &path, Some(json!({}))).await;
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], 10);

    // Ensured again: nothing is asked of the homeserver.
    let before = proxy.seen();
    let again = bridge.puppets.ensure(&a_id, profile).await.unwrap();
    assert!(Arc::ptr_eq(&a, &again));
    assert_eq!(proxy.seen(), before);

    let room = room_of(&a, &b, Some("whatsapp_talk")).await;
    assert!(b.is_encrypted(&room).await.unwrap());
    let twice = NewRoom {
        alias: Some("whatsapp_talk".into()),
        ..NewRoom::default()
    };
    assert_eq!(
        a.create_room(twice).await.unwrap(),
        CreatedRoom {
            room_id: room.clone(),
            existed: true
        }
    );

    assert_matches!(
        a.encrypt(&room, "m.room.message", to_raw_value(&json!({})).unwrap())
            .await,
        Err(PuppetError::NotPrepared)
    );
    let first = say(&a, &room, &[&b], "first").await;
    let missing = hear(&b, &room, &first).await;
    let missing =
        assert_matches!(missing, Err(DecryptError::MissingKey { session_id, .. }) => session_id);
    let keys = bridge.puppets.sweep(&b_id).await.unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!((&keys[0].room_id, &keys[0].session_id), (&room, &missing));
    // What is asked about the sender in the background.
    b.pump().await.unwrap();
    let heard = hear(&b, &room, &first).await.unwrap();
    assert_eq!(body(&heard), "first");
    assert_eq!(heard.trust, SenderTrust::Signed);
    assert_eq!(heard.message_index, 0);

    // The second message needs nobody's keys: one request, the event itself.
    let before = proxy.seen();
    let second = say(&a, &room, &[&b], "second").await;
    assert_eq!(proxy.seen(), before + 1);
    assert_eq!(body(&hear(&b, &room, &second).await.unwrap()), "second");
    assert_eq!(
        bridge.puppets.sweep(&b_id).await.unwrap(),
        [],
        "the inbox is empty"
    );

    drop((a, b, again));
    bridge.end().await;
    let bridge = Bridge::start(&database, &proxy.url).await;
    let a = bridge.puppets.open(&a_id).await.unwrap().unwrap();
    let b = bridge.puppets.open(&b_id).await.unwrap().unwrap();
    assert_eq!(a.device_id().as_str(), device.id);
    assert_eq!(body(&hear(&b, &room, &second).await.unwrap()), "second");
    let third = say(&a, &room, &[&b], "third").await;
    bridge.puppets.sweep(&b_id).await.unwrap();
    let heard = hear(&b, &room, &third).await.unwrap();
    assert_eq!(body(&heard), "third");
    assert_eq!(
        (heard.session_id, heard.message_index),
        (missing, 2),
        "no step of the ratchet is repeated"
    );

    let answer = say(&b, &room, &[&a], "answer").await;
    bridge.puppets.sweep(&a_id).await.unwrap();
    assert_eq!(body(&hear(&a, &room, &answer).await.unwrap()), "answer");
    assert_eq!(
        rig.signed_device(&a_id).await,
        device,
        "nothing was replaced"
    );
    assert!(
        bridge
            .puppets
            .open(&user("whatsapp_999"))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relation_in_the_clear_is_the_one_that_counts() {
    let rig = rig().await;
    let bridge = Bridge::start(&rig.database("relation"), rig.url()).await;
    let (a, b) = (
        bridge.ghost("whatsapp_211").await,
        bridge.ghost("whatsapp_212").await,
    );
    let room = room_of(&a, &b, None).await;
    let changed = say(&a, &room, &[&b], "old").await;
    // As a client encrypts an edit of a message that is still being sent, and sends it when that has its name.
    let relation = |target: &str| json!({ "rel_type": "m.replace", "event_id": target });
    let content = json!({
        "msgtype": "m.text", "body": " * new", "m.new_content": { "msgtype": "m.text", "body": "new" },
        "m.relates_to": relation("~!room:localhost:m1.2"),
    });
    let encrypted = a
        .encrypt(&room, "m.room.message", to_raw_value(&content).unwrap())
        .await
        .unwrap();
    a.commit_with(Batch::new()).await.unwrap();
    let mut clear: Value = serde_json::from_str(encrypted.into_json().get()).unwrap();
    clear["m.relates_to"] = relation(changed.as_str());
    let event = send(&a, &room, to_raw_value(&clear).unwrap()).await;
    b.sweep().await.unwrap();
    let heard = hear(&b, &room, &event).await.unwrap();
    let raw: Value = heard.raw.deserialize_as_unchecked().unwrap();
    assert_eq!(raw["content"]["m.relates_to"], relation(changed.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn relations_rotation_and_refused_batches() {
    let rig = rig().await;
    let bridge = Bridge::start(&rig.database("rotation"), rig.url()).await;
    let (a, b) = (
        bridge.ghost("whatsapp_201").await,
        bridge.ghost("whatsapp_202").await,
    );
    let room = room_of(&a, &b, None).await;
    let to = [b.user_id().to_owned()];
    let encryption = RoomEncryption {
        rotation_messages: 2,
        ..RoomEncryption::default()
    };

    let mut sent = Vec::new();
    for n in 0..5 {
        a.prepare_with(&room, &to, encryption).await.unwrap();
        let mut content = json!({ "msgtype": "m.text", "body": n.to_string() });
        if let Some(last) = sent.last() {
            content["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": last } });
        }
        let content = to_raw_value(&content).unwrap();
        let encrypted = a.encrypt(&room, "m.room.message", content).await.unwrap();
        a.commit_with(Batch::new()).await.unwrap();
        sent.push(send(&a, &room, encrypted.into_json()).await);
    }
    b.sweep().await.unwrap();
    let mut sessions = Vec::new();
    for (n, event) in sent.iter().enumerate() {
        let heard = hear(&b, &room, event).await.unwrap();
        assert_eq!(body(&heard), n.to_string());
        let raw: Value = heard.raw.deserialize_as_unchecked().unwrap();
        let relation = &raw["content"]["m.relates_to"]["m.in_reply_to"]["event_id"];
        assert_eq!(
            relation.as_str(),
            n.checked_sub(1).map(|last| sent[last].as_str())
        );
        sessions.push(heard.session_id);
    }
    sessions.dedup();
    assert_eq!(sessions.len(), 3, "two messages to a key");

    // A batch that its own guard refuses takes nothing with it but itself.
    let mut refused = Batch::new();
    ghosts::set_stage(&mut refused, "@nobody:localhost", ghosts::Stage::Signed);
    a.prepare(&room, &to).await.unwrap();
    let content = to_raw_value(&json!({ "msgtype": "m.text", "body": "lost" })).unwrap();
    a.encrypt(&room, "m.room.message", content).await.unwrap();
    let error = a.commit_with(refused).await.unwrap_err();
    assert_matches!(&error, PuppetError::Store(error) if error.is_conflict());
    let after = say(&a, &room, &[&b], "after").await;
    b.sweep().await.unwrap();
    assert_eq!(body(&hear(&b, &room, &after).await.unwrap()), "after");

    // Rotation on demand.
    a.rotate(&room).await.unwrap();
    let rotated = say(&a, &room, &[&b], "rotated").await;
    b.sweep().await.unwrap();
    let rotated = hear(&b, &room, &rotated).await.unwrap();
    assert_ne!(
        rotated.session_id,
        hear(&b, &room, &after).await.unwrap().session_id
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_room_as_a_ghost_sees_it() {
    let rig = rig().await;
    let bridge = Bridge::start(&rig.database("room"), rig.url()).await;
    let bot = bridge.puppets.bot(Some("WhatsApp bridge")).await.unwrap();
    rig.signed_device(bot.user_id()).await;
    let a = bridge.ghost("whatsapp_301").await;
    let levels = json!({ "events_default": 0, "state_default": 50 });
    for version in ["11", "12"] {
        let room = NewRoom {
            encrypted: true,
            version: Some(version.to_owned()),
            power_levels: Some(levels.clone()),
            state: vec![(
                "m.bridge".into(),
                "gatehouse".into(),
                json!({ "protocol": {} }),
            )],
            ..NewRoom::default()
        };
        let room = bot.create_room(room).await.unwrap().room_id;
        bot.invite(&room, a.user_id()).await.unwrap();
        bot.invite(&room, a.user_id()).await.unwrap();
        assert_eq!(
            bot.membership(&room, a.user_id()).await.unwrap().as_deref(),
            Some("invite")
        );
        a.join(&room).await.unwrap();
        bot.invite(&room, a.user_id()).await.unwrap();
        assert_eq!(bot.joined_members(&room).await.unwrap().len(), 2);

        let members = json!({ "service_members": [bot.user_id()] });
        bot.put_state(&room, "io.element.functional_members", "", &members)
            .await
            .unwrap();
        let got = a
            .get_state(&room, "io.element.functional_members", "")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(serde_json::from_str::<Value>(got.get()).unwrap(), members);
        assert!(a.get_state(&room, "m.nothing", "").await.unwrap().is_none());

        let event = say(&a, &room, &[&bot], "hello").await;
        bot.read(&room, &event).await.unwrap();
        bot.typing(&room, Some(Duration::from_secs(5)))
            .await
            .unwrap();
        bot.typing(&room, None).await.unwrap();
        let txn = TransactionId::new();
        let redaction = a.redact(&room, &event, &txn, Some("test")).await.unwrap();
        assert_eq!(
            a.redact(&room, &event, &txn, Some("test")).await.unwrap(),
            redaction
        );

        let txn = TransactionId::new();
        let ts = ruma::MilliSecondsSinceUnixEpoch(1_600_000_000_000_u64.try_into().unwrap());
        let content = || to_raw_value(&json!({ "msgtype": "m.notice", "body": "old" })).unwrap();
        let old = a
            .send(&room, &txn, "m.room.message", content(), Some(ts))
            .await
            .unwrap();
        let same = a
            .send(&room, &txn, "m.room.message", content(), Some(ts))
            .await
            .unwrap();
        assert_eq!(old, same, "one transaction id, one event");
        let got = bot.get_event(&room, &old).await.unwrap().unwrap();
        assert_eq!(
            got.get_field::<u64>("origin_server_ts").unwrap(),
            Some(1_600_000_000_000)
        );
        assert!(
            bot.get_event(&room, ruma::event_id!("$none"))
                .await
                .unwrap()
                .is_none()
        );

        bot.kick(&room, a.user_id(), "test").await.unwrap();
        bot.leave(&room, None).await.unwrap();
    }
    let alias = ruma::room_alias_id!("#whatsapp_nothing:localhost");
    assert_eq!(bot.resolve_alias(alias).await.unwrap(), None);
}
