//! What staging adds to a crypto store. matrix-sdk-crypto's own suite is in `suite`.

#[expect(
    unexpected_cfgs,
    reason = "the suite's macros ask for features of their own crate"
)]
mod suite;

use matrix_sdk_crypto::vodozemac::megolm::MegolmMessage;
use matrix_sdk_crypto::{
    DeviceData, EncryptionSettings, OlmMachine,
    olm::{Account, InboundGroupSession, OlmMessageHash, StaticAccountData},
    store::{
        CryptoStore as _,
        types::{Changes, DeviceChanges},
    },
};
use ruma::{UserId, device_id, events::room::message::RoomMessageEventContent, room_id, user_id};
use store::{Batch, Secret, Store, crypto, crypto::Change, inbox};
use tests::database::Database;

use super::{
    SqlCryptoStore, WriteMode, account, kind, prune_message_hashes, prune_room_keys, prune_sessions,
};

impl SqlCryptoStore {
    /// The suite asks for it.
    fn get_static_account(&self) -> Option<StaticAccountData> {
        self.static_account()
    }
}

fn staged(store: &Store) -> SqlCryptoStore {
    let (user, device) = (user_id!("@whatsapp_1:example.org"), device_id!("DEVICE"));
    SqlCryptoStore::new(store.clone(), user, device, WriteMode::Staged)
}

fn hash(name: &str) -> OlmMessageHash {
    OlmMessageHash {
        sender_key: "sender".to_owned(),
        hash: name.to_owned(),
    }
}

async fn save_hash(keys: &SqlCryptoStore, name: &str) {
    let changes = Changes {
        message_hashes: vec![hash(name)],
        ..Default::default()
    };
    keys.save_changes(changes).await.unwrap();
}

async fn in_database(store: &Store, name: &str) -> bool {
    let account = account(user_id!("@whatsapp_1:example.org"), device_id!("DEVICE"));
    crypto::contains(store, &account, kind::MESSAGE_HASH, "sender", name)
        .await
        .unwrap()
}

/// A batch that the writer refuses.
fn refused() -> Batch {
    let mut batch = Batch::new();
    inbox::done(&mut batch, 4711);
    batch
}

#[tokio::test]
async fn staged_changes_wait_for_their_batch() {
    let database = Database::sqlite();
    let store = database.open().await;
    let keys = staged(&store);
    save_hash(&keys, "one").await;
    assert!(
        keys.is_message_known(&hash("one")).await.unwrap(),
        "read from the overlay"
    );
    assert!(!in_database(&store, "one").await);
    assert!(keys.has_staged());

    let mut batch = Batch::new();
    store::meta::put(&mut batch, "row", "beside it");
    keys.commit_with(batch).await.unwrap();
    assert!(in_database(&store, "one").await);
    assert_eq!(
        store::meta::get(&store, "row").await.unwrap().unwrap(),
        "beside it"
    );
    assert!(!keys.has_staged());
    assert!(
        keys.is_message_known(&hash("one")).await.unwrap(),
        "read from the database"
    );
    store.close().await;
}

#[tokio::test]
async fn a_refused_batch_leaves_its_keys_staged() {
    let database = Database::sqlite();
    let store = database.open().await;
    let keys = staged(&store);
    save_hash(&keys, "one").await;
    keys.set_custom_value("name", b"old".to_vec())
        .await
        .unwrap();
    assert!(keys.commit_with(refused()).await.unwrap_err().is_conflict());
    assert!(!in_database(&store, "one").await);
    assert!(keys.has_staged() && !keys.is_poisoned());

    keys.set_custom_value("name", b"new".to_vec())
        .await
        .unwrap();
    keys.flush().await.unwrap();
    assert!(in_database(&store, "one").await);
    assert_eq!(
        keys.get_custom_value("name").await.unwrap().unwrap(),
        b"new"
    );
    assert_eq!(
        staged(&store)
            .get_custom_value("name")
            .await
            .unwrap()
            .unwrap(),
        b"new"
    );
    store.close().await;
}

