//! Enlistment, as published, and what it refuses.

use gatekeeper::{enlist::EnlistForm, signal::Identity, token::SigningKey};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};

use crate::{
    client::User,
    partner::Partner,
    rig::{ALICE, Rig},
};

/// Posts a form as it is; the status is always 200.
async fn post(rig: &Rig, form: String) -> Value {
    let answer = reqwest::Client::new()
        .post(rig.addresses().enlistment)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

async fn refusal(rig: &Rig, form: String) -> String {
    let answer = post(rig, form).await;
    assert_eq!(answer["status"], "fail");
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
    answer["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn success_names_the_internal_identifier_and_is_repeatable() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let answer = post(&rig, alice.form(rig.partner.token(ALICE)).to_form()).await;
    assert_eq!(
        answer,
        json!({"login": alice.jid.to_string(), "status": "ok"})
    );
    assert_eq!(alice.jid.integrator, 1);
    assert_eq!(alice.jid.user.len(), 14);

    let carol = User::enlist(&rig.partner, &rig.addresses(), "@carol:localhost").await;
    assert_ne!(carol.jid, alice.jid);
}

#[tokio::test]
async fn bad_arguments_are_refused_with_status_200() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let good = alice.form(rig.partner.token(ALICE));
    for (from, to) in [
        ("authkey=", "authkey=AAAA"),
        ("e_keytype=BQ", "e_keytype=BA"),
        ("e_ident=", "e_identity="),
        ("e_skey_id=", "e_skey_id=!!"),
        ("e_regid=", "e_regid=A"),
    ] {
        let form = good.to_form().replacen(from, to, 1);
        assert_eq!(refusal(&rig, form).await, "bad_param", "{to}");
    }
    assert_eq!(refusal(&rig, String::new()).await, "bad_param");

    let mut forged = good.clone();
    forged.identity = Identity::generate(&mut rand::rng()).public();
    assert_eq!(refusal(&rig, forged.to_form()).await, "bad_signature");

    let long = EnlistForm {
        token: "a".repeat(4097),
        ..good.clone()
    };
    assert_eq!(refusal(&rig, long.to_form()).await, "bad_token");
    let garbage = EnlistForm {
        token: "not.a.token".to_owned(),
        ..good
    };
    assert_eq!(refusal(&rig, garbage.to_form()).await, "bad_token");
}

#[tokio::test]
async fn tokens_of_others_are_refused() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let stranger = Partner::start().await;
    let form = alice.form(stranger.token(ALICE)).to_form();
    assert_eq!(refusal(&rig, form).await, "bad_integrator");

    let other_audience = rig.partner.token_for(ALICE, "somebody", 1);
    assert_eq!(
        refusal(&rig, alice.form(other_audience).to_form()).await,
        "bad_token"
    );

    // Signed by a key that calls itself by the name of the partner's.
    let published: Value = {
        let url = format!("{}/.well-known/oauth/openid/jwks", rig.partner.base_url);
        reqwest::get(url).await.unwrap().json().await.unwrap()
    };
    let kid = published["keys"][0]["kid"].as_str().unwrap();
    let forger = SigningKey::generate().unwrap().named(kid);
    let claims = gatekeeper::token::Claims::new("x", "WHATSAPP", crate::partner::now(), 60);
    let forged = forger.issue(&claims.about(ALICE)).unwrap();
    assert_eq!(
        refusal(&rig, alice.form(forged).to_form()).await,
        "bad_token"
    );
}

#[tokio::test]
async fn a_new_key_is_fetched_when_it_is_first_seen() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    for _ in 0..5 {
        let answer = post(&rig, alice.form(rig.partner.token(ALICE)).to_form()).await;
        assert_eq!(answer["status"], "ok");
    }
    let before = rig.partner.fetches();
    // One at the start, and one for the first token if that came before it was answered.
    assert!(before <= 2, "the key set is kept");

    let old = rig.partner.token(ALICE);
    rig.partner.rotate();
    let answer = post(&rig, alice.form(rig.partner.token(ALICE)).to_form()).await;
    assert_eq!(answer["status"], "ok");
    assert!(rig.partner.fetches() > before);
    assert_eq!(
        refusal(&rig, alice.form(old).to_form()).await,
        "bad_integrator"
    );
}

#[tokio::test]
async fn only_forms_are_taken() {
    let rig = Rig::start().await;
    let url = rig.addresses().enlistment;
    let client = reqwest::Client::new();
    let answer = client.post(&url).json(&json!({})).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
}
