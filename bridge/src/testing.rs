//! A bridge without neighbours: for flows that have to outlast their absence.

use std::{sync::Arc, time::Duration};

use puppeting::{HomeserverConfig, PuppetOptions, Puppets, Token};
use store::{
    Batch, SealingKey, Store, StoreConfig, ghosts,
    messages::{Direction, Kind, Message, Status},
    portals,
};
use tempfile::TempDir;

use crate::{client, config::Config, core::Core, media::Media};

/// The user.
pub(crate) const LOGIN: &str = "@anna:localhost";
/// Her contact.
pub(crate) const PEER: &str = "4915100000001@s.whatsapp.net";
/// The room of their chat.
pub(crate) const ROOM: &str = "!chat:localhost";
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A bridge over a new database. Its homeserver does not answer, nobody is enlisted; there is a chat with a room.
pub(crate) async fn core() -> (Arc<Core>, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("bridge.db").display());
    let mut config = Config::default();
    config.database.url = database.clone();
    config.media.folder = Some(folder.path().join("media"));
    let key = SealingKey::generate().expect("random bytes");
    let store = Store::open(&StoreConfig::new(database), key)
        .await
        .expect("a database");
    let homeserver = HomeserverConfig {
        url: NOWHERE.to_owned(),
        server_name: config.homeserver.server_name.clone(),
        appservice_id: "whatsapp".to_owned(),
        as_token: Token::new("token"),
        bot: config.bot_id(),
    };
    // First, because it brings the TLS provider of the process.
    let http = client::client().expect("a client");
    let puppets =
        Puppets::new(homeserver, store.clone(), PuppetOptions::default()).expect("a homeserver");
    let media = Media::open(&config).await.expect("a folder for media");
    let profile = config.gatekeeper.profile.clone();
    let core = Core::new(config, store, puppets, profile, http, media);
    let ghost = "@whatsapp_4915100000001:localhost";
    let mut batch = Batch::new();
    ghosts::put(
        &mut batch,
        &ghosts::Ghost {
            mxid: ghost.to_owned(),
            phone: Some("+4915100000001".to_owned()),
            peer: Some(PEER.to_owned()),
            device_id: "GHOST".to_owned(),
            stage: ghosts::Stage::New,
            display_name: None,
            created_ts: core.now(),
        },
    );
    portals::put(
        &mut batch,
        &portals::NewPortal {
            login: LOGIN.to_owned(),
            peer: PEER.to_owned(),
            ghost: ghost.to_owned(),
            room_id: Some(ROOM.to_owned()),
            encrypted: true,
            bot_joined: true,
            state: portals::State::Active,
        },
    );
    core.store.commit(batch).await.expect("a commit");
    (core, folder)
}

/// A message of the user that has gone to the contact.
pub(crate) fn sent(stanza_id: &str, event_id: &str) -> Message {
    Message {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: stanza_id.to_owned(),
        event_id: Some(event_id.to_owned()),
        room_id: ROOM.to_owned(),
        direction: Direction::Out,
        status: Status::Pending,
        ts: 1,
        kind: Kind::Message,
        target: None,
        gone: false,
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} did not come");
}
