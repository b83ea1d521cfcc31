//! The table.

/// Something that people do in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Plain text.
    Text,
    /// Bold, lists and the like.
    Formatting,
    /// Somebody's name in a text.
    Mention,
    /// `m.emote`.
    Emote,
    /// `m.notice`, what bots write.
    Notice,
    /// An answer that quotes a message.
    Reply,
    /// A Matrix thread.
    Thread,
    /// An emoji on a message.
    Reaction,
    /// Other content for a message that was sent.
    Edit,
    /// A message deleted for everyone.
    Delete,
    /// A picture.
    Image,
    /// A video.
    Video,
    /// A short video that plays by itself, without sound.
    Gif,
    /// WhatsApp's round video message.
    RoundVideo,
    /// A voice message.
    Voice,
    /// Music and other sound.
    Audio,
    /// Any file.
    File,
    /// A sticker.
    Sticker,
    /// Text below a file.
    Caption,
    /// Media that may be seen once.
    ViewOnce,
    /// A place.
    Location,
    /// A place that moves.
    LiveLocation,
    /// An address-book card.
    Contact,
    /// A poll and votes in it.
    Poll,
    /// Messages that go away after a time.
    Timer,
    /// Audio and video calls.
    Call,
    /// An invitation to a group.
    GroupInvite,
    /// That a message was read or played.
    ReadReceipt,
    /// That a message has reached a device.
    DeliveryReceipt,
    /// That somebody writes.
    Typing,
    /// Whether somebody is online.
    Presence,
    /// A message whose key is missing.
    Undecryptable,
    /// Whatever this version does not know.
    Unknown,
}

/// How well something crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// As what it is.
    Full,
    /// In another form, or without a part of it.
    Partial,
    /// As a text that says what came.
    Placeholder,
    /// Not at all; its sender is told.
    Refused,
    /// Not at all, by design; nobody is told.
    Dropped,
    /// There is no such thing on the side that it would come from.
    Absent,
}

/// What becomes of a feature in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// How well it crosses.
    pub level: Level,
    /// How. Of what is refused, the reason as its sender is told: it follows "Your message was not sent to
    /// WhatsApp:".
    pub words: &'static str,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is about.
    pub feature: Feature,
    /// What it is called in lists.
    pub title: &'static str,
    /// The word in `gatekeeper.profile.message.accepted` that turns it on.
    pub flag: Option<&'static str>,
    /// Matrix to WhatsApp, with the flag.
    pub to_whatsapp: Way,
    /// Matrix to WhatsApp without the flag.
    pub without: Option<Way>,
    /// As what it goes where it does not go as itself: if that is refused, so is this.
    pub carried_as: Option<Feature>,
    /// WhatsApp to Matrix.
    pub to_matrix: Way,
}

impl Feature {
    /// Its row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        TABLE
            .iter()
            .find(|row| row.feature == self)
            .unwrap_or(&UNKNOWN)
    }
}

const fn full(words: &'static str) -> Way {
    Way {
        level: Level::Full,
        words,
    }
}

const fn partial(words: &'static str) -> Way {
    Way {
        level: Level::Partial,
        words,
    }
}

const fn placeholder(words: &'static str) -> Way {
    Way {
        level: Level::Placeholder,
        words,
    }
}

const fn refused(words: &'static str) -> Way {
    Way {
        level: Level::Refused,
        words,
    }
}

const fn dropped(words: &'static str) -> Way {
    Way {
        level: Level::Dropped,
        words,
    }
}

const ABSENT: Way = Way {
    level: Level::Absent,
    words: "",
};

const NAMED: Way = placeholder("a notice says what came");

const UNKNOWN: Row = Row {
    feature: Feature::Unknown,
    title: "anything else",
    flag: None,
    to_whatsapp: refused("a message of this kind cannot be sent to WhatsApp"),
    without: None,
    carried_as: None,
    to_matrix: NAMED,
};

