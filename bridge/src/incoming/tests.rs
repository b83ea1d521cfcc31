use gatekeeper::{
    stanza::Jid,
    stanzas::{Enc, EncType},
};
use store::{Batch, quarantine::Stanza};

use super::*;
use crate::{
    quarantine::{Selection, replay},
    testing::{self, LOGIN, PEER},
};

/// The homeserver is away when what was set aside is brought back: it is tried until it is there.
#[tokio::test]
async fn what_was_brought_back_is_tried_again_and_again() {
    let (core, _folder) = testing::core().await;
    let enc = Enc::new(EncType::Msg, vec![0x33; 64]);
    let message = IncomingMessage::text(Jid::phone("4915100000001"), "A", 1, enc);
    let row = Stanza {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: message.id.clone(),
        stanza: core.encode(&message.to_node()).expect("a stanza"),
        reason: "a fault".to_owned(),
        received_ts: core.now(),
    };
    let mut batch = Batch::new();
    store_quarantine::put(&mut batch, &row);
    core.store.commit(batch).await.expect("a commit");
    let brought_back = replay(&core.store, &Selection::All).await;
    assert_eq!(brought_back.expect("a database").len(), 1);
    core.logins.start(&core, LOGIN);
    core.incoming.take_up(&core, LOGIN).await;
    let chat = (LOGIN.to_owned(), PEER.to_owned());
    let attempts = || locked(&core.incoming.brought_back).get(&chat).copied();
    testing::until("a second try", || attempts() >= Some(2)).await;
    core.logins.stop(LOGIN).await;
}
