//! Messages that one side cannot read.

use serde_json::json;
use tests::Result;

use super::Stage;

impl Stage {
    /// What was sent to a phone that was off is encrypted for an identity that it has no more.
    pub(super) async fn retry_there(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        talk.phone.options(json!({"online": false})).await?;
        let event = talk.write(&format!("[{n}] for the old phone")).await?;
        let told = |each: &tests::client::TimelineEvent| {
            each.kind == "com.beeper.message_send_status"
                && each.content["m.relates_to"]["event_id"] == event.as_str()
        };
        talk.client
            .wait_for(&talk.room, "it to be sent", told)
            .await?;
        talk.phone.reinstall().await?;
        talk.phone.options(json!({"online": true})).await?;
        self.risen().await?;
        talk.say(&format!("[{n}] from the new phone"))
            .await
            .map(drop)
    }

    pub(super) async fn retry_here(&self, n: usize) -> Result<()> {
        let sandbox = &self.stack.sandbox;
        sandbox.faults(json!({"corrupt": 1.0})).await?;
        let damaged = format!("[{n}] damaged");
        let said = self.talk.say(&damaged).await;
        let risen = self.risen().await;
        sandbox.faults(json!({"reset": true})).await?;
        said.and(risen.map(|()| String::new()))?;
        // What has to be asked for again may come after what was written later.
        self.talk.event_of(&damaged).await?;
        self.talk.say(&format!("[{n}b] whole")).await.map(drop)
    }

    pub(super) async fn placeholder(&self, n: usize) -> Result<()> {
        let (sandbox, talk) = (&self.stack.sandbox, &self.talk);
        // Late enough that the phone is off when it is asked.
        sandbox
            .faults(json!({"corrupt": 1.0, "delay_ms": 1500}))
            .await?;
        talk.say(&format!("[{n}] damaged")).await?;
        talk.phone.options(json!({"online": false})).await?;
        sandbox.faults(json!({"reset": true})).await?;
        let risen = self.risen().await;
        talk.phone.options(json!({"online": true})).await?;
        risen?;
        talk.say(&format!("[{n}b] whole")).await.map(drop)
    }
}
