//! The sandbox as the harness drives it, without a bridge beside it.

use serde_json::json;
use tests::Result;
use tests::sandbox::{Phone, Sandbox};
use tests::scratch::Scratch;

#[tokio::test]
async fn a_sandbox_comes_back_where_it_was_with_its_phones() -> Result<()> {
    let scratch = Scratch::new("phones")?;
    let sandbox = Sandbox::start(scratch.path(), "base_url=http://127.0.0.1:9").await?;
    let phone = sandbox.phone("+4915100000001", "Bea").await?;
    phone.options(json!({"auto_receipts": false})).await?;
    let twice = sandbox.phone("+4915100000001", "Bea").await;
    assert!(twice.is_err(), "a number is taken once");
    let to_nobody = phone
        .send("@nobody:localhost", "hello")
        .await
        .expect_err("nobody is enlisted");
    assert!(
        to_nobody.to_string().contains("enlist"),
        "says what to do: {to_nobody}"
    );

    sandbox.stop().await?;
    assert!(phone.options(json!({})).await.is_err(), "it is gone");
    sandbox.go_on().await?;
    let same = Phone::new(sandbox.addresses().control.clone(), phone.number());
    same.options(json!({"online": true})).await?;
    assert!(sandbox.partner_user("@nobody:localhost").await?.is_none());
    Ok(())
}
