//! A wall clock that jumps.

use super::*;

#[tokio::test]
async fn messages_go_on_over_jumps_of_the_clock() -> Result<()> {
    let (_scratch, shim, mut options) = over_shim()?;
    options.gatehouse.environment.push((
        "GATEHOUSE_GATEKEEPER__PROFILE__MESSAGE__ACCEPTED".to_owned(),
        r#"["text","edit","revoke"]"#.to_owned(),
    ));
    let stack = Stack::start("clock", options).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000021").await?;
        // Five hours on, then three days back, which is before the first message; then right again.
        for (round, seconds) in [5 * 3600, -3 * 24 * 3600, 0].into_iter().enumerate() {
            let before = format!("before {round}");
            let early = chat.client.send(&chat.room, &before).await?;
            chat.on_phone(&before).await?;
            shim.clock(seconds)?;
            // By the clock here its time is over, or it was never written.
            let changed = format!("changed {round}");
            chat.client.edit(&chat.room, &early, &changed).await?;
            chat.on_phone(&changed).await?;
            stack.sandbox.advance_clock(3600).await?;
            let (there, back) = (format!("there {round}"), format!("back {round}"));
            let event = chat.client.send(&chat.room, &there).await?;
            chat.on_phone(&there).await?;
            let id = chat.phone.send(chat.me(), &back).await?;
            chat.seen(&back).await?;
            chat.phone
                .wait_for_status(chat.me(), &id, "delivered")
                .await?;
            chat.client
                .wait_for(&chat.room, "the status of a message", |each| {
                    each.relates("m.reference", &event) && each.content["status"] == "SUCCESS"
                })
                .await?;
            // A new room key, and a message that comes before it is known.
            stack.gatehouse.freeze();
            chat.client.discard_session(&chat.room).await?;
            let late = format!("late {round}");
            chat.client.send(&chat.room, &late).await?;
            stack.gatehouse.thaw();
            chat.on_phone(&late).await?;
        }
        let mut expected = vec!["hello".to_owned()];
        for round in 0..3 {
            expected.extend(["changed", "there", "late"].map(|what| format!("{what} {round}")));
        }
        assert_eq!(chat.texts_on_phone().await?, expected);
        let expected = ["hello to you", "back 0", "back 1", "back 2"];
        assert_eq!(chat.texts_in_room().await?, expected);
        assert_eq!(status(&stack)?["quarantined"], 0);
        assert!(!stack.gatehouse.log()?.contains("panicked"), "nothing did");
        Ok(())
    }
    .await;
    explained(&stack, result)
}

/// A token from the future is refused with the code that says that the user is gone.
#[tokio::test]
async fn a_login_refused_for_a_wrong_clock_comes_back_by_itself() -> Result<()> {
    let (_scratch, shim, options) = over_shim()?;
    let stack = Stack::start("refused", options).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000022").await?;
        stack.sandbox.stop().await?;
        shim.clock(5 * 3600)?;
        stack.sandbox.go_on().await?;
        wait::until("the refusal", PATIENCE, || async {
            let log = stack.gatehouse.log()?;
            Ok(log
                .contains("refused the login with code 401")
                .then_some(()))
        })
        .await?;
        shim.clock(0)?;
        chat.client.send(&chat.room, "still here").await?;
        chat.on_phone("still here").await?;
        chat.phone.send(chat.me(), "so am I").await?;
        chat.seen("so am I").await.map(drop)
    }
    .await;
    explained(&stack, result)
}
