//! The phone page and a Matrix web client in a real browser: two phones and the client have a conversation of all that
//! people do, and both sides agree. The steps are in `tests/clients/web/converse.mjs`.

use serde_json::json;
use tests::stack::{Options, PASSWORD, Stack};
use tests::web::{PATIENCE, WebClient};
use tests::{Result, gatehouse};

#[tokio::test]
async fn two_phones_and_a_web_client_converse() -> Result<()> {
    let options = Options {
        gatehouse: gatehouse::Options::accepting_everything(),
        ..Options::default()
    };
    let stack = Stack::start("page", options).await?;
    let user = stack.enlisted("alice").await?;
    let mut phones = Vec::new();
    for (number, name) in [("+4915112345678", "Bea"), ("+4915187654321", "Cem")] {
        let phone = stack.sandbox.phone(number, name).await?;
        let page = phone.page(stack.sandbox.addresses());
        phones.push(json!({"page": page, "number": number, "name": name}));
    }
    let log = |name: &str| stack.folder().join(name);
    let web = WebClient::serve(stack.synapse.url(), &log("web-client.log")).await?;
    let arguments = json!({
        "web": web.address(), "user": user, "password": PASSWORD, "phones": phones,
        "folder": stack.folder(),
    });
    web.run("converse.mjs", &arguments, &log("converse.log"), PATIENCE)
        .await
        .map_err(|error| stack.explain(error))
}
