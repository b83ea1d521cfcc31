use gatekeeper::stanza::Jid;

use super::*;
use crate::testing::{self, LOGIN, PEER};

fn receipt(id: &str, count: u8) -> RetryReceipt {
    RetryReceipt {
        peer: Jid::phone("4915100000001"),
        id: id.to_owned(),
        participant: None,
        recipient: None,
        count,
        t: 0,
        reason: None,
        registration_id: 1,
        keys: None,
        offline: None,
    }
}

fn chat() -> Chat {
    (LOGIN.to_owned(), PEER.to_owned())
}

fn waiting(core: &Core) -> (Vec<String>, u32) {
    let waiting = core.answers.waiting();
    let queue = waiting.get(&chat());
    queue.map_or_else(Default::default, |queue| {
        let receipts = queue.receipts.iter();
        let ids = receipts.map(|waiting| waiting.receipt.id.clone()).collect();
        (ids, queue.attempts)
    })
}

#[tokio::test]
async fn what_cannot_be_answered_now_is_tried_again_and_again() {
    let (core, _folder) = testing::core().await;
    let mut batch = Batch::new();
    messages::put(&mut batch, &testing::sent("A", "$a"));
    core.store.commit(batch).await.expect("a commit");
    core.logins.start(&core, LOGIN);
    core.answers.take(&core, LOGIN, receipt("A", 1));
    core.answers.take(&core, LOGIN, receipt("nobody's", 1));
    // The homeserver does not answer.
    testing::until("a second try", || waiting(&core).1 >= 2).await;
    assert!(waiting(&core).0.contains(&"A".to_owned()));
    core.logins.stop(LOGIN).await;
    core.answers.wake(&core, chat());
    testing::until("their end with the login", || waiting(&core).0.is_empty()).await;
}

#[test]
fn the_newest_for_a_message_counts_and_the_rest_is_brought_again() {
    let answers = Answers::new();
    let mut queue = Queue::default();
    queue.take(receipt("A", 1));
    for count in 1..WAITING {
        queue.take(receipt(&count.to_string(), 1));
    }
    queue.take(receipt("A", 2));
    assert!(!queue.overflowed);
    assert_eq!(queue.receipts[0].receipt.count, 2);
    queue.take(receipt("B", 1));
    assert!(queue.overflowed);
    let first = queue.receipts.pop_front().expect("a receipt");
    queue.put_back(first.clone());
    queue.put_back(first);
    assert_eq!(queue.receipts.len(), WAITING, "once, behind the others");
    answers.waiting().insert(chat(), queue);
    assert!(matches!(answers.close(&chat(), true), Pass::Later(_)));
    while answers.next(&chat()).is_some() {}
    assert!(matches!(answers.close(&chat(), false), Pass::More));
    assert!(matches!(answers.close(&chat(), false), Pass::Done));
}
