//! The capability table of the bridge, row by row and in both directions, through Synapse with a real encrypting client and a
//! phone: what arrives is compared field by field and files by their SHA-256; of what does not cross, the words that its
//! sender is told, or that stand for it.
//!
//! What was compared is a part of the page docs/capabilities.md. `GATEHOUSE_PAGE=write` writes it anew.

mod canary;
mod page;
mod to_matrix;
mod to_whatsapp;
mod trial;

use std::collections::{BTreeMap, BTreeSet};

use gatehouse::capabilities::{Capabilities, Level, Row, TABLE};
use gatekeeper::profile::Profile;
use tests::gatehouse::EVERY_KIND;
use tests::stack::{Options, Stack};
use tests::{Error, Result, cache, gatehouse as bridge};

use self::trial::{Bench, Side, Trial, Words};

/// Characters of the longest text: what is longer still fits into an event.
const TEXT_CHARS: usize = 30_000;

/// What was compared in one direction, row by row.
type Compared = BTreeMap<&'static str, BTreeSet<String>>;

/// A bridge whose gatekeeper shows these kinds, and what its table says then.
fn settings(accepted: &[&str], notices: bool) -> (bridge::Options, Capabilities) {
    let set = |key: &str, value: String| (format!("GATEHOUSE_{key}"), value);
    let environment = vec![
        set(
            "GATEKEEPER__PROFILE__MESSAGE__ACCEPTED",
            format!("{accepted:?}"),
        ),
        set("LIMITS__TEXT_CHARS", TEXT_CHARS.to_string()),
        set("APPSERVICE__BRIDGE_NOTICES", notices.to_string()),
    ];
    let options = bridge::Options {
        environment,
        ..bridge::Options::default()
    };
    let mut profile = Profile::default();
    profile.message.accepted = accepted.iter().map(|&word| word.to_owned()).collect();
    (options, Capabilities::new(&profile, TEXT_CHARS, notices))
}

/// Tries one cell.
async fn try_cell(bench: &Bench<'_>, row: &Row, from: Side) -> Result<BTreeSet<String>> {
    let way = match from {
        Side::Matrix => bench.capabilities.to_whatsapp(row.feature),
        Side::WhatsApp => bench.capabilities.to_matrix(row.feature),
    };
    let trial = Trial::new(bench, row.feature, way);
    match from {
        Side::Matrix => to_whatsapp::try_it(&trial).await?,
        Side::WhatsApp => to_matrix::try_it(&trial).await?,
    }
    trial.compared()
}

/// Tries the rows that `wanted` names, and goes on after one that fails.
async fn walk(bench: &Bench<'_>, from: Side, wanted: impl Fn(&Row) -> bool) -> Result<Compared> {
    let mut compared = Compared::new();
    let mut failed = Vec::new();
    for row in TABLE.iter().filter(|row| wanted(row)) {
        match try_cell(bench, row, from).await {
            Ok(cell) => drop(compared.insert(row.title, cell)),
            Err(error) => failed.push(format!("{from:?}, {}: {error}", row.title)),
        }
        cache::progress(&format!("{from:?}: {}", row.title));
    }
    if failed.is_empty() {
        return Ok(compared);
    }
    Err(bench.stack.explain(Error::new(failed.join("\n"))))
}

/// Everything is on: all rows to WhatsApp.
async fn with_every_flag(words: &Words) -> Result<Compared> {
    let (options, capabilities) = settings(&EVERY_KIND, true);
    let all_on = TABLE.iter().all(|row| capabilities.has(row.feature));
    assert!(all_on, "a flag of the table is missing here");
    let options = Options {
        gatehouse: options,
        ..Options::default()
    };
    let stack = Stack::start("table", options).await?;
    let number = "+4915260000001";
    let bench = Bench::open(&stack, "anna", number, Side::Matrix, &capabilities, words).await?;
    walk(&bench, Side::Matrix, |_| true).await
}

/// The rows that are another thing to WhatsApp than with every flag, with fewer.
async fn with_fewer(stack: &Stack, capabilities: &Capabilities, words: &Words) -> Result<Compared> {
    let (_, all) = settings(&EVERY_KIND, true);
    let number = "+4915260000002";
    let bench = Bench::open(stack, "bert", number, Side::Matrix, capabilities, words).await?;
    walk(&bench, Side::Matrix, |row| {
        capabilities.to_whatsapp(row.feature) != all.to_whatsapp(row.feature)
    })
    .await
}

/// Nothing but text is on: all rows to Matrix, since what comes is shown whatever the flags say; and what is refused then.
async fn without_flags(words: &Words) -> Result<(Compared, Compared)> {
    let (options, capabilities) = settings(&["text"], false);
    let options = Options {
        gatehouse: options,
        ..Options::default()
    };
    let stack = Stack::start("table-text", options).await?;
    let number = "+4915260000003";
    let bench = Bench::open(&stack, "cora", number, Side::WhatsApp, &capabilities, words).await?;
    let to_matrix = walk(&bench, Side::WhatsApp, |_| true).await?;
    Ok((to_matrix, with_fewer(&stack, &capabilities, words).await?))
}

/// The flags as they are delivered.
async fn as_delivered(words: &Words) -> Result<Compared> {
    let accepted = Profile::default().message.accepted;
    let accepted: Vec<&str> = accepted.iter().map(String::as_str).collect();
    let (options, capabilities) = settings(&accepted, false);
    let options = Options {
        gatehouse: options,
        ..Options::default()
    };
    let stack = Stack::start("table-delivered", options).await?;
    with_fewer(&stack, &capabilities, words).await
}

#[tokio::test]
async fn every_row_both_ways() -> Result<()> {
    let words = Words::new("word-");
    let (on, off) = tokio::join!(with_every_flag(&words), async {
        let (to_matrix, none) = without_flags(&words).await?;
        let delivered = as_delivered(&words).await?;
        Ok::<_, Error>((to_matrix, none, delivered))
    });
    let to_whatsapp = on?;
    let (to_matrix, mut fewer, delivered) = off?;
    for (title, compared) in delivered {
        fewer.entry(title).or_default().extend(compared);
    }
    for row in TABLE {
        let tried = |compared: &Compared| compared.contains_key(row.title);
        assert!(tried(&to_whatsapp) && tried(&to_matrix), "{}", row.title);
        let has_other = row.without.is_some_and(|way| way.level != Level::Absent);
        assert!(
            tried(&fewer) || !has_other,
            "{} without its flag",
            row.title
        );
    }
    page::check(&to_whatsapp, &fewer, &to_matrix)
}
