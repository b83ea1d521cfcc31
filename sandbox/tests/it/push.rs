//! Pushes, as published.

use gatekeeper::token::{self, Jwks, VerifyError};
use serde_json::json;

use crate::{
    partner::{Push, now},
    rig::{ALICE, Rig},
    wait::until,
};

async fn pushed(rig: &Rig, count: usize) -> Vec<Push> {
    until("a push", async || {
        Some(rig.partner.pushes()).filter(|all| all.len() >= count)
    })
    .await
}

async fn keys(rig: &Rig) -> Jwks {
    reqwest::get(rig.addresses().jwks)
        .await
        .unwrap()
        .json()
        .await
        .unwrap()
}

/// The audience: scheme, host and port of the partner's base URL.
fn audience(rig: &Rig) -> String {
    rig.partner
        .base_url
        .trim_end_matches("/whatsapp")
        .to_owned()
}

#[tokio::test]
async fn a_waiting_message_pushes_once_with_a_signed_token() {
    let rig = Rig::start().await;
    rig.bea().await;
    rig.alice().await;
    rig.partner.answer_pushes_with(503);
    for text in ["1", "2", "3"] {
        rig.bea_says(text).await;
    }
    let first = pushed(&rig, 1).await.remove(0);
    assert_eq!(first.body, json!({"to": ALICE}));
    assert_eq!(first.content_type, "application/json");
    let claims = token::verify(&first.token, &keys(&rig).await, &audience(&rig), now()).unwrap();
    assert_eq!(
        (claims.iss.as_str(), claims.exp - claims.iat),
        ("WHATSAPP", 3600)
    );
    assert_eq!((claims.sub, claims.extra.len()), (None, 0));

    // A refused one is tried again, and one is enough for all three.
    let mut events = rig.events().await;
    rig.partner.answer_pushes_with(200);
    loop {
        if events.find("push").await["status"] == 200 {
            break;
        }
    }
    let refused = rig.partner.pushes().len() - 1;
    assert!((1..=10).contains(&refused), "{refused}");
}

#[tokio::test]
async fn a_connected_user_is_not_pushed() {
    let rig = Rig::start().await;
    rig.bea().await;
    let alice = rig.alice().await;
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    rig.bea_says("hi").await;
    chat.find_tag("message").await;
    assert!(rig.partner.pushes().is_empty());
    // What was not acknowledged when the connection ends is worth a push.
    drop(chat);
    pushed(&rig, 1).await;
}

#[tokio::test]
async fn bad_tokens_can_be_had() {
    let rig = Rig::start().await;
    rig.bea().await;
    rig.alice().await;
    let keys = keys(&rig).await;
    for (count, (fault, error)) in [
        ("wrong_aud", VerifyError::Audience),
        ("wrong_kid", VerifyError::UnknownKid),
        ("expired", VerifyError::Expired),
    ]
    .into_iter()
    .enumerate()
    {
        rig.post("/control/faults", json!({"push_token": fault}))
            .await;
        rig.bea_says("hi").await;
        let push = pushed(&rig, count + 1).await.remove(count);
        let refused = token::verify(&push.token, &keys, &audience(&rig), now()).unwrap_err();
        assert_eq!(refused, error);
        until("the push to be over", async || {
            // The next message pushes again only when this push is done.
            (rig.partner.pushes().len() == count + 1).then_some(())
        })
        .await;
    }
}
