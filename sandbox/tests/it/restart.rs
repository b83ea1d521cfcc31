//! A sandbox that is stopped and started with the same state file.

use gatekeeper::stanzas::Ib;
use sandbox::{Config, PartnerConfig, Sandbox};

use crate::rig::{ALICE, Rig};

#[tokio::test]
async fn accounts_mailboxes_phones_and_sessions_survive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sandbox.json");
    let mut rig = Rig::with(|config| config.state = Some(path.clone())).await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    chat.deliver(&alice.text(&bea, "3EB01", "before").to_node())
        .await;
    chat.find_tag("receipt").await;
    drop(chat);
    let id = rig.bea_says("while you were away").await;
    let root = rig.addresses().root;

    let config = Config {
        partners: vec![PartnerConfig::new(1, &rig.partner.base_url)],
        state: Some(path),
        ..Config::default()
    };
    rig.restart(Sandbox::start(config)).await;

    assert_eq!(rig.addresses().root, root);
    assert_eq!(rig.bea_sees().await.len(), 2);
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    chat.send(&Ib::OfflineBatch(10).to_node()).await;
    let message = chat.find_tag("message").await;
    assert_eq!(message.get("id").unwrap(), id);
    assert_eq!(alice.read(&message).unwrap(), "while you were away");
    chat.deliver(&alice.text(&bea, "3EB02", "after").to_node())
        .await;
    let seen = rig.bea_sees_that("3EB02", |_| true).await;
    assert_eq!(
        (seen["text"].as_str(), seen["encrypted"].as_str()),
        (Some("after"), Some("msg"))
    );
    assert_eq!(rig.account().await["user"], ALICE);
}

#[tokio::test]
async fn a_damaged_state_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sandbox.json");
    for text in ["", "{}", "not json", r#"{"version":99}"#] {
        std::fs::write(&path, text).unwrap();
        let config = Config {
            state: Some(path.clone()),
            ..Config::default()
        };
        let error = Sandbox::start(config).await.unwrap_err().to_string();
        assert!(error.contains("move it away"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = Config {
        tcp: address,
        ..Config::default()
    };
    let error = Sandbox::start(config).await.unwrap_err().to_string();
    assert!(
        error.contains(&address.to_string()) && error.contains("--tcp"),
        "{error}"
    );
}
