//! WhatsApp users that a login has met.

use crate::{
    Batch, Error, Store,
    batch::{Delete, Insert, OnConflict, args},
    db::Row,
    opaque::opaque,
};

/// A contact of one login.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact {
    /// Matrix id of the login.
    pub login: String,
    /// The contact's JID.
    pub peer: String,
    /// Phone number with `+`.
    pub phone: String,
    /// Another JID of the same person, if known.
    pub alias: Option<String>,
}

opaque!(Contact);

static PUT: Insert = Insert {
    table: "contacts",
    columns: &["login", "peer", "phone", "alias"],
    key: 2,
    conflict: OnConflict::Replace,
};
static DELETE: Delete = Delete {
    table: "contacts",
    keys: &["login", "peer"],
};

/// Writes a contact.
pub fn put(batch: &mut Batch, contact: &Contact) {
    batch.insert(
        &PUT,
        args![
            &contact.login,
            &contact.peer,
            &contact.phone,
            &contact.alias
        ],
    );
}

/// Forgets a contact.
pub fn delete(batch: &mut Batch, login: &str, peer: &str) {
    batch.delete(&DELETE, args![login, peer]);
}

/// A login's contact by JID.
pub async fn get(store: &Store, login: &str, peer: &str) -> Result<Option<Contact>, Error> {
    let sql = "SELECT login, peer, phone, alias FROM contacts WHERE login = $1 AND peer = $2";
    store.one(sql, args![login, peer], contact).await
}

/// A login's contact by phone number (with `+`).
pub async fn by_phone(store: &Store, login: &str, phone: &str) -> Result<Option<Contact>, Error> {
    let sql = "SELECT login, peer, phone, alias FROM contacts \
               WHERE login = $1 AND phone = $2 ORDER BY peer LIMIT 1";
    store.one(sql, args![login, phone], contact).await
}

/// All contacts of a login.
pub async fn list(store: &Store, login: &str) -> Result<Vec<Contact>, Error> {
    let sql = "SELECT login, peer, phone, alias FROM contacts WHERE login = $1 ORDER BY peer";
    store.all(sql, args![login], contact).await
}

fn contact(row: &Row<'_>) -> Result<Contact, Error> {
    Ok(Contact {
        login: row.text(0)?,
        peer: row.text(1)?,
        phone: row.text(2)?,
        alias: row.opt_text(3)?,
    })
}
