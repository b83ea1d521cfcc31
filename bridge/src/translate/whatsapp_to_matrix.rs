//! WhatsApp text as a Matrix message.

use ruma::events::room::message::RoomMessageEventContent;

/// A text in both forms of Matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixText {
    /// The text as it came, marks included.
    pub body: String,
    /// HTML, when there is anything to format.
    pub formatted_body: Option<String>,
}

impl MatrixText {
    /// As the content of an `m.room.message` of type `m.text`.
    #[must_use]
    pub fn into_content(self) -> RoomMessageEventContent {
        match self.formatted_body {
            Some(html) => RoomMessageEventContent::text_html(self.body, html),
            None => RoomMessageEventContent::text_plain(self.body),
        }
    }
}

/// Translates a text.
#[must_use]
pub fn to_matrix(text: &str) -> MatrixText {
    MatrixText {
        body: text.to_owned(),
        formatted_body: None,
    }
}