/// Every feature, once.
pub static TABLE: &[Row] = &[
    Row {
        feature: Feature::Text,
        title: "text",
        flag: None,
        to_whatsapp: full("whole; a text that is too long is refused, never cut"),
        without: None,
        carried_as: None,
        to_matrix: full("whole; as a file where it is too long for an event"),
    },
    Row {
        feature: Feature::Formatting,
        title: "formatting",
        flag: None,
        to_whatsapp: partial(
            "bold, italic, struck-out, code, lists and quotes become WhatsApp's marks; links keep their address; headings, tables and spoilers become text",
        ),
        without: None,
        carried_as: None,
        to_matrix: full("WhatsApp's marks become HTML"),
    },
    Row {
        feature: Feature::Mention,
        title: "mentions",
        flag: None,
        to_whatsapp: partial("the name is written"),
        without: None,
        carried_as: None,
        to_matrix: partial("as WhatsApp writes it"),
    },
    Row {
        feature: Feature::Emote,
        title: "emotes (/me)",
        flag: None,
        to_whatsapp: partial("a text that begins with your name"),
        without: None,
        carried_as: None,
        to_matrix: ABSENT,
    },
    Row {
        feature: Feature::Notice,
        title: "notices of bots",
        flag: None,
        to_whatsapp: partial("as text"),
        without: Some(dropped("what bots write stays in Matrix")),
        carried_as: None,
        to_matrix: ABSENT,
    },
    Row {
        feature: Feature::Reply,
        title: "replies",
        flag: Some("reply"),
        to_whatsapp: full("with the quoted message"),
        without: Some(partial("the quoted words stand above the answer")),
        carried_as: None,
        to_matrix: full("with the quoted message, or its words where it is not in the room"),
    },
    Row {
        feature: Feature::Thread,
        title: "threads",
        flag: None,
        to_whatsapp: partial("as a reply"),
        without: None,
        carried_as: None,
        to_matrix: ABSENT,
    },
    Row {
        feature: Feature::Reaction,
        title: "reactions",
        flag: Some("reaction"),
        to_whatsapp: full("one on each message: another one takes the place of the first"),
        without: Some(refused("reactions do not go to WhatsApp yet")),
        carried_as: None,
        to_matrix: full(
            "one of each person; in the clear, as Matrix clients send them, so the homeserver sees the emoji",
        ),
    },
    Row {
        feature: Feature::Edit,
        title: "edits",
        flag: Some("edit"),
        to_whatsapp: full("of your own messages, for a quarter of an hour"),
        without: Some(refused(
            "an edit cannot be sent to WhatsApp yet, and the other side still shows the first version",
        )),
        carried_as: None,
        to_matrix: full("as an edit"),
    },
    Row {
        feature: Feature::Delete,
        title: "deletions",
        flag: Some("revoke"),
        to_whatsapp: full("of your own messages, for two days"),
        without: Some(refused(
            "a deletion cannot be sent to WhatsApp yet, and the other side still has the message",
        )),
        carried_as: None,
        to_matrix: full("the message is redacted"),
    },
    Row {
        feature: Feature::Image,
        title: "pictures",
        flag: Some("image"),
        to_whatsapp: full("with caption; other formats than JPEG, PNG and WebP go as files"),
        without: Some(refused("pictures do not go to WhatsApp yet")),
        carried_as: None,
        to_matrix: full("with caption"),
    },
    Row {
        feature: Feature::Video,
        title: "videos",
        flag: Some("video"),
        to_whatsapp: full("with caption; other formats than MP4 and 3GP go as files"),
        without: Some(refused("videos do not go to WhatsApp yet")),
        carried_as: None,
        to_matrix: full("with caption"),
    },
    Row {
        feature: Feature::Gif,
        title: "GIFs",
        flag: Some("gif"),
        to_whatsapp: full("as a video that plays by itself"),
        without: Some(partial("as a video or a file")),
        carried_as: Some(Feature::Video),
        to_matrix: full("as a video that plays by itself"),
    },
    Row {
        feature: Feature::RoundVideo,
        title: "round videos",
        flag: None,
        to_whatsapp: ABSENT,
        without: None,
        carried_as: None,
        to_matrix: partial("as a video"),
    },
    Row {
        feature: Feature::Voice,
        title: "voice messages",
        flag: Some("audio"),
        to_whatsapp: full("Ogg/Opus, with length and waveform; other formats go as audio"),
        without: Some(refused("voice messages do not go to WhatsApp yet")),
        carried_as: None,
        to_matrix: full("with length and waveform"),
    },
    Row {
        feature: Feature::Audio,
        title: "audio",
        flag: Some("audio"),
        to_whatsapp: full("as audio; unusual formats go as files"),
        without: Some(refused("audio does not go to WhatsApp yet")),
        carried_as: None,
        to_matrix: full("as audio"),
    },
    Row {
        feature: Feature::File,
        title: "files",
        flag: Some("document"),
        to_whatsapp: full("of any type"),
        without: Some(refused("files do not go to WhatsApp yet")),
        carried_as: None,
        to_matrix: full("of any type"),
    },
    Row {
        feature: Feature::Sticker,
        title: "stickers",
        flag: Some("sticker"),
        to_whatsapp: full("WebP as stickers, others as pictures"),
        without: Some(partial("as pictures")),
        carried_as: Some(Feature::Image),
        to_matrix: partial("as pictures"),
    },
    Row {
        feature: Feature::Caption,
        title: "captions",
        flag: None,
        to_whatsapp: full("with pictures, videos and files; with audio as a text after it"),
        without: None,
        carried_as: None,
        to_matrix: full("with the file"),
    },
    Row {
        feature: Feature::ViewOnce,
        title: "view-once media",
        flag: None,
        to_whatsapp: ABSENT,
        without: None,
        carried_as: None,
        to_matrix: partial("shown with a note, and deleted once you have read it"),
    },
    Row {
        feature: Feature::Location,
        title: "locations",
        flag: Some("location"),
        to_whatsapp: full("as a place on the map"),
        without: Some(partial("as a link to a map")),
        carried_as: None,
        to_matrix: full("as a place on the map"),
    },
    Row {
        feature: Feature::LiveLocation,
        title: "live locations",
        flag: None,
        to_whatsapp: refused(
            "a live location cannot be sent to WhatsApp: send the place where you are instead",
        ),
        without: None,
        carried_as: None,
        to_matrix: NAMED,
    },
    Row {
        feature: Feature::Contact,
        title: "contact cards",
        flag: None,
        to_whatsapp: partial("a vCard goes as a file"),
        without: None,
        carried_as: Some(Feature::File),
        to_matrix: partial("as vCard files"),
    },
    Row {
        feature: Feature::Poll,
        title: "polls and votes",
        flag: None,
        to_whatsapp: refused(
            "polls and votes do not go to WhatsApp: ask the question as text instead",
        ),
        without: None,
        carried_as: None,
        to_matrix: NAMED,
    },
    Row {
        feature: Feature::Timer,
        title: "disappearing messages",
        flag: None,
        to_whatsapp: ABSENT,
        without: None,
        carried_as: None,
        to_matrix: partial("the room is told once, and what comes is deleted when it is due"),
    },
    Row {
        feature: Feature::Call,
        title: "calls",
        flag: None,
        to_whatsapp: refused("calls do not go to WhatsApp, and the other side does not ring"),
        without: None,
        carried_as: None,
        to_matrix: NAMED,
    },
    Row {
        feature: Feature::GroupInvite,
        title: "group invitations",
        flag: None,
        to_whatsapp: ABSENT,
        without: None,
        carried_as: None,
        to_matrix: NAMED,
    },
    Row {
        feature: Feature::ReadReceipt,
        title: "read receipts",
        flag: None,
        to_whatsapp: full("unless you switch them off"),
        without: None,
        carried_as: None,
        to_matrix: full("read and played"),
    },
    Row {
        feature: Feature::DeliveryReceipt,
        title: "delivery receipts",
        flag: None,
        to_whatsapp: full("when a message is safe in the bridge"),
        without: None,
        carried_as: None,
        to_matrix: partial("as the status of the message, in clients that show it"),
    },
    Row {
        feature: Feature::Typing,
        title: "typing",
        flag: None,
        to_whatsapp: full("while you type"),
        without: None,
        carried_as: None,
        to_matrix: full("typing and recording"),
    },
    Row {
        feature: Feature::Presence,
        title: "presence",
        flag: None,
        to_whatsapp: dropped("nobody learns when you are online"),
        without: None,
        carried_as: None,
        to_matrix: dropped("WhatsApp does not tell"),
    },
    Row {
        feature: Feature::Undecryptable,
        title: "messages whose key is missing",
        flag: None,
        to_whatsapp: partial("kept, and sent when the key comes; you are told after half a minute"),
        without: None,
        carried_as: None,
        to_matrix: placeholder("asked for again, and replaced by the message when it comes"),
    },
    UNKNOWN,
];
