//! What thirty days do.

use gatekeeper::stanzas::iq;
use serde_json::json;

use crate::{
    client::Chat,
    rig::{ALICE, BEA, Rig},
};

const DAY: u64 = 24 * 60 * 60;

#[tokio::test]
async fn the_mailbox_keeps_for_thirty_days() {
    let rig = Rig::start().await;
    rig.bea().await;
    let alice = rig.alice().await;
    rig.bea_says("old").await;
    rig.post("/control/clock", json!({"advance_seconds": 20 * DAY}))
        .await;
    rig.bea_says("newer").await;
    assert_eq!(rig.account().await["mailbox"], 2);
    // Connected meanwhile, so that the user stays; nothing is taken.
    drop(alice.login(&rig.addresses(), &rig.partner).await);
    rig.account_that("the user to be away", |one| one["connected"] == false)
        .await;
    rig.post("/control/clock", json!({"advance_seconds": 10 * DAY + 1}))
        .await;
    let account = rig.account().await;
    assert_eq!(
        (&account["mailbox"], &account["enlisted"]),
        (&json!(1), &json!(true))
    );
}

#[tokio::test]
async fn after_thirty_days_away_the_user_must_enlist_again() {
    let rig = Rig::start().await;
    rig.bea().await;
    let alice = rig.alice().await;
    rig.post("/control/clock", json!({"advance_seconds": 30 * DAY - 60}))
        .await;
    assert_eq!(rig.account().await["enlisted"], true);
    rig.post("/control/clock", json!({"advance_seconds": 61}))
        .await;
    assert_eq!(rig.account().await["enlisted"], false);

    let addresses = rig.addresses();
    let payload = alice.payload(rig.partner.token(ALICE)).to_bytes();
    let mut chat = Chat::open(&addresses.chat, &addresses, alice.key(), &payload).await;
    let failure = chat.next().await.unwrap();
    assert_eq!(
        (failure.tag.as_str(), failure.u64("reason")),
        ("failure", Some(401))
    );

    let again = rig.alice().await;
    assert_eq!(again.jid, alice.jid);
    rig.bea_says("welcome back").await;
    let mut chat = again.login(&rig.addresses(), &rig.partner).await;
    chat.find_tag("message").await;
}

#[tokio::test]
async fn a_connected_user_is_not_away() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    rig.post("/control/clock", json!({"advance_seconds": 40 * DAY}))
        .await;
    assert_eq!(chat.query(iq::ping()).await.get("type").unwrap(), "result");
    assert_eq!(rig.account().await["enlisted"], true);
}

#[tokio::test]
async fn what_waits_for_a_phone_expires_too() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let options = format!("/control/phones/{BEA}/options");
    rig.post(&options, json!({"online": false})).await;
    chat.deliver(&alice.text(&bea, "3EB01", "hi").to_node())
        .await;
    assert_eq!(
        rig.get(&format!("/control/phones/{BEA}")).await["waiting"],
        1
    );
    rig.post("/control/clock", json!({"advance_seconds": 31 * DAY}))
        .await;
    assert_eq!(
        rig.get(&format!("/control/phones/{BEA}")).await["waiting"],
        0
    );
}
