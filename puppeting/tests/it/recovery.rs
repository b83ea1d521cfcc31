//! Crashes, lost answers, lost databases.

use assert_matches::assert_matches;
use puppeting::{GhostProfile, PuppetError, PuppetOptions, ToDevice, TransactionKeys};
use ruma::serde::Raw;
use serde_json::json;
use store::{
    Batch,
    ghosts::{self, Ghost, Stage},
};

use crate::{
    conversation::room_of,
    proxy::{Loss, Proxy},
    rig::{Bridge, body, hear, rig, say, user},
};

/// Whichever request is lost, and on whichever way, the next life of the process finishes the ghost.
#[tokio::test(flavor = "multi_thread")]
async fn every_step_can_be_lost() {
    let rig = rig().await;
    let proxy = Proxy::start(rig.url()).await;
    let database = rig.database("steps");
    let mut last = None;
    for loss in [Loss::Request, Loss::Answer] {
        for nth in 1.. {
            let name = format!("whatsapp_4{}{nth:02}", loss as u8);
            let profile = GhostProfile {
                display_name: Some("Bea".into()),
                ..GhostProfile::default()
            };
            let bridge = Bridge::start(&database, &proxy.url).await;
            proxy.lose(nth, loss);
            let first = bridge.puppets.ensure(&user(&name), profile.clone()).await;
            if !proxy.lost() {
                assert!(nth > 6, "the ghost took {nth} requests only");
                proxy.spare();
                bridge.end().await;
                break;
            }
            let error = first.expect_err("a lost request is an error");
            assert!(error.is_retryable(), "{error}");
            bridge.end().await;

            let bridge = Bridge::start(&database, &proxy.url).await;
            let ghost = bridge.puppets.ensure(&user(&name), profile).await.unwrap();
            let device = rig.signed_device(ghost.user_id()).await;
            assert_eq!(device.id, ghost.device_id().as_str(), "{loss:?} {nth}");
            drop(ghost);
            bridge.end().await;
            last = Some(name);
        }
    }
    // And they can be talked to.
    let bridge = Bridge::start(&database, &proxy.url).await;
    let a = bridge
        .puppets
        .open(&user(&last.unwrap()))
        .await
        .unwrap()
        .unwrap();
    let b = bridge
        .puppets
        .open(&user("whatsapp_4005"))
        .await
        .unwrap()
        .unwrap();
    let room = room_of(&a, &b, None).await;
    let event = say(&a, &room, &[&b], "after all").await;
    b.sweep().await.unwrap();
    assert_eq!(body(&hear(&b, &room, &event).await.unwrap()), "after all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_leaves_no_dead_device() {
    let rig = rig().await;
    let bridge = Bridge::start(&rig.database("before"), rig.url()).await;
    let ghost = bridge.ghost("whatsapp_501").await;
    let old = rig.signed_device(ghost.user_id()).await;
    drop(ghost);
    bridge.end().await;

    let bridge = Bridge::start(&rig.database("after"), rig.url()).await;
    let a = bridge.ghost("whatsapp_501").await;
    let b = bridge.ghost("whatsapp_502").await;
    let new = rig.signed_device(a.user_id()).await;
    assert_ne!(new.id, old.id);
    let room = room_of(&a, &b, None).await;
    let event = say(&b, &room, &[&a], "still there?").await;
    a.sweep().await.unwrap();
    assert_eq!(
        body(&hear(&a, &room, &event).await.unwrap()),
        "still there?"
    );
}

/// The other side gets a new device while this side's machine is open, once more while it is closed, and one of which this side
/// does not hear.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_gets_the_next_key() {
    let rig = rig().await;
    // Two bridges on one homeserver stand for two parties that know nothing of each other's database.
    let ours = Bridge::start(&rig.database("ours"), rig.url()).await;
    let theirs = Bridge::start(&rig.database("theirs"), rig.url()).await;
    let a = ours.ghost("whatsapp_551").await;
    let b = theirs.ghost("whatsapp_552").await;
    let room = room_of(&a, &b, None).await;
    let event = say(&a, &room, &[&b], "to the first device").await;
    b.sweep().await.unwrap();
    assert_eq!(
        body(&hear(&b, &room, &event).await.unwrap()),
        "to the first device"
    );
    let changed = serde_json::json!({
        "org.matrix.msc3202.device_lists": { "changed": [b.user_id()], "left": [] },
    });
    let changed: TransactionKeys = serde_json::from_value(changed).unwrap();
    let a_id = a.user_id().to_owned();
    drop((a, b));
    theirs.end().await;

    let theirs = Bridge::start(&rig.database("theirs2"), rig.url()).await;
    let b = theirs.ghost("whatsapp_552").await;
    ours.puppets.receive(&changed, Vec::new()).await.unwrap();
    let a = ours.puppets.open(&a_id).await.unwrap().unwrap();
    let event = say(&a, &room, &[&b], "to the second device").await;
    b.sweep().await.unwrap();
    assert_eq!(
        body(&hear(&b, &room, &event).await.unwrap()),
        "to the second device"
    );
    drop((a, b));
    theirs.end().await;
    ours.end().await;

    let theirs = Bridge::start(&rig.database("theirs3"), rig.url()).await;
    let b = theirs.ghost("whatsapp_552").await;
    let ours = Bridge::start(&rig.database("ours"), rig.url()).await;
    ours.puppets.receive(&changed, Vec::new()).await.unwrap();
    assert!(
        ours.puppets.opened().await.is_empty(),
        "a changed list opens no machine"
    );
    let a = ours.puppets.open(&a_id).await.unwrap().unwrap();
    let event = say(&a, &room, &[&b], "to the third device").await;
    b.sweep().await.unwrap();
    assert_eq!(
        body(&hear(&b, &room, &event).await.unwrap()),
        "to the third device"
    );
    drop(b);
    theirs.end().await;

    // Of this one nobody tells.
    let theirs = Bridge::start(&rig.database("theirs4"), rig.url()).await;
    let b = theirs.ghost("whatsapp_552").await;
    ours.puppets.doubt_devices();
    let a = ours.puppets.open(&a_id).await.unwrap().unwrap();
    let event = say(&a, &room, &[&b], "to the fourth device").await;
    b.sweep().await.unwrap();
    assert_eq!(
        body(&hear(&b, &room, &event).await.unwrap()),
        "to the fourth device"
    );
}

