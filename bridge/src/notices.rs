//! What the bridge has to tell people: of a message that waits or failed, of a contact, of themselves.
//!
//! It is written down first, together with what it is about; [`crate::reports`] then tells it, exactly once over crashes.

use std::sync::Arc;

use store::{
    Batch, Millis, messages, portals,
    portals::Portal,
    reports::{self, Kind, NewReport},
};

use crate::{
    core::{Core, Wake},
    passes::Hold,
};

/// What a sender is told for whom nobody is enlisted.
const NOT_JOINED: &str =
    "you are not joined to WhatsApp. Write “enable” to the bot, then send it again";

/// Why there is no login for a user, as the end of a sentence without its full stop.
pub(crate) fn why_no_login(core: &Core, login: &str) -> &'static str {
    if core.is_blocked(login) {
        return "whoever runs this server does not let you use this bridge";
    }
    NOT_JOINED
}

/// Why a message did not go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There is nothing on the other side that it could become.
    Unsupported,
    /// The bridge cannot decrypt it.
    NoKey,
    /// The gatekeeper will not have it.
    Refused,
    /// It went, and the other side could not use it.
    Unusable,
    /// It went, and the other side never shows its kind.
    Unshown,
    /// The sender is not enlisted.
    NotJoined,
    /// The gatekeeper is away, or has not answered.
    Unanswered,
    /// The bridge failed at it, and has set it aside.
    SetAside,
    /// The bridge has no room for its file.
    Full,
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::Unsupported,
        Self::NoKey,
        Self::Refused,
        Self::Unusable,
        Self::Unshown,
        Self::NotJoined,
        Self::Unanswered,
        Self::SetAside,
        Self::Full,
    ];

    /// The word in the database.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::NoKey => "no_key",
            Self::Refused => "refused",
            Self::Unusable => "unusable",
            Self::Unshown => "unshown",
            Self::NotJoined => "not_joined",
            Self::Unanswered => "unanswered",
            Self::SetAside => "set_aside",
            Self::Full => "full",
        }
    }

    /// Reads the word; of a note nothing.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// Something to be said about an event.
#[derive(Debug)]
pub(crate) struct Notice<'a> {
    /// The event that it is about.
    event_id: &'a str,
    kind: Kind,
    reason: Reason,
    /// Why, as the end of a sentence without its full stop.
    why: String,
    loud: bool,
}

impl<'a> Notice<'a> {
    fn failed(event_id: &'a str, reason: Reason, why: &str) -> Self {
        Self {
            event_id,
            kind: Kind::Failed,
            reason,
            why: why.to_owned(),
            loud: true,
        }
    }

    /// A message cannot be sent, now or ever. The text follows "Your message was not sent to WhatsApp:".
    pub(crate) fn not_sent(event_id: &'a str, why: &str) -> Self {
        Self::failed(event_id, Reason::Unsupported, why)
    }

    /// Nobody is enlisted for the sender.
    pub(crate) fn not_joined(event_id: &'a str) -> Self {
        Self::failed(event_id, Reason::NotJoined, NOT_JOINED)
    }

    /// Nobody is connected for the sender: not enlisted, or not allowed to be.
    pub(crate) fn no_login(event_id: &'a str, core: &Core, login: &str) -> Self {
        Self::failed(event_id, Reason::NotJoined, why_no_login(core, login))
    }

    /// There is no room for a message's file at present.
    pub(crate) fn full(event_id: &'a str, why: &str) -> Self {
        Self::failed(event_id, Reason::Full, why)
    }

    /// The bridge failed at a message again and again.
    pub(crate) fn set_aside(event_id: &'a str) -> Self {
        let why = "something is wrong in the bridge. It is set aside; whoever runs the bridge can have it tried again. Or send it once more";
        Self::failed(event_id, Reason::SetAside, why)
    }

    /// A message was damaged on the bridge's disk.
    pub(crate) fn damaged(event_id: &'a str) -> Self {
        let why = "it was damaged on the bridge's disk. Send it again";
        Self::failed(event_id, Reason::SetAside, why)
    }

