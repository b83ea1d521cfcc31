//! The HTTP clients of the harness.

use std::sync::Once;
use std::time::Duration;

use crate::Result;

/// A client that keeps no connection between requests: tests share servers across runtimes, and a pooled
/// connection dies with the runtime that opened it.
///
/// # Errors
///
/// When the TLS provider cannot be set up.
pub fn client() -> Result<reqwest::Client> {
    let builder = builder().timeout(Duration::from_secs(60));
    Ok(builder.pool_max_idle_per_host(0).build()?)
}

/// As [`client`], for files: they may take long, but must not stand still.
///
/// # Errors
///
/// As [`client`].
pub fn streaming() -> Result<reqwest::Client> {
    let builder = builder().read_timeout(Duration::from_secs(60));
    Ok(builder.pool_max_idle_per_host(0).build()?)
}

/// A client that keeps its connections, for many requests within one runtime.
///
/// # Errors
///
/// As [`client`].
pub fn pooled_client() -> Result<reqwest::Client> {
    Ok(builder().timeout(Duration::from_secs(60)).build()?)
}

fn builder() -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that another part of this process has installed one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
    reqwest::Client::builder()
}
