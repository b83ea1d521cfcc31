//! More than the rows of the capability table, which are tried in `table`: what is about other messages, in bursts, in the
//! wrong order and while it waits, through Synapse with a real encrypting client and a phone. And what must be refused.

mod about;
mod bursts;
mod hostile;
mod rooms;
mod waiting;

use tests::stack::{Options, Stack};
use tests::{Result, gatehouse};
use tokio::sync::OnceCell;

/// A bridge whose gatekeeper shows everything.
fn everything() -> gatehouse::Options {
    let mut options = gatehouse::Options::accepting_everything();
    // What is too long for WhatsApp shall still fit into an event.
    let limit = "GATEHOUSE_LIMITS__TEXT_CHARS".to_owned();
    options.environment.push((limit, "30000".to_owned()));
    options
}

/// One stack with such a bridge for the tests of these files; each has its own users and phones.
async fn stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_try_init(|| {
            let options = Options {
                gatehouse: everything(),
                ..Options::default()
            };
            Stack::start("kinds", options)
        })
        .await
}

/// One stack with the profile as it is delivered: edits and deletions are not known to work.
async fn careful_stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_try_init(|| Stack::start("kinds-default", Options::default()))
        .await
}
