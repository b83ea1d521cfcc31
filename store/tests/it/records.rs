//! Rows of every kind are read as they were written.

mod keys;
mod logins;
mod messages;
mod rooms;

use store::{Batch, Store};

const LOGIN: &str = "@alice:example.org";
const PEER: &str = "123@s.whatsapp.net";

async fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    store.commit(batch).await.unwrap();
}
