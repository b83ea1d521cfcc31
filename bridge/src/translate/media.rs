//! Files: what a Matrix event with a file becomes on WhatsApp, and the other way round. The files themselves are carried
//! by [`crate::media`]; here is only what is said about them.

mod blurred;
mod to_matrix;
mod to_whatsapp;

pub use self::{
    blurred::blurred,
    to_matrix::{Attached, Uploaded, event, file_name, long_text, vcards},
    to_whatsapp::{Attachment, Source, attachment},
};

/// A media type without its parameters, in lower case.
fn essence(mimetype: &str) -> String {
    let essence = mimetype.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
