//! What is told of an enlistment and of the end of a login; the first start.

use super::*;

#[tokio::test]
async fn an_enlistment_that_is_put_off_is_told_once() -> Result<()> {
    let stack = Stack::prepare("status-enlistment", Options::default()).await?;
    let result = async {
        stack.sandbox.stop().await?;
        stack.gatehouse.start().await?;
        stack.synapse.register("anna", PASSWORD).await?;
        let user = PlainUser::login(stack.synapse.url(), "anna", PASSWORD).await?;
        let room = user.chat_with(&stack.bot()).await?;
        user.ask(&room, "enable", |said| said.contains("if you agree"))
            .await?;
        user.ask(&room, "accept", |said| said.contains("I keep trying"))
            .await?;
        crash(&stack).await?;
        wait::until("another attempt", PATIENCE, || async {
            let log = stack.gatehouse.log()?;
            let tries = log.matches("enlistment address cannot be reached").count();
            Ok((tries >= 4).then_some(()))
        })
        .await?;
        stack.sandbox.go_on().await?;
        wait::until("the enlistment", PATIENCE, || async {
            let said = user.said(&room).await?;
            Ok(said
                .iter()
                .any(|said| said.starts_with("You are joined"))
                .then_some(()))
        })
        .await?;
        let said = user.said(&room).await?;
        let told = said.iter().filter(|said| said.contains("I keep trying"));
        assert_eq!(told.count(), 1, "{said:?}");
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

/// After 40 days without a connection the gatekeeper does not know the user any more.
#[tokio::test]
async fn the_end_of_a_login_is_told_once() -> Result<()> {
    let options = Options {
        gatehouse: gatehouse::Options {
            environment: vec![gatehouse::refusals_believed()],
            ..gatehouse::Options::default()
        },
        ..Options::default()
    };
    let stack = Stack::start("status-ended", options).await?;
    let result = async {
        stack.synapse.register("anna", PASSWORD).await?;
        let user = PlainUser::login(stack.synapse.url(), "anna", PASSWORD).await?;
        let room = user.chat_with(&stack.bot()).await?;
        user.ask(&room, "enable", |said| said.contains("if you agree"))
            .await?;
        user.ask(&room, "accept", |said| said.starts_with("You are joined"))
            .await?;
        stack.gatehouse.stop().await?;
        stack.sandbox.advance_clock(40 * 24 * 3600).await?;
        stack.gatehouse.start().await?;
        let told = async || -> Result<usize> {
            let said = user.said(&room).await?;
            Ok(said
                .iter()
                .filter(|said| said.contains("not joined to WhatsApp any more"))
                .count())
        };
        wait::until("word of the end", PATIENCE, || async {
            Ok((told().await? == 1).then_some(()))
        })
        .await?;
        crash(&stack).await?;
        user.ask(&room, "status", |said| said.contains("You are not joined"))
            .await?;
        user.ask(&room, "version", |said| said.starts_with("gatehouse "))
            .await?;
        assert_eq!(told().await?, 1);
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

/// Nobody is given an empty key set, and until there is a key the bridge is not ready.
#[tokio::test]
async fn the_first_start_is_ready_with_its_first_key() -> Result<()> {
    let stack = Stack::prepare("status-first", Options::default()).await?;
    let ports = stack.gatehouse.ports();
    let jwks = format!("{}/.well-known/oauth/openid/jwks", ports.public_url());
    let ready = format!("{}/_matrix/mau/ready", ports.appservice_url());
    stack.gatehouse.launch()?;
    let keys = wait::until("a key set", PATIENCE, || async {
        let client = http::client()?;
        // Ready first: what is ready stays so, and its key set must have a key.
        let is_ready = client.get(&ready).send().await;
        let is_ready = is_ready.is_ok_and(|answer| answer.status().is_success());
        let Ok(answer) = client.get(&jwks).send().await else {
            return Ok(None);
        };
        if !answer.status().is_success() {
            assert!(!is_ready, "ready without a key");
            return Ok(None);
        }
        Ok(Some(answer.json::<Value>().await?))
    })
    .await?;
    assert!(
        keys["keys"].as_array().is_some_and(|keys| !keys.is_empty()),
        "{keys}"
    );
    Ok(())
}
