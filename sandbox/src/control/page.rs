//! A page that shows a phone: its chats, and what its owner would do with them.
//!
//! It is one document without parts from elsewhere, and uses the control API like anybody else.

use axum::{
    extract::{Path, State},
    http::header,
    response::{Html, IntoResponse},
};

use super::{Context, Error, phones::phone};

const PAGE: &str = include_str!("page/phone.html");

/// Nothing but what the page itself holds may run or be fetched.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The page of one phone. The number comes from the address, so the page is the same for all.
pub(super) async fn show(
    State(context): State<Context>,
    Path(number): Path<String>,
) -> Result<impl IntoResponse, Error> {
    phone(&context, &number)?;
    Ok(([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE)))
}