/// A ghost whose keys are damaged keeps nobody else's from them, and no changes of device lists either.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_ghost_fails_alone() {
    let rig = rig().await;
    let database = rig.database("damaged");
    let bridge = Bridge::start(&database, rig.url()).await;
    let mut messages = Vec::new();
    for name in ["whatsapp_571", "whatsapp_572"] {
        let ghost = bridge.ghost(name).await;
        let event = json!({"type": "m.dummy", "sender": "@anna:localhost", "content": {}});
        messages.push(ToDevice {
            user: ghost.user_id().to_owned(),
            device: ghost.device_id().to_owned(),
            event: Raw::from_json_string(event.to_string()).unwrap(),
        });
    }
    bridge.end().await;
    let damage =
        "UPDATE crypto_kv SET v = x'00' WHERE kind = 'account' AND acct LIKE '@whatsapp_571:%'";
    let url = format!("sqlite:{}", database.display());
    tests::database::execute(&url, damage).await.unwrap();

    let bridge = Bridge::start(&database, rig.url()).await;
    let nothing = TransactionKeys::default();
    let received = bridge.puppets.receive(&nothing, messages).await.unwrap();
    let [(failed, error)] = received.failed.as_slice() else {
        panic!("one fails: {received:?}");
    };
    assert_eq!(failed.localpart(), "whatsapp_571");
    assert!(!error.is_retryable(), "{error}");
    let changed =
        json!({"org.matrix.msc3202.device_lists": {"changed": ["@anna:localhost"], "left": []}});
    let changed: TransactionKeys = serde_json::from_value(changed).unwrap();
    let received = bridge.puppets.receive(&changed, Vec::new()).await.unwrap();
    assert!(received.failed.is_empty(), "{received:?}");
}

