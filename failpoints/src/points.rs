//! The list of places.

/// A place at which a test can end the bridge: before and after a step, or where something is about to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name, as in the code.
    pub name: &'static str,
    /// What follows the name: `.before` and `.after` of a step, otherwise nothing.
    pub sides: &'static [&'static str],
    /// What happens there.
    pub about: &'static str,
}

const fn step(name: &'static str, about: &'static str) -> Place {
    Place {
        name,
        sides: &[".before", ".after"],
        about,
    }
}

const fn place(name: &'static str, about: &'static str) -> Place {
    Place {
        name,
        sides: &[""],
        about,
    }
}

/// All of them.
pub const ALL: &[Place] = &[
    // From the homeserver into the inbox.
    step(
        "transaction.commit",
        "the commit of a transaction to the inbox",
    ),
    place(
        "transaction.answer",
        "a transaction is durable and about to be answered",
    ),
    place(
        "inbox.take",
        "events were taken out of the inbox to be handled",
    ),
    step(
        "inbox.nothing.commit",
        "the commit that takes events out of the inbox that become nothing",
    ),
    step(
        "inbox.again.commit",
        "the commit that counts a try of an event that cannot be handled",
    ),
    step(
        "inbox.aside.commit",
        "the commit that sets an event aside, with what is to be told",
    ),
    step(
        "inbox.anew.commit",
        "the commit of an event that was damaged and read from the homeserver once more",
    ),
    step(
        "replay.commit",
        "the commit that brings back what was set aside",
    ),
    step(
        "management.done",
        "the commit that takes an answered command out of the inbox, with its answer",
    ),
    step(
        "member.done",
        "the commit that takes a change of membership out of the inbox",
    ),
    place(
        "todevice.take",
        "to-device messages were taken out of the inbox",
    ),
    step(
        "todevice.done",
        "the commit that takes handed-over to-device messages out of the inbox",
    ),
    step(
        "devices.done",
        "the commit that takes handed-over device lists and key counts out of the inbox",
    ),
    step(
        "catchup.commit",
        "the commit of what was found in the rooms and came in no transaction",
    ),
    step(
        "sweep.commit",
        "the commit that says how far the inbox of a device has been read",
    ),
    // Megolm and the devices of ghosts.
    step(
        "machine.commit",
        "the commit of what a device has heard: room keys, device lists",
    ),
    step("megolm.decrypt", "the decryption of an event"),
    step("megolm.encrypt", "a step of a room's ratchet"),
    step(
        "megolm.share.commit",
        "the commit of a new room key, before anybody has it",
    ),
    step(
        "megolm.share.send",
        "the to-device request that hands out a room key",
    ),
    step(
        "megolm.claim",
        "the request for one-time keys of other devices",
    ),
    step(
        "megolm.claimed.commit",
        "the commit of Olm sessions made with claimed keys",
    ),
    step("megolm.query", "the request for device lists"),
    step(
        "exchange.commit",
        "the commit of what a device is about to ask for",
    ),
    step(
        "exchanged.commit",
        "the commit of what a device was answered",
    ),
    step(
        "ghost.row.commit",
        "the commit of a new ghost's name, before anybody hears of it",
    ),
    step("ghost.register", "the registration of a ghost"),
    step(
        "ghost.stage.commit",
        "the commit of a step in the making of a ghost",
    ),
    step("ghost.device", "the making of a ghost's device"),
    step(
        "ghost.keys.commit",
        "the commit of a ghost's new keys, before they are published",
    ),
    step(
        "ghost.crosssigning",
        "the upload of a ghost's cross-signing keys",
    ),
    step(
        "ghost.crosssigned.commit",
        "the commit that says that a ghost's cross-signing keys were uploaded",
    ),
    step(
        "ghost.keys",
        "the upload of a ghost's device key, one-time keys and fallback key",
    ),
    step("ghost.signature", "the upload of the device's signature"),
    step(
        "ghost.signed.commit",
        "the commit that says that a ghost's device is signed",
    ),
    step("ghost.name", "the request that sets a ghost's name"),
    step(
        "ghost.named.commit",
        "the commit that says how a ghost's name is set",
    ),
    // Matrix to WhatsApp.
    step("contact.commit", "the commit of a contact's address"),
    step(
        "portal.adopt",
        "a ghost joins the room that a user made for it",
    ),
    step("portal.invite", "the bot is invited into such a room"),
    step(
        "portal.bot.commit",
        "the commit that says whether the bot is in the room of a portal",
    ),
    step("portal.commit", "the commit of a portal"),
    step(
        "portal.describe",
        "the request that says in the state of a room what it is",
    ),
    step(
        "portal.described.commit",
        "the commit that says that a room was described",
    ),
    step(
        "portal.closed.commit",
        "the commit that takes a room from its portal, when its user has left it",
    ),
    step("signal.bundle", "the request for the keys of a contact"),
    step("signal.establish", "the opening of a Signal session"),
    step("signal.encrypt", "a step of a Signal ratchet, to encrypt"),
    step(
        "outgoing.commit",
        "the commit of ratchet, stanzas, message rows and handled events",
    ),
    step(
        "withdraw.commit",
        "the commit that takes a deleted message out of the outbox before it has left",
    ),
    step(
        "delivery.send",
        "the handing of a stanza of the outbox to the connection",
    ),
    step("wire.write", "the writing of stanzas to the socket"),
    place("ack.come", "an ack of the gatekeeper has come"),
    place(
        "ack.commit",
        "what acks and receipts say is about to be written down",
    ),
    place(
        "ack.committed",
        "what acks and receipts say is written down",
    ),
    step(
        "status.send",
        "the status event that says what became of a message",
    ),
    step(
        "status.commit",
        "the commit that says that a status was told",
    ),
    step(
        "notice.commit",
        "the commit that wants something told about a message",
    ),
    step(
        "notice.key.commit",
        "a step of the ratchet of the bot's room key, for a notice",
    ),
    step("notice.send", "the request that puts a notice into a room"),
    step("notice.gone", "the request that takes a notice back"),
    step(
        "report.commit",
        "the commit that says that something was told",
    ),
    step(
        "report.over.commit",
        "the commit that says that a notice was taken back",
    ),
    step(
        "delay.commit",
        "the commit that says that the gatekeeper takes a message only later",
    ),
    step(
        "outbox.aside.commit",
        "the commit that sets a damaged stanza aside",
    ),
    step(
        "preferences.commit",
        "the commit of whether a user wants read receipts sent",
    ),
    step(
        "read.commit",
        "the commit of what the user has read, with the receipt for the contact",
    ),
    // A file to WhatsApp.
    step(
        "hosting.download",
        "the request for a file at the homeserver",
    ),
    step(
        "hosting.file",
        "a whole file gets its name in the media folder",
    ),
    step("hosting.commit", "the commit of a hosted file"),
    step(
        "hosting.end.commit",
        "the commit that says that a hosted file is not needed any more",
    ),
    step(
        "shelf.removed.commit",
        "the commit that says that hosted files were deleted",
    ),
    // Receipts from WhatsApp.
    place("receipt.come", "a receipt has come"),
    step("receipt.ack", "the ack of a receipt"),
    step("seen.send", "the read marker that a ghost sets"),
    place("retry.come", "a retry receipt has come"),
    step("retry.commit", "the commit of a message encrypted anew"),
    step("retry.ack", "the ack of a retry receipt"),
    step("identity.commit", "the commit of a contact's new identity"),
    step("identity.ack", "the ack of a contact's new identity"),
    // WhatsApp to Matrix.
    place("incoming.take", "a message has come"),
    step("signal.decrypt", "a step of a Signal ratchet, to decrypt"),
    step(
        "incoming.commit",
        "the commit of ratchets, event to send and message row",
    ),
    step(
        "incoming.receipt",
        "the delivery receipt that takes a message out of the gatekeeper's mailbox",
    ),
    step(
        "incoming.aside.commit",
        "the commit that keeps a message that cannot be handled",
    ),
    step(
        "incoming.back.commit",
        "the commit that says that a message that was brought back is handled",
    ),
    step("retry.ask", "a retry receipt of ours"),
    step(
        "retry.keys.commit",
        "the commit of a prekey made for a retry receipt",
    ),
    step(
        "placeholder.send",
        "the event that stands for a message that cannot be read yet",
    ),
    step(
        "placeholder.key.commit",
        "a step of a room's ratchet, for a placeholder",
    ),
    step(
        "placeholder.commit",
        "the commit of a placeholder's event id",
    ),
    step(
        "portal.room",
        "the making of a portal's room, with the invitation of its user",
    ),
    step("portal.join", "the bot joins a portal"),
    step("portal.user", "a user is invited to a portal"),
    step("posting.send", "the request that puts an event into a room"),
    place(
        "posting.commit",
        "an event was accepted, and that is about to be written down",
    ),
    place(
        "posting.committed",
        "it is written down that an event was accepted",
    ),
    step(
        "posting.again.commit",
        "the commit that counts a try of an event that the homeserver refuses",
    ),
    step(
        "posting.aside.commit",
        "the commit that sets an event aside that the homeserver refuses",
    ),
    step(
        "sends.aside.commit",
        "the commit that sets a damaged event aside",
    ),
    step(
        "fading.seen.commit",
        "the commit that says that a message that may be seen once was seen",
    ),
    step(
        "fading.commit",
        "the commit that has a message redacted whose time has come",
    ),
    // A file to Matrix.
    step(
        "fetching.download",
        "the request for a file at the media server",
    ),
    place(
        "fetching.upload",
        "the upload of a file to the homeserver is about to begin",
    ),
    place("fetching.uploaded", "a file is at the homeserver"),
    step(
        "again.commit",
        "the commit of a file that was asked for again, with the event that shows it",
    ),
    // Enlistment and the keys at the gatekeeper.
    step("botroom.create", "the making of the bot's room with a user"),
    step(
        "botroom.join",
        "the bot joins a chat that a user made with it",
    ),
    step("botroom.commit", "the commit of the bot's room with a user"),
    step(
        "botroom.left.commit",
        "the commit that forgets the bot's room, when its user has left it",
    ),
    step("consent.commit", "the commit of a user's consent"),
    step(
        "enlist.keys.commit",
        "the commit of a login's new keys, before anybody hears of them",
    ),
    step("enlist.request", "the enlistment at the gatekeeper"),
    step(
        "enlist.commit",
        "the commit of the identity that the gatekeeper gave",
    ),
    step(
        "leave.request",
        "the request that ends an enlistment at the gatekeeper",
    ),
    step(
        "leave.commit",
        "the commit of the end of an enlistment, with what is to be told",
    ),
    step(
        "erase.leave",
        "a ghost leaves the room of a user who is erased",
    ),
    step(
        "erase.rooms.commit",
        "the commit that erases what belongs to a user's rooms",
    ),
    step(
        "erase.former.commit",
        "the commit that erases what belongs to a user's former rooms",
    ),
    step(
        "erase.user.commit",
        "the commit that erases the rest of what is kept of a user",
    ),
    step(
        "prekeys.make.commit",
        "the commit of new one-time prekeys, before they are published",
    ),
    step("prekeys.upload", "the upload of one-time prekeys"),
    step(
        "prekeys.uploaded.commit",
        "the commit that says that prekeys were uploaded",
    ),
    step(
        "signedkey.commit",
        "the commit of a new signed prekey, before it is published",
    ),
    step("signedkey.upload", "the upload of a new signed prekey"),
    // All of them.
    step("store.commit", "any commit of the database"),
];
