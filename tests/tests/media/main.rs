//! Files that are damaged, gone, too large or not what they say, over a killed bridge, and without filling its memory. That
//! each kind crosses is tried with the capability table, in `table`.

mod faults;
mod hostile;
mod kill;
mod limits;

use std::path::PathBuf;

use serde_json::{Value, json};
use tests::chat::Chat;
use tests::client::TimelineEvent;
use tests::stack::{Options, Stack};
use tests::wait::{self, PATIENCE};
use tests::{Error, Result, gatehouse, large, synapse};

fn with_media(more: &[(&str, &str)]) -> gatehouse::Options {
    let mut environment = vec![(
        "GATEHOUSE_GATEKEEPER__PROFILE__MESSAGE__ACCEPTED".to_owned(),
        "[text, image, video, gif, audio, document, sticker, reaction, reply]".to_owned(),
    )];
    environment.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    gatehouse::Options {
        environment,
        ..gatehouse::Options::default()
    }
}

const MAX_BYTES: &str = "GATEHOUSE_GATEKEEPER__PROFILE__MEDIA__MAX_BYTES";

fn attached(msgtype: &str, name: &str, upload: &tests::client::Upload, info: Value) -> Value {
    let mut info = info;
    info["size"] = json!(upload.size);
    json!({ "msgtype": msgtype, "body": name, "file": upload.file, "info": info })
}