/// More ghosts than machines may be open: all can still talk.
#[tokio::test(flavor = "multi_thread")]
async fn few_machines_serve_many_ghosts() {
    let rig = rig().await;
    let options = PuppetOptions {
        open_machines: 1,
        ..PuppetOptions::default()
    };
    let bridge = Bridge::with(&rig.database("few"), rig.url(), options).await;
    let names = ["whatsapp_561", "whatsapp_562", "whatsapp_563"];
    for name in names {
        bridge.ghost(name).await;
    }
    bridge.puppets.close_idle();
    assert!(bridge.puppets.opened().await.len() <= 1);
    let [a, b, c] = names.map(user);
    let open = async |user| bridge.puppets.open(user).await.unwrap().unwrap();
    let room = room_of(&*open(&a).await, &*open(&b).await, None).await;
    for (from, to) in [(&a, &b), (&b, &a), (&a, &b)] {
        let to = open(to).await;
        let event = say(&open(from).await, &room, &[&to], "hello").await;
        drop(to);
        // Others come in between.
        drop(open(&c).await);
        let to = open(if from == &a { &b } else { &a }).await;
        to.sweep().await.unwrap();
        assert_eq!(body(&hear(&to, &room, &event).await.unwrap()), "hello");
    }
}

/// A database that is older than the device it names: its one-time keys are taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_other_keys_is_replaced() {
    let rig = rig().await;
    let bridge = Bridge::start(&rig.database("newer"), rig.url()).await;
    let ghost = bridge.ghost("whatsapp_601").await;
    let taken = ghost.device_id().to_string();
    drop(ghost);
    bridge.end().await;

    let bridge = Bridge::start(&rig.database("older"), rig.url()).await;
    let mut batch = Batch::new();
    let row = Ghost {
        mxid: user("whatsapp_601").to_string(),
        phone: None,
        peer: None,
        device_id: taken.clone(),
        stage: Stage::Device,
        display_name: None,
        created_ts: 0,
    };
    ghosts::put(&mut batch, &row);
    bridge.store.commit(batch).await.unwrap();
    let ghost = bridge.ghost("whatsapp_601").await;
    assert_ne!(ghost.device_id().as_str(), taken);
    let device = rig.signed_device(ghost.user_id()).await;
    assert_eq!(device.id, ghost.device_id().as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_names_and_dead_servers_get_clear_errors() {
    let rig = rig().await;
    let bridge = Bridge::start(&rig.database("bad"), rig.url()).await;
    let outside = bridge
        .puppets
        .ensure(&user("somebody"), GhostProfile::default())
        .await;
    let error = assert_matches!(outside, Err(error @ PuppetError::Invalid(_)) => error);
    assert!(error.to_string().contains("namespaces"), "{error}");
    assert!(!error.is_retryable());
    let elsewhere = "@whatsapp_1:elsewhere".try_into().unwrap();
    assert_matches!(
        bridge
            .puppets
            .ensure(elsewhere, GhostProfile::default())
            .await,
        Err(PuppetError::Invalid(_))
    );
    bridge.end().await;

    let bridge = Bridge::start(&rig.database("dead"), "http://127.0.0.1:9").await;
    let name = user("whatsapp_701");
    let error = bridge
        .puppets
        .ensure(&name, GhostProfile::default())
        .await
        .unwrap_err();
    assert!(error.is_retryable());
    assert!(!error.to_string().contains("whatsapp_701"), "{error}");
    assert_eq!(bridge.puppets.ping(None).await.unwrap_err().status(), None);
}