    /// The gatekeeper refused a message for good.
    pub(crate) fn refused(event_id: &'a str, why: &str) -> Self {
        Self::failed(event_id, Reason::Refused, why)
    }

    /// A message went, but the other side could not read or show it. The text follows "Your message reached WhatsApp but was
    /// not shown there:".
    pub(crate) fn unusable(event_id: &'a str, why: &str) -> Self {
        Self::failed(event_id, Reason::Unusable, why)
    }

    /// A message went, but its kind is not shown in third-party chats.
    fn unshown(event_id: &'a str) -> Self {
        let why = "WhatsApp does not show this kind of message in chats with other messengers";
        Self::failed(event_id, Reason::Unshown, why)
    }

    /// A message waits. The text follows "Your message has not gone to WhatsApp yet:". Only a loud one makes a notice.
    pub(crate) fn waits(event_id: &'a str, reason: Reason, why: &str, loud: bool) -> Self {
        Self {
            event_id,
            kind: Kind::Waiting,
            reason,
            why: why.to_owned(),
            loud,
        }
    }

    /// The key of a message is missing; `withheld` is the code with which the sender's client keeps it back, if it said so.
    pub(crate) fn no_key(event_id: &'a str, withheld: Option<&str>) -> Self {
        let why = match withheld {
            Some("m.unverified" | "m.blacklisted") => {
                "your client keeps the key to it back from this contact. Allow messages to this contact's device in your client's settings, then write it again".to_owned()
            }
            Some(code) => format!("your client does not give the key to it ({code}). Write it again"),
            None => "the key to it has not arrived yet. It is kept, and sent when the key comes".to_owned(),
        };
        Self::waits(event_id, Reason::NoKey, &why, true)
    }

    /// Wants it told, in the same commit as the rest of the batch. Follow the commit with [`wake`].
    pub(crate) fn put(&self, batch: &mut Batch, core: &Core, login: &str, peer: &str) {
        reports::put(
            batch,
            &NewReport {
                about: self.event_id.to_owned(),
                login: login.to_owned(),
                peer: peer.to_owned(),
                kind: self.kind,
                reason: self.reason.as_str().to_owned(),
                body: self.why.clone(),
                loud: self.loud,
                created_ts: core.now(),
            },
        );
    }
}

/// Has told what was written down for a chat.
pub(crate) fn wake(core: &Core, login: &str, peer: &str) {
    core.wake(Wake::Reports(login.to_owned(), peer.to_owned()));
}

/// Tells something about a message in a portal, and writes `done` in the same commit.
pub(crate) async fn post(
    core: &Arc<Core>,
    portal: &Portal,
    notice: Notice<'_>,
    done: Batch,
) -> Result<(), Hold> {
    let mut batch = done;
    notice.put(&mut batch, core, &portal.login, &portal.peer);
    failpoints::around!("notice.commit", core.store.commit(batch).await)?;
    wake(core, &portal.login, &portal.peer);
    Ok(())
}

/// Wants something told in a chat that is about no message; with an empty `peer` in the user's chat with the bot. `id` is the
/// same whenever the same news is told: it is said once. It is told within seconds, or at once with [`wake`] after the commit.
pub(crate) fn note(
    batch: &mut Batch,
    now: Millis,
    login: &str,
    peer: &str,
    id: String,
    text: &str,
) {
    reports::put(
        batch,
        &NewReport {
            about: id,
            login: login.to_owned(),
            peer: peer.to_owned(),
            kind: Kind::Note,
            reason: String::new(),
            body: text.to_owned(),
            loud: true,
            created_ts: now,
        },
    );
}

/// The event that became a stanza of ours for a contact, and its portal.
async fn message_of(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
    stanza_id: &str,
) -> Result<Option<(String, Portal)>, Hold> {
    let found = messages::get(&core.store, login, peer, stanza_id).await?;
    let message = found.filter(|message| message.direction == messages::Direction::Out);
    let Some(event_id) = message.and_then(|message| message.event_id) else {
        return Ok(None);
    };
    let portal = portals::by_peer(&core.store, login, peer).await?;
    Ok(portal.map(|portal| (event_id, portal)))
}