#[tokio::test]
async fn an_outcome_nobody_heard_poisons() {
    let database = Database::sqlite();
    let store = database.open().await;
    let keys = staged(&store);
    drop(keys.take_staged(&mut Batch::new()));
    assert!(!keys.is_poisoned(), "nothing was taken");

    save_hash(&keys, "one").await;
    drop(keys.take_staged(&mut Batch::new()));
    assert!(keys.is_poisoned());
    let error = keys
        .is_message_known(&hash("one"))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("open the device again"), "{error}");
    assert!(keys.reopen().await.is_err());
    assert!(!staged(&store).is_message_known(&hash("one")).await.unwrap());
    store.close().await;
}

#[tokio::test]
async fn two_devices_share_a_batch() {
    let database = Database::sqlite();
    let store = database.open().await;
    let keys = staged(&store);
    let user = user_id!("@whatsappbot:example.org");
    let bot = SqlCryptoStore::new(store.clone(), user, device_id!("BOT"), WriteMode::Staged);
    save_hash(&keys, "one").await;
    save_hash(&bot, "two").await;
    let mut batch = Batch::new();
    let taken = [keys.take_staged(&mut batch), bot.take_staged(&mut batch)];
    store.commit(batch).await.unwrap();
    taken.into_iter().for_each(super::Staged::committed);
    assert!(in_database(&store, "one").await);
    assert!(
        !keys.is_message_known(&hash("two")).await.unwrap(),
        "each has its own"
    );
    assert!(bot.is_message_known(&hash("two")).await.unwrap());
    store.close().await;
}

#[tokio::test]
async fn closing_writes_what_is_staged() {
    let database = Database::sqlite();
    let store = database.open().await;
    let keys = staged(&store);
    save_hash(&keys, "one").await;
    keys.close().await.unwrap();
    assert!(in_database(&store, "one").await);
    assert!(keys.is_message_known(&hash("one")).await.is_err());
    keys.reopen().await.unwrap();
    assert!(keys.is_message_known(&hash("one")).await.unwrap());
    store.close().await;
}

#[tokio::test]
async fn old_message_hashes_are_pruned() {
    let database = Database::sqlite();
    let store = database.open().await;
    let keys = staged(&store);
    save_hash(&keys, "one").await;
    keys.set_custom_value("kept", vec![1]).await.unwrap();
    keys.flush().await.unwrap();
    for (before, known) in [(1, true), (i64::MAX, false)] {
        let mut batch = Batch::new();
        prune_message_hashes(&mut batch, before);
        store.commit(batch).await.unwrap();
        assert_eq!(keys.is_message_known(&hash("one")).await.unwrap(), known);
    }
    assert!(keys.get_custom_value("kept").await.unwrap().is_some());
    store.close().await;
}

/// Sessions with a device go some time after the device; those with one that is there, or there again, stay.
#[tokio::test]
async fn sessions_with_devices_that_are_gone_are_pruned() {
    let database = Database::sqlite();
    let store = database.open().await;
    let keys = staged(&store);
    let [gone, back, there] = [device_id!("GONE"), device_id!("BACK"), device_id!("THERE")]
        .map(|device| DeviceData::from_account(&Account::with_device_id(user_id!("@a:b"), device)));
    let name = |device: &DeviceData| device.curve25519_key().unwrap().to_base64();
    let mut batch = Batch::new();
    let account = account(user_id!("@whatsapp_1:example.org"), device_id!("DEVICE"));
    for device in [&gone, &back, &there] {
        let object = crypto::Object {
            k1: name(device),
            k2: "session".to_owned(),
            value: Secret::new(vec![1]),
            tag: String::new(),
            flag: 0,
        };
        let kind = kind::SESSION;
        crypto::apply(&mut batch, &account, Change::Put { kind, object });
    }
    store.commit(batch).await.unwrap();
    let devices = |new: &[&DeviceData], deleted: &[&DeviceData]| Changes {
        devices: DeviceChanges {
            new: new.iter().copied().cloned().collect(),
            deleted: deleted.iter().copied().cloned().collect(),
            ..DeviceChanges::default()
        },
        ..Changes::default()
    };
    for changes in [devices(&[&there], &[&gone, &back]), devices(&[&back], &[])] {
        keys.save_changes(changes).await.unwrap();
    }
    keys.flush().await.unwrap();
    for (before, of_gone) in [(1, true), (i64::MAX, false)] {
        let mut batch = Batch::new();
        prune_sessions(&mut batch, before);
        store.commit(batch).await.unwrap();
        for (device, stays) in [(&gone, of_gone), (&back, true), (&there, true)] {
            let found =
                crypto::contains(&store, &account, kind::SESSION, &name(device), "session").await;
            assert_eq!(found.unwrap(), stays, "{}", device.device_id());
        }
    }
    store.close().await;
}

