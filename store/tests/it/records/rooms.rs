//! Ghosts and portals.

use store::{
    ghosts::{self, Ghost, Stage},
    portals::{self, NewPortal},
};
use tests::database::Database;

use super::{LOGIN, PEER, commit};

crate::on_both! {
    ghosts_go_through_their_stages,
    portals_are_found_three_ways,
}

async fn ghosts_go_through_their_stages(database: Database) {
    let store = database.open().await;
    let ghost = |n: u32| Ghost {
        mxid: format!("@whatsapp_{n}:example.org"),
        phone: Some(format!("+{n}")),
        peer: None,
        device_id: "DEVICE".to_owned(),
        stage: Stage::New,
        display_name: None,
        created_ts: 1,
    };
    commit(&store, |batch| {
        (1..=3).for_each(|n| ghosts::put(batch, &ghost(n)))
    })
    .await;
    let mxid = ghost(2).mxid;
    commit(&store, |batch| {
        ghosts::set_stage(batch, &mxid, Stage::Signed);
        ghosts::set_display_name(batch, &mxid, Some("Bea"));
        ghosts::set_peer(batch, &mxid, Some(PEER));
        // A second registration leaves the first alone.
        ghosts::put(batch, &ghost(2));
    })
    .await;
    let found = ghosts::get(&store, &mxid).await.unwrap().unwrap();
    assert_eq!(
        (found.stage, found.display_name.as_deref()),
        (Stage::Signed, Some("Bea"))
    );
    assert_eq!(found.peer.as_deref(), Some(PEER));
    assert_eq!(
        ghosts::by_phone(&store, "+2").await.unwrap().unwrap().mxid,
        mxid
    );
    assert_eq!(
        ghosts::at_stage(&store, Stage::New, 10)
            .await
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        ghosts::list(&store, &ghost(1).mxid, 1).await.unwrap()[0].mxid,
        mxid
    );
    commit(&store, |batch| ghosts::delete(batch, &mxid)).await;
    assert_eq!(ghosts::count(&store).await.unwrap(), 2);
    store.close().await;
}

async fn portals_are_found_three_ways(database: Database) {
    let store = database.open().await;
    let portal = NewPortal {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        ghost: "@whatsapp_123:example.org".to_owned(),
        room_id: None,
        encrypted: false,
        bot_joined: false,
        state: portals::State::New,
    };
    commit(&store, |batch| portals::put(batch, &portal)).await;
    let id = portals::by_peer(&store, LOGIN, PEER)
        .await
        .unwrap()
        .unwrap()
        .id;
    commit(&store, |batch| {
        portals::set_room(batch, id, Some("!room:example.org"));
        portals::set_flags(batch, id, true, true);
        portals::set_state(batch, id, portals::State::Active);
    })
    .await;
    let found = portals::by_room(&store, "!room:example.org")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.id, found.encrypted, found.bot_joined),
        (id, true, true)
    );
    assert_eq!(found.state, portals::State::Active);
    assert_eq!(portals::by_login(&store, LOGIN).await.unwrap().len(), 1);
    assert_eq!(
        portals::by_ghost(&store, &portal.ghost)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(portals::list(&store, 0, 10).await.unwrap().len(), 1);
    commit(&store, |batch| {
        portals::leave_room(batch, id, "!room:example.org");
        portals::set_room(batch, id, Some("!next:example.org"));
    })
    .await;
    let former = portals::by_former_room(&store, "!room:example.org").await;
    let room = former.unwrap().unwrap().room_id;
    assert_eq!(room.as_deref(), Some("!next:example.org"));
    commit(&store, |batch| {
        portals::return_to_room(batch, "!room:example.org");
    })
    .await;
    let former = portals::by_former_room(&store, "!room:example.org").await;
    assert!(former.unwrap().is_none());
    assert!(portals::get(&store, id).await.unwrap().is_some());
    commit(&store, |batch| portals::delete(batch, id)).await;
    assert!(portals::get(&store, id).await.unwrap().is_none());
    store.close().await;
}