/// What came of telling something in the background.
fn log_untold(core: &Core, login: &str, result: Result<(), Hold>) {
    if let Err(hold) = result {
        tracing::warn!(login = %core.log_id(login), reason = %hold.reason, "what became of a message could not be told");
    }
}

/// Tells about the event that became a stanza of ours for a contact; says whether that is written down.
async fn tell_of(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
    stanza_id: &str,
    notice: impl FnOnce(&str) -> Notice<'_>,
) -> bool {
    let result = async {
        match message_of(core, login, peer, stanza_id).await? {
            Some((event, portal)) => post(core, &portal, notice(&event), Batch::new()).await,
            None => Ok(()),
        }
    };
    let result = result.await;
    let noted = result.is_ok();
    log_untold(core, login, result);
    noted
}

/// The gatekeeper acknowledged a message with an error: it will not be delivered. Wants that told in `batch`; gives the event that
/// became the message.
///
/// # Errors
///
/// When the database cannot be read.
pub(crate) async fn refused_by_gatekeeper(
    core: &Arc<Core>,
    batch: &mut Batch,
    login: &str,
    peer: &str,
    stanza_id: &str,
    why: &str,
) -> Result<Option<String>, Hold> {
    let Some((event, portal)) = message_of(core, login, peer, stanza_id).await? else {
        return Ok(None);
    };
    Notice::refused(&event, why).put(batch, core, &portal.login, &portal.peer);
    Ok(Some(event))
}

/// The other side has the message and cannot use it. Says whether that is written down: only then the other side may forget it.
pub(crate) async fn unusable_there(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
    stanza_id: &str,
    why: &str,
) -> bool {
    tell_of(core, login, peer, stanza_id, |event| {
        Notice::unusable(event, why)
    })
    .await
}

/// The other side never shows messages of this kind. Says the same.
pub(crate) async fn unshown_there(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
    stanza_id: &str,
) -> bool {
    tell_of(core, login, peer, stanza_id, |event| Notice::unshown(event)).await
}

/// The gatekeeper does not take a message now; it is sent again. The first such refusal is told, and after it every one whose
/// count is a power of two.
pub(crate) async fn delayed_by_gatekeeper(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
    stanza_id: &str,
    code: u16,
) {
    let result = async {
        let Some((event, portal)) = message_of(core, login, peer, stanza_id).await? else {
            return Ok(());
        };
        let before = reports::get(&core.store, &event).await?;
        let tries = before.map_or(0, |report| report.attempts).saturating_add(1);
        let why = delayed(code, tries);
        let notice = Notice::waits(&event, Reason::Unanswered, &why, true);
        let mut batch = Batch::new();
        notice.put(&mut batch, core, &portal.login, &portal.peer);
        reports::tried(&mut batch, &event);
        failpoints::around!("delay.commit", core.store.commit(batch).await)?;
        wake(core, &portal.login, &portal.peer);
        Ok(())
    };
    log_untold(core, login, result.await);
}

/// What is said of the `tries`th refusal: the same for several, so that a notice is not edited all the time.
fn delayed(code: u16, tries: u32) -> String {
    let shown = 1 << tries.max(1).ilog2();
    let times = match shown {
        1 => String::new(),
        shown => format!(", {shown} times and more"),
    };
    format!("WhatsApp does not take it now (code {code}{times}). It is kept and tried again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_read_as_they_are_written() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(Reason::parse(""), None);
    }

    #[test]
    fn a_notice_of_retries_changes_ever_more_rarely() {
        let mut said: Vec<String> = (1..=100).map(|tries| delayed(429, tries)).collect();
        assert_eq!(delayed(429, 0), delayed(429, 1));
        said.dedup();
        assert_eq!(said.len(), 7, "{said:?}");
    }
}
