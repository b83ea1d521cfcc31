//! Contact cards: an attachment of vCards, which is how Matrix carries people.

use bytes::Bytes;
use gatekeeper::message::Contact;
use puppeting::AttachmentEncryptor;
use serde_json::{Value, json};

use super::Work;
use crate::passes::Hold;

/// Longest name of a file, in characters.
const NAME_CHARS: usize = 60;

impl Work<'_> {
    /// Uploads cards as one encrypted file; gives the content of its message.
    pub(super) async fn contacts(&self, contacts: &[Contact]) -> Result<Value, Hold> {
        let mut plain = String::new();
        for contact in contacts {
            plain.push_str(contact.vcard.trim_end());
            plain.push_str("\r\n");
        }
        let mut encryptor = AttachmentEncryptor::new().map_err(|error| Hold::failed(&error))?;
        let mut cipher = Vec::with_capacity(plain.len());
        encryptor
            .update(plain.as_bytes(), &mut cipher)
            .map_err(|error| Hold::failed(&error))?;
        let length = cipher.len() as u64;
        let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(cipher))]);
        let address = self
            .ghost
            .upload(length, pieces)
            .await
            .map_err(|error| Hold::failed(&error))?;
        let file = encryptor.finish().file(address);
        let name = file_name(contacts);
        Ok(json!({
            "msgtype": "m.file",
            "body": name,
            "filename": name,
            "info": { "mimetype": "text/vcard", "size": plain.len() },
            "file": file,
        }))
    }
}

fn file_name(contacts: &[Contact]) -> String {
    let name = match contacts {
        [one] => one
            .name
            .chars()
            .filter(|c| !c.is_control() && !matches!(c, '/' | '\\' | ':'))
            .take(NAME_CHARS)
            .collect(),
        many => format!("{} contacts", many.len()),
    };
    match name.trim() {
        "" => "contact.vcf".to_owned(),
        name => format!("{name}.vcf"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        let named = |name: &str| {
            file_name(&[Contact {
                name: name.to_owned(),
                vcard: String::new(),
            }])
        };
        assert_eq!(named("Bea B."), "Bea B..vcf");
        assert_eq!(named("../a\n/b"), "..ab.vcf");
        assert_eq!(named(" "), "contact.vcf");
        assert_eq!(
            file_name(&[Contact::default(), Contact::default()]),
            "2 contacts.vcf"
        );
    }
}
