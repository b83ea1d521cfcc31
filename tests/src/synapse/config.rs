//! homeserver.yaml. YAML is a superset of JSON, so it is written as JSON.

use std::path::Path;

use serde_json::{Value, json};

use super::{Options, SERVER_NAME};
use crate::{Error, Result};

/// A random secret of 32 hexadecimal digits.
///
/// # Errors
///
/// When the system gives no random numbers.
pub fn secret() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::new(format!("random: {error}")))?;
    Ok(hex::encode(bytes))
}

pub(super) fn homeserver(
    folder: &Path,
    port: u16,
    options: &Options,
    registration_secret: &str,
) -> Result<String> {
    let database = match &options.database {
        None => json!({"name": "sqlite3", "args": {"database": folder.join("homeserver.db")}}),
        Some(address) => {
            json!({"name": "psycopg2", "args": {"dsn": address, "cp_min": 1, "cp_max": 5}})
        }
    };
    // A homeserver that many tests share must not answer 429.
    let unlimited = json!({"per_second": 1_000_000, "burst_count": 1_000_000});
    let mut config = json!({
        "server_name": SERVER_NAME,
        "public_baseurl": format!("http://127.0.0.1:{port}/"),
        "listeners": [{
            "type": "http", "port": port, "bind_addresses": ["127.0.0.1"], "tls": false,
            "resources": [{"names": ["client"], "compress": false}],
        }],
        "database": database,
        "media_store_path": folder.join("media"),
        "max_upload_size": options.max_upload.as_deref().unwrap_or("2200M"),
        "signing_key_path": folder.join("signing.key"),
        "log_config": folder.join("log.yaml"),
        "pid_file": folder.join("homeserver.pid"),
        "registration_shared_secret": registration_secret,
        "macaroon_secret_key": secret()?,
        "form_secret": secret()?,
        "report_stats": false,
        "trusted_key_servers": [],
        "federation_domain_whitelist": [],
        "presence": {"enabled": false},
        "filter_timeline_limit": 5000,
        "app_service_config_files": options.registrations,
        "experimental_features": {
            "msc2409_to_device_messages_enabled": true,
            "msc3202_transaction_extensions": true,
        },
        "rc_message": unlimited, "rc_registration": unlimited, "rc_admin_redaction": unlimited,
        "rc_login": {"address": unlimited, "account": unlimited, "failed_attempts": unlimited},
        "rc_joins": {"local": unlimited, "remote": unlimited},
        "rc_joins_per_room": unlimited, "rc_room_creation": unlimited, "rc_key_requests": unlimited,
        "rc_invites": {"per_room": unlimited, "per_user": unlimited, "per_issuer": unlimited},
    });
    if let (Some(version), Value::Object(map)) = (options.room_version, &mut config) {
        map.insert(
            "default_room_version".to_owned(),
            json!(version.to_string()),
        );
    }
    Ok(config.to_string())
}

/// Synapse logs what it must to its own file, warnings and worse.
pub(super) fn log(folder: &Path) -> String {
    json!({
        "version": 1,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"file": {
            "class": "logging.FileHandler", "formatter": "line", "filename": folder.join("synapse.log"),
        }},
        "root": {"level": "WARNING", "handlers": ["file"]},
        "disable_existing_loggers": false,
    })
    .to_string()
}
