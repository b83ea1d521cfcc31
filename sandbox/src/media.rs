//! Files: the media server, the proxy to partners' files, and what phones have fetched.
//!
//! Everything lies encrypted in a folder, as it would on a server: what phones send is encrypted on
//! its way in, and what they fetch is checked while it comes and decrypted when somebody looks at it.
//! No file is ever held in memory as a whole.

mod fetch;
mod range;
mod serve;
mod store;
mod upload;

pub(crate) use self::{
    fetch::{Fetch, deliver},
    serve::{DOWNLOAD_PATH, FILE_PATH, download, file},
    store::{Files, Hosted, Shelf, Uploads},
    upload::{Claim, UPLOAD_PATH, upload},
};