/// A room key goes when it is old by the upkeep's own dates; what else the device has stays.
#[tokio::test]
async fn old_room_keys_are_pruned() {
    let database = Database::sqlite();
    let store = database.open().await;
    let keys = staged(&store);
    let put = |kind, k2: &str| Change::Put {
        kind,
        object: crypto::Object {
            k1: "!room:example.org".to_owned(),
            k2: k2.to_owned(),
            value: Secret::new(*b"{}"),
            tag: String::new(),
            flag: 0,
        },
    };
    let account = account(user_id!("@whatsapp_1:example.org"), device_id!("DEVICE"));
    let count = async |kind| crypto::all(&store, &account, kind).await.unwrap().len();
    keys.save(vec![put(kind::INBOUND, "old"), put(kind::SESSION, "kept")])
        .await
        .unwrap();
    keys.flush().await.unwrap();
    let upkeep = async |now, before| {
        let mut batch = Batch::new();
        prune_room_keys(&mut batch, now, before);
        store.commit(batch).await.unwrap();
    };
    upkeep(100, 50).await;
    assert_eq!(count(kind::INBOUND).await, 1);
    keys.save(vec![put(kind::INBOUND, "new")]).await.unwrap();
    keys.flush().await.unwrap();
    upkeep(200, 150).await;
    let left = crypto::all(&store, &account, kind::INBOUND).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].k2, "new");
    assert_eq!(count(kind::SESSION).await, 1);
    store.close().await;
}

/// A client sends the key of a session again, from a later message on; both may come at once, and at the same time from two sides.
#[tokio::test]
async fn a_room_key_is_not_replaced_by_one_that_reaches_back_less_far() {
    let database = Database::sqlite();
    let store = database.open().await;
    let keys = staged(&store);
    let room = room_id!("!room:example.org");
    let machine = OlmMachine::new(user_id!("@alice:example.org"), device_id!("PHONE")).await;
    machine
        .share_room_key(room, std::iter::empty(), EncryptionSettings::default())
        .await
        .unwrap();
    let sent = machine.store().get_inbound_group_sessions().await.unwrap();
    let exported = async |index| sent[0].export_at_index(index).await;
    let first = InboundGroupSession::from_export(&exported(0).await).unwrap();
    let later = InboundGroupSession::from_export(&exported(1).await).unwrap();
    let latest = InboundGroupSession::from_export(&exported(2).await).unwrap();
    let save = async |sessions: &[&InboundGroupSession]| {
        let changes = Changes {
            inbound_group_sessions: sessions.iter().copied().cloned().collect(),
            ..Default::default()
        };
        keys.save_changes(changes).await.unwrap();
    };
    let reaches_back_to = async || {
        let id = first.session_id();
        let session = keys.get_inbound_group_session(room, id).await.unwrap();
        session.map(|session| session.first_known_index())
    };
    save(&[&latest]).await;
    assert_eq!(reaches_back_to().await, Some(2));
    save(&[&first, &later]).await;
    assert_eq!(reaches_back_to().await, Some(0));
    save(&[&later]).await;
    keys.flush().await.unwrap();
    save(&[&later, &latest]).await;
    assert_eq!(reaches_back_to().await, Some(0));
    store.close().await;
}

