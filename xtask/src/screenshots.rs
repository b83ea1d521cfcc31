//! `cargo xtask screenshots`: the pictures of the README, of a conversation that really takes place.

use clap::Args;
use serde_json::json;
use tests::web::{PATIENCE, WebClient};
use tests::{Result, binaries, cache};

use crate::{prerequisites, steps, try_it};

/// Make the pictures of the README: a conversation in a web client beside the phone page
#[derive(Debug, Args)]
#[command(after_help = "\
Needs Chromium. The pictures are written to docs/images, or where --folder says.

Example:
  cargo xtask screenshots")]
pub(crate) struct Screenshots {
    /// Where to write them
    #[arg(long, value_name = "FOLDER")]
    folder: Option<std::path::PathBuf>,
}

pub(crate) async fn run(arguments: &Screenshots) -> Result<()> {
    prerequisites::to_browse()?;
    let folder = match &arguments.folder {
        Some(folder) => folder.clone(),
        None => binaries::workspace().join("docs/images"),
    };
    std::fs::create_dir_all(&folder)?;
    let (stack, ready) = try_it::start().await?;
    let log = |name: &str| stack.folder().join(name);
    let web = WebClient::serve(stack.synapse.url(), &log("web-client.log")).await?;
    cache::progress("playing the conversation");
    let arguments = json!({
        "web": web.address(), "user": ready.user, "password": ready.password,
        "phone_page": ready.phone_page, "folder": folder,
    });
    web.run("picture.mjs", &arguments, &log("picture.log"), PATIENCE)
        .await
        .map_err(|error| stack.explain(error))?;
    stack.stop().await;
    steps::say(format_args!("the pictures are in {}", folder.display()));
    Ok(())
}
