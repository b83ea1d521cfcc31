//! Messages that cannot be handled: kept aside, and tried again when they are brought back.

use std::sync::Arc;

use gatekeeper::stanzas::IncomingMessage;
use store::{Batch, messages, quarantine as store_quarantine};

use super::{
    Chat,
    handle::{Source, handle},
    order,
};
use crate::{
    core::Core,
    passes::{Hold, caught},
    quarantine,
};

/// Keeps a message that cannot be handled, and takes it out of the mailbox; says whether that was possible.
pub(super) async fn set_aside(
    core: &Arc<Core>,
    chat: &Chat,
    message: &IncomingMessage,
    why: &str,
) -> bool {
    if let Err(hold) = quarantine::keep_stanza(core, &chat.0, &chat.1, message, why).await {
        tracing::warn!(login = %core.log_id(&chat.0), reason = %hold.reason, "a message cannot be set aside");
        return false;
    }
    if let Some(position) = order::position(message) {
        core.incoming.pass_over(chat, &position);
    }
    if let Some(login) = core.logins.get(&chat.0) {
        for receipt in core.profile.taken(message) {
            // Not connected: the message comes again at the next connection, and is known then.
            let _ = login.connection.send(receipt).await;
        }
    }
    true
}

/// Tries messages once more that were set aside.
pub(super) async fn again(core: &Arc<Core>, chat: &Chat) -> Result<(), Hold> {
    let (login, peer) = chat;
    for row in store_quarantine::due(&core.store, login, peer).await? {
        let Some(message) = quarantine::stanza_of(&row) else {
            quarantine::keep_damaged(core, row).await?;
            continue;
        };
        match caught(Box::pin(handle(
            core,
            chat,
            vec![message.clone()],
            Source::Aside,
        )))
        .await
        {
            Ok(_) => {
                let written = messages::get(&core.store, login, peer, &message.id).await?;
                if written.is_none() {
                    // It cannot be decrypted, and its sender was asked for it again. Until it comes this is all that there is.
                    let why = "it cannot be decrypted; its sender was asked for it again";
                    quarantine::keep_stanza(core, login, peer, &message, why).await?;
                    continue;
                }
                let mut batch = Batch::new();
                store_quarantine::done(&mut batch, login, peer, &message.id);
                failpoints::around!("incoming.back.commit", core.store.commit(batch).await)?;
            }
            Err(hold) if hold.lasting => {
                quarantine::keep_stanza(core, login, peer, &message, &hold.reason).await?;
            }
            Err(hold) => return Err(hold),
        }
    }
    Ok(())
}
