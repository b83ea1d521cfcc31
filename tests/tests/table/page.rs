//! What was compared, as a part of the page docs/capabilities.md.

use std::path::PathBuf;

use gatehouse::capabilities::{Capabilities, TABLE};
use tests::{Error, Result, binaries};

use crate::Compared;

const HEAD: &str = "
## How this is tried

`cargo xtask test -p tests --test table` walks the same table, each row in each direction, through Synapse, between matrix-js-sdk, which encrypts and trusts no insecure device,
and a phone of the sandbox; a row without a case does not compile. This is what the walk compared, as it wrote it down itself: fields of the message as the phone shows it or of the event's
content, or the words of which the table above speaks.

| | Matrix to WhatsApp | without the flag | WhatsApp to Matrix |
|---|---|---|---|
";

fn path() -> PathBuf {
    binaries::workspace().join("docs/capabilities.md")
}

fn cell(compared: &Compared, title: &str) -> String {
    match compared.get(title) {
        Some(what) if !what.is_empty() => {
            let what: Vec<&str> = what.iter().map(String::as_str).collect();
            what.join(", ")
        }
        _ => "–".to_owned(),
    }
}

/// Compares the page with what was compared, or writes it.
pub(crate) fn check(
    to_whatsapp: &Compared,
    without: &Compared,
    to_matrix: &Compared,
) -> Result<()> {
    let mut page = Capabilities::default().markdown();
    page.push_str(HEAD);
    for row in TABLE {
        let cells = [to_whatsapp, without, to_matrix].map(|compared| cell(compared, row.title));
        page.push_str(&format!("| {} | {} |\n", row.title, cells.join(" | ")));
    }
    if std::env::var("GATEHOUSE_PAGE").is_ok_and(|what| what == "write") {
        return Ok(std::fs::write(path(), page)?);
    }
    if std::fs::read_to_string(path())? == page {
        return Ok(());
    }
    Err(Error::new(format!(
        "docs/capabilities.md is stale; GATEHOUSE_PAGE=write has this test write it. It should be:\n{page}"
    )))
}
