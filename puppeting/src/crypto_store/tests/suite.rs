//! matrix-sdk-crypto's own suite for crypto stores, on both databases and in both modes.

use std::{cell::RefCell, collections::HashMap};

use ruma::{device_id, user_id};
use tests::database::Database;

use super::super::{SqlCryptoStore, WriteMode};

thread_local! {
    /// What this test has opened, by name: the suite opens a name again to see what was kept. Each test has a thread of its
    /// own.
    static OPEN: RefCell<HashMap<String, (Database, SqlCryptoStore)>> = RefCell::default();
}

/// The store of that name, with what it held when it was opened last. What the suite left staged is committed first, as a
/// puppet does when it is closed: until then every read of the test goes through the overlay.
async fn open(engine: &str, name: &str, clear: bool, mode: WriteMode) -> SqlCryptoStore {
    let database = match OPEN.take().remove(name) {
        Some((database, former)) if !clear => {
            former.flush().await.unwrap();
            former.inner.store.close().await;
            database
        }
        _ if engine == "sqlite" => Database::sqlite(),
        _ => Database::postgres().await,
    };
    let store = database.open().await;
    let keys = SqlCryptoStore::new(
        store,
        user_id!("@suite:example.org"),
        device_id!("SUITE"),
        mode,
    );
    OPEN.set(HashMap::from([(name.to_owned(), (database, keys.clone()))]));
    keys
}

macro_rules! suite {
    ($module:ident, $engine:literal, $mode:ident) => {
        mod $module {
            use matrix_sdk_crypto::{
                cryptostore_integration_tests, cryptostore_integration_tests_time,
            };

            use super::{SqlCryptoStore, WriteMode, open};

            async fn get_store(
                name: &str,
                _passphrase: Option<&str>,
                clear: bool,
            ) -> SqlCryptoStore {
                open($engine, name, clear, WriteMode::$mode).await
            }

            cryptostore_integration_tests!();
            cryptostore_integration_tests_time!();
        }
    };
}

suite!(sqlite_immediate, "sqlite", Immediate);
suite!(sqlite_staged, "sqlite", Staged);
suite!(postgres_immediate, "postgres", Immediate);
suite!(postgres_staged, "postgres", Staged);
