//! Logins, what belongs to them, and how all of it goes.

use store::{
    Batch, Secret,
    consents::{self, Consent},
    contacts::{self, Contact},
    logins::{self, Login, State},
};
use tests::database::Database;

use super::{LOGIN, PEER, commit};

crate::on_both! {
    logins_and_what_belongs_to_them,
}

async fn logins_and_what_belongs_to_them(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| {
        logins::put(batch, &login());
        let text_sha256 = "00".to_owned();
        consents::put(
            batch,
            &Consent {
                mxid: LOGIN.to_owned(),
                version: "1".to_owned(),
                text_sha256,
                accepted_ts: 1,
                withdrawn_ts: None,
            },
        );
        contacts::put(
            batch,
            &Contact {
                login: LOGIN.to_owned(),
                peer: PEER.to_owned(),
                phone: "+123".to_owned(),
                alias: None,
            },
        );
    })
    .await;
    commit(&store, |batch| {
        logins::set_enlisted(batch, LOGIN, "1-1@interop", 2);
        logins::set_routing_info(batch, LOGIN, Some(b"route"));
        logins::set_management_room(batch, LOGIN, Some("!bot:example.org"));
        logins::take_prekey_ids(batch, LOGIN, 1, 31);
    })
    .await;
    let found = logins::by_jid(&store, "1-1@interop")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.state, State::Active);
    assert_eq!(found.identity.as_deref(), Some(b"identity".as_slice()));
    assert_eq!(found.noise_key.as_deref(), Some(b"noise".as_slice()));
    assert_eq!(found.routing_info.as_deref(), Some(b"route".as_slice()));
    assert_eq!((found.next_prekey_id, found.updated_ts), (31, 2));
    assert!(!format!("{found:?}").contains("noise\""));
    assert!(
        logins::by_account_id(&store, "account")
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        logins::by_management_room(&store, "!bot:example.org")
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(
        logins::in_state(&store, State::Active).await.unwrap().len(),
        1
    );
    assert_eq!(
        logins::in_state(&store, State::Refused)
            .await
            .unwrap()
            .len(),
        0
    );
    assert_eq!(
        contacts::by_phone(&store, LOGIN, "+123")
            .await
            .unwrap()
            .unwrap()
            .peer,
        PEER
    );
    assert!(contacts::get(&store, LOGIN, PEER).await.unwrap().is_some());

    let mut stale = Batch::new();
    logins::take_prekey_ids(&mut stale, LOGIN, 1, 31);
    assert!(
        store.commit(stale).await.unwrap_err().is_conflict(),
        "ids are given out once"
    );

    commit(&store, |batch| {
        logins::set_state(batch, LOGIN, State::Refused, Some("no"), 3);
        consents::withdraw(batch, LOGIN, 4);
    })
    .await;
    assert_eq!(
        logins::get(&store, LOGIN)
            .await
            .unwrap()
            .unwrap()
            .last_error
            .as_deref(),
        Some("no")
    );
    assert!(consents::current(&store, LOGIN).await.unwrap().is_none());
    assert_eq!(
        consents::history(&store, LOGIN).await.unwrap()[0].withdrawn_ts,
        Some(4)
    );

    commit(&store, |batch| logins::erase_all(batch, LOGIN)).await;
    assert!(logins::list(&store).await.unwrap().is_empty());
    assert!(contacts::list(&store, LOGIN).await.unwrap().is_empty());
    assert!(consents::history(&store, LOGIN).await.unwrap().is_empty());
    let mut missing = Batch::new();
    logins::set_state(&mut missing, LOGIN, State::Active, None, 5);
    assert!(store.commit(missing).await.unwrap_err().is_conflict());
    store.close().await;
}

fn login() -> Login {
    Login {
        mxid: LOGIN.to_owned(),
        state: State::Enlisting,
        jid: None,
        account_id: Some("account".to_owned()),
        registration_id: 77,
        identity: Some(Secret::new(*b"identity")),
        noise_key: Some(Secret::new(*b"noise")),
        next_prekey_id: 1,
        routing_info: None,
        management_room: None,
        last_error: None,
        created_ts: 1,
        updated_ts: 1,
    }
}