/// Pages of sessions must be whole whichever of them are staged, changed or stored.
#[tokio::test]
async fn pages_are_whole_across_overlay_and_database() {
    let database = Database::sqlite();
    let store = database.open().await;
    let keys = staged(&store);
    let put = |k2: &str, tag: &str| Change::Put {
        kind: kind::INBOUND,
        object: crypto::Object {
            k1: "!room:example.org".to_owned(),
            k2: k2.to_owned(),
            value: Secret::new(*b"{}"),
            tag: tag.to_owned(),
            flag: 0,
        },
    };
    let names: Vec<String> = (0..20).map(|i| format!("session{i:02}")).collect();
    keys.save(
        names
            .iter()
            .step_by(2)
            .map(|name| put(name, "tag"))
            .collect(),
    )
    .await
    .unwrap();
    keys.flush().await.unwrap();
    keys.save(
        names
            .iter()
            .skip(1)
            .step_by(2)
            .map(|name| put(name, "tag"))
            .collect(),
    )
    .await
    .unwrap();
    // One stored session changes its tag, another is deleted.
    let gone = Change::Delete {
        kind: kind::INBOUND,
        k1: "!room:example.org".to_owned(),
        k2: names[2].clone(),
    };
    keys.save(vec![put(&names[0], "other"), gone])
        .await
        .unwrap();

    let mut found: Vec<String> = Vec::new();
    loop {
        let after = found.last().cloned().unwrap_or_default();
        let page = keys.tagged(kind::INBOUND, "tag", &after, 3).await.unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page.into_iter().map(|object| object.k2));
    }
    let expected: Vec<_> = names
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != 0 && *i != 2)
        .map(|(_, n)| n.clone())
        .collect();
    assert_eq!(found, expected);
    assert_eq!(
        keys.under(kind::INBOUND, "!room:example.org")
            .await
            .unwrap()
            .len(),
        19
    );
    store.close().await;
}

/// What a machine encrypted and nobody committed must not have left, and what was committed is never used twice.
#[tokio::test]
async fn a_ratchet_goes_on_where_the_last_commit_left_it() {
    let database = Database::sqlite();
    let store = database.open().await;
    let user = user_id!("@whatsapp_1:example.org");
    let open = async || {
        let keys = staged(&store);
        let machine = OlmMachine::with_store(user, device_id!("DEVICE"), keys.clone(), None)
            .await
            .unwrap();
        (keys, machine)
    };
    let share = async |machine: &OlmMachine| {
        let nobody: [&UserId; 0] = [];
        let settings = EncryptionSettings::default();
        let room = room_id!("!room:example.org");
        machine
            .share_room_key(room, nobody.into_iter(), settings)
            .await
            .unwrap();
    };

    let (keys, machine) = open().await;
    share(&machine).await;
    let first = encrypt(&machine).await;
    keys.commit_with(Batch::new()).await.unwrap();
    drop((keys, machine));

    let (keys, machine) = open().await;
    share(&machine).await;
    let second = encrypt(&machine).await;
    assert_eq!(first.0, second.0, "the session was kept");
    assert_eq!((first.1, second.1), (0, 1));
    // The program ends here, before the commit: the message never left.
    drop((keys, machine));

    let (keys, machine) = open().await;
    share(&machine).await;
    assert_eq!(encrypt(&machine).await, second);
    keys.flush().await.unwrap();
    assert_eq!(encrypt(&machine).await.1, 2);
    store.close().await;
}

/// Session id and message index of an encrypted message.
async fn encrypt(machine: &OlmMachine) -> (String, u32) {
    let content = RoomMessageEventContent::text_plain("hello");
    let room = room_id!("!room:example.org");
    let content = machine
        .encrypt_room_event(room, content)
        .await
        .unwrap()
        .content;
    let json: serde_json::Value = content.deserialize_as_unchecked().unwrap();
    let message = MegolmMessage::from_base64(json["ciphertext"].as_str().unwrap()).unwrap();
    (
        json["session_id"].as_str().unwrap().to_owned(),
        message.message_index(),
    )
}
