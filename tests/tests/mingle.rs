//! Random use by many at once: three Matrix users in web clients and two phones on their pages, each with everybody. In the
//! end the pages of both sides agree. What they do is in `tests/clients/web/mingle.mjs`.
//!
//! `GATEHOUSE_MINGLE=600` makes it ten minutes instead of half of one, `GATEHOUSE_SEED` draws other acts.

use std::time::Duration;

use serde_json::json;
use tests::stack::{Options, PASSWORD, Stack};
use tests::web::WebClient;
use tests::{Result, gatehouse};

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .map_err(|_| tests::Error::new(format!("{name} is to be a number, not {text:?}"))),
        Err(_) => Ok(otherwise),
    }
}

#[tokio::test]
async fn three_users_and_two_phones_agree_in_the_end() -> Result<()> {
    let seconds = number("GATEHOUSE_MINGLE", 30)?;
    let options = Options {
        gatehouse: gatehouse::Options::accepting_everything(),
        ..Options::default()
    };
    let stack = Stack::start("mingle", options).await?;
    let mut users = Vec::new();
    for name in ["alice", "bob", "carol"] {
        users.push(stack.enlisted(name).await?);
    }
    let mut phones = Vec::new();
    for (number, name) in [("+4915112345678", "Bea"), ("+4915187654321", "Cem")] {
        let phone = stack.sandbox.phone(number, name).await?;
        let page = phone.page(stack.sandbox.addresses());
        phones.push(json!({"page": page, "number": number}));
    }
    let log = |name: &str| stack.folder().join(name);
    let web = WebClient::serve(stack.synapse.url(), &log("web-client.log")).await?;
    let arguments = json!({
        "web": web.address(), "users": users, "password": PASSWORD, "phones": phones, "seconds": seconds,
        "seed": number("GATEHOUSE_SEED", 1)?, "folder": stack.folder(),
    });
    let patience = Duration::from_secs(600 + seconds);
    web.run("mingle.mjs", &arguments, &log("mingle.log"), patience)
        .await
        .map_err(|error| stack.explain(error))
}
