use store::{Error, SealingKey, Store, StoreConfig, meta};
use tests::database::{Database, key};

crate::on_both! { a_second_process_is_refused, a_newer_database_is_refused, a_wrong_key_is_refused, looking_changes_nothing, survives_reopening, closing_refuses_later_work, }

async fn a_second_process_is_refused(database: Database) {
    let first = database.open().await;
    let error = Store::open(&StoreConfig::new(database.url()), key())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InUse(_)), "{error}");
    assert!(
        error.to_string().contains("another gatehouse process"),
        "{error}"
    );
    first.close().await;
    database.open().await.close().await;
}

async fn a_newer_database_is_refused(database: Database) {
    database.open().await.close().await;
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
               VALUES (9999, 'later', TRUE, CAST('' AS ";
    // The migrations table is sqlx's own; only the checksum's type differs.
    if let Some(path) = database.url().strip_prefix("sqlite:") {
        let pool = sqlx::SqlitePool::connect(path).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("{sql}BLOB), 0)")))
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
    } else {
        let pool = sqlx::PgPool::connect(database.url()).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("{sql}BYTEA), 0)")))
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
    }
    let error = Store::open(&StoreConfig::new(database.url()), key())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Newer(9999)), "{error}");
    assert!(error.to_string().contains("newer version"), "{error}");
}

async fn a_wrong_key_is_refused(database: Database) {
    database.open().await.close().await;
    let other = SealingKey::from_bytes([8; 32]);
    let error = Store::open(&StoreConfig::new(database.url()), other)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::WrongKey), "{error}");
    assert!(error.to_string().contains("key file"), "{error}");
    // The refusal changes nothing: the right key still opens it.
    database.open().await.close().await;
}

async fn looking_changes_nothing(database: Database) {
    let config = StoreConfig::new(database.url());
    for _ in 0..2 {
        assert!(!store::is_set_up(&config).await.unwrap(), "nothing yet");
    }
    database.open().await.close().await;
    assert!(store::is_set_up(&config).await.unwrap(), "it has a key");
    database.open().await.close().await;
}

async fn survives_reopening(database: Database) {
    let store = database.open().await;
    let id = meta::get(&store, meta::DATABASE_ID).await.unwrap().unwrap();
    let mut batch = store::Batch::new();
    meta::put(&mut batch, meta::SERVER_NAME, "example.org");
    store.commit(batch).await.unwrap();
    store.close().await;

    let store = database.open().await;
    assert_eq!(
        meta::get(&store, meta::DATABASE_ID).await.unwrap().unwrap(),
        id
    );
    assert_eq!(
        meta::get(&store, meta::SERVER_NAME).await.unwrap().unwrap(),
        "example.org"
    );
    store.close().await;
}

async fn closing_refuses_later_work(database: Database) {
    let store = database.open().await;
    store.close().await;
    let mut batch = store::Batch::new();
    meta::put(&mut batch, "key", "value");
    assert!(matches!(store.commit(batch).await, Err(Error::Closed)));
    assert!(meta::get(&store, "key").await.is_err());
}

#[tokio::test]
async fn an_impossible_address_names_the_cure() {
    for (url, hint) in [
        ("sqlite:", "sqlite:/"),
        ("sqlite:/nowhere/at/all/gatehouse.db", "must exist"),
        ("postgres://[", "PostgreSQL address"),
    ] {
        let error = Store::open(&StoreConfig::new(url), key())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error}");
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn database_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let database = Database::sqlite();
    let store = database.open().await;
    let mut files = 0;
    for entry in std::fs::read_dir(database.folder().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o077,
            0,
            "{:?}",
            entry.path()
        );
        files += 1;
    }
    assert!(files >= 3, "database, WAL and lock");
    store.close().await;
}

#[test]
fn debug_hides_the_password() {
    let shown = format!(
        "{:?}",
        StoreConfig::new("postgres://gatehouse:hunter2@db/gatehouse")
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}
