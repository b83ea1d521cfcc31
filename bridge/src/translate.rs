//! Translation between Matrix messages and WhatsApp text: pure functions, nothing stored, nothing logged.

mod html;
mod marks;
mod matrix_to_whatsapp;
mod whatsapp_to_matrix;

pub use self::{
    matrix_to_whatsapp::{Options, to_whatsapp},
    whatsapp_to_matrix::{MatrixText, to_matrix},
};

/// Why a message cannot go to WhatsApp. The text is for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no text in it.
    #[error("there is nothing in this message that WhatsApp could show")]
    Empty,
    /// It is longer than WhatsApp takes.
    #[error("this message has {length} characters and WhatsApp takes {limit}: send it in parts")]
    TooLong {
        /// Its length in characters, as WhatsApp would get it.
        length: usize,
        /// The longest possible.
        limit: usize,
    },
    /// A kind of message that does not cross.
    #[error("{what} cannot be sent to WhatsApp yet: only text can")]
    Kind {
        /// What it is, as the subject of a sentence: "a picture".
        what: &'static str,
    },
    /// An edit of an earlier message.
    #[error("an edit cannot be sent to WhatsApp yet: the other side keeps the first version")]
    Edit,
    /// A notice, as bots write them; they stay in Matrix unless the operator has them bridged.
    #[error("notices are not sent to WhatsApp")]
    Notice,
}

impl Refusal {
    /// Whether nobody needs to be told: what was refused was not meant for the other side.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Notice)
    }
}
