//! The HTTP client for everything but the homeserver.

use std::time::Duration;

/// A client with the one TLS provider of the program. Answers are small everywhere: each caller sets its own deadline
/// below the one minute here.
///
/// # Errors
///
/// When the TLS roots of the system cannot be read.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    install_tls();
    reqwest::Client::builder()
        .user_agent(concat!("gatehouse/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(60))
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// Makes aws-lc-rs the TLS provider of the process. A second call changes nothing.
pub fn install_tls() {
    // It fails only when a provider is installed already, and there is only this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client for files: they may take as long as they need, but must not stand still.
///
/// # Errors
///
/// As [`client`].
pub fn streaming() -> Result<reqwest::Client, reqwest::Error> {
    install_tls();
    reqwest::Client::builder()
        .user_agent(concat!("gatehouse/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(60))
        .redirect(reqwest::redirect::Policy::none())
        .build()
}
