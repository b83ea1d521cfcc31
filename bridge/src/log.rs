//! Logging: to standard error, as text or as JSON.
//!
//! No message content, phone number, address or token is ever logged; ids are logged as short keyed hashes.

use std::io;

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat};

/// Starts logging. The variable `RUST_LOG` replaces the configured level.
///
/// # Errors
///
/// A level that is no filter, or logging that was started before.
pub fn start(config: &Log) -> Result<(), LogError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => filter,
        _ => config.level.clone(),
    };
    subscriber(config.format, &filter, io::stderr)?
        .try_init()
        .map_err(|_| LogError::Started)?;
    std::panic::set_hook(Box::new(panicked));
    Ok(())
}

/// Logs where a panic was. What it says may quote a message, so it is left out.
fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map(|place| format!("{}:{}", place.file(), place.line()));
    tracing::error!(
        place,
        "a bug: the program panicked here; what it did is tried again"
    );
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is no filter.
    #[error(
        "\"{filter}\" is no log level ({source}); write for example \"info\" or \"info,gatehouse=debug\""
    )]
    Filter {
        /// What was given.
        filter: String,
        /// Why.
        source: tracing_subscriber::filter::ParseError,
    },
    /// It was started before.
    #[error("logging was started before in this process")]
    Started,
}

type Subscriber = Box<dyn tracing::Subscriber + Send + Sync>;

fn subscriber<W>(format: LogFormat, filter: &str, writer: W) -> Result<Subscriber, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).map_err(|source| LogError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let registry = tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(may_log));
    Ok(match format {
        LogFormat::Text => Box::new(registry.with(lines.with_ansi(false))),
        LogFormat::Json => Box::new(registry.with(lines.json().flatten_event(true))),
    })
}

/// Only what is written in this house is logged, at any level: libraries log user ids (a ghost's holds a phone number), addresses
/// with ids in them, and the HTML parser quotes what it parses. The database library may warn, without values.
fn may_log(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target().split("::").next().unwrap_or_default();
    OWN.contains(&target) || (target == "sqlx" && *metadata.level() <= Level::WARN)
}

const OWN: [&str; 4] = ["gatehouse", "puppeting", "gatekeeper", "store"];

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("unpoisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, act: impl FnOnce()) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let subscriber = subscriber(format, filter, move || writer.clone()).expect("a filter");
        tracing::subscriber::with_default(subscriber, act);
        let bytes = memory.0.lock().expect("unpoisoned").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_panic_says_where_and_not_what() {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(panicked));
        let text = logged(LogFormat::Text, "info", || {
            let caught = std::panic::catch_unwind(|| {
                let text = String::from("é canary");
                text[..1].len()
            });
            assert!(caught.is_err());
        });
        std::panic::set_hook(before);
        assert!(
            text.contains("log.rs:") && !text.contains("canary"),
            "{text}"
        );
    }

    #[test]
    fn json_lines_are_json() {
        let text = logged(LogFormat::Json, "info", || {
            tracing::info!(count = 3, "took a transaction")
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).expect("JSON");
        assert_eq!(
            (&line["message"], &line["count"]),
            (&"took a transaction".into(), &3.into())
        );
    }

    #[test]
    fn the_level_counts() {
        let act = || {
            tracing::debug!("small");
            tracing::warn!("large");
        };
        let text = logged(LogFormat::Text, "info", act);
        assert!(text.contains("large") && !text.contains("small"), "{text}");
    }

    /// Even at the finest level the HTML parser says nothing: its messages quote what it parses.
    #[test]
    fn parsing_html_logs_nothing() {
        let text = logged(LogFormat::Text, "trace", || {
            let content = ruma::events::room::message::RoomMessageEventContent::text_html(
                "x",
                "<canary &canary; <b canary='",
            );
            let capabilities = crate::capabilities::Capabilities::default();
            crate::translate::to_whatsapp(&content.msgtype, false, "canary", &capabilities)
                .expect("text");
        });
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn libraries_say_nothing() {
        let text = logged(LogFormat::Text, "trace", || {
            let span =
                tracing::error_span!(target: "matrix_sdk_crypto::machine", "s", user = "@canary:b");
            let _inside = span.enter();
            tracing::error!(target: "hyper_util::client", "canary");
            tracing::debug!(target: "sqlx::query", "canary");
            tracing::info!("heard");
        });
        assert!(text.contains("heard") && !text.contains("canary"), "{text}");
    }

    #[test]
    fn a_wrong_level_is_explained() {
        let log = Log {
            format: LogFormat::Text,
            level: "info,=".to_owned(),
        };
        let error = subscriber(log.format, &log.level, io::stderr)
            .err()
            .expect("no filter");
        assert!(error.to_string().contains("write for example"), "{error}");
    }
}
