use gatekeeper::{
    stanza::{Jid, Server},
    stanzas::{Enc, EncType},
};
use store::messages::Status;

use super::*;
use crate::testing::{self, LOGIN, PEER};

fn follower(core: &Arc<Core>) -> Follower {
    core.logins.start(core, LOGIN);
    let login = core.logins.get(LOGIN).expect("it was started");
    Follower {
        core: core.clone(),
        mxid: LOGIN.to_owned(),
        log_id: core.log_id(LOGIN),
        courier: Courier::new(LOGIN, login.withdrawals.clone()),
        login,
    }
}

/// The commit that takes a refused message out of the outbox tells its sender: no crash comes between.
#[tokio::test]
async fn a_refusal_is_told_in_the_commit_that_takes_note_of_it() {
    let (core, _folder) = testing::core().await;
    let mut batch = Batch::new();
    messages::put(&mut batch, &testing::sent("A", "$a"));
    core.store.commit(batch).await.expect("a commit");
    let ack = ServerAck {
        class: "message".to_owned(),
        id: "A".to_owned(),
        from: Jid::phone("4915100000001"),
        kind: None,
        participant: None,
        t: None,
        phash: None,
        error: Some(400),
    };
    let mut follower = follower(&core);
    let (mut batch, mut moved) = (Batch::new(), Moved::default());
    follower.acknowledged(&mut batch, &mut moved, &ack).await;
    core.store.commit(batch).await.expect("a commit");
    let message = messages::get(&core.store, LOGIN, PEER, "A").await;
    let message = message.expect("a database").expect("the message");
    assert_eq!(message.status, Status::Failed);
    let told = store::reports::get(&core.store, "$a").await;
    assert!(told.expect("a database").is_some(), "its sender is told");
    assert_eq!(moved.refused, ["$a"]);
    core.logins.stop(LOGIN).await;
}

/// What a contact writes into a group or shows to everybody is nothing for the chat with that contact.
#[tokio::test]
async fn only_what_comes_from_a_contact_comes_into_its_chat() {
    let (core, _folder) = testing::core().await;
    let mut follower = follower(&core);
    let contact = Jid::phone("4915100000001");
    let message = |from: Jid| {
        let enc = Enc::new(EncType::Msg, vec![0x33; 64]);
        Event::Message(IncomingMessage {
            participant: (from != contact).then(|| contact.clone()),
            ..IncomingMessage::text(from, "A", 1, enc)
        })
    };
    let status = Server::Other("broadcast".to_owned());
    for from in [
        Jid::new("12036300000000", Server::Group),
        Jid::new("status", status),
    ] {
        follower.handle(vec![message(from)]).await;
        assert!(!core.incoming.holds(LOGIN, PEER));
    }
    follower.handle(vec![message(contact.clone())]).await;
    assert!(core.incoming.holds(LOGIN, PEER));
    core.logins.stop(LOGIN).await;
}
