//! Messages that overtook others: what is still missing before one.
//!
//! A contact's ratchet numbers its messages. One that comes too early waits a little for those before it
//! (`gatekeeper.profile.message.order_wait_ms`). What has not come by then, and what cannot be read, is passed over: nothing
//! waits for it again.

use std::collections::VecDeque;

use gatekeeper::{
    signal::{EncKind, Position, Span},
    stanzas::IncomingMessage,
};

use super::Chat;

/// Spans that are remembered. A forgotten one only costs one more wait.
const REMEMBERED: usize = 1024;

/// Where a message stands among those of its sender; nothing for one that has no such place.
pub(super) fn position(message: &IncomingMessage) -> Option<Position> {
    message.encs.iter().find_map(|enc| {
        let kind = enc.kind.as_str().parse::<EncKind>().ok()?;
        Position::of(kind, &enc.ciphertext).ok()
    })
}

/// Messages that nobody waits for.
#[derive(Debug, Default)]
pub(super) struct PassedOver {
    spans: VecDeque<(Chat, Span)>,
}

impl PassedOver {
    /// Notes messages; the oldest notes are forgotten when there are too many.
    pub(super) fn add(&mut self, chat: &Chat, span: Span) {
        let touches = |(of, known): &&mut (Chat, Span)| {
            of == chat
                && known.chain == span.chain
                && known.from <= span.to
                && span.from <= known.to
        };
        if let Some((_, known)) = self.spans.iter_mut().find(touches) {
            known.from = known.from.min(span.from);
            known.to = known.to.max(span.to);
            return;
        }
        if self.spans.len() >= REMEMBERED {
            self.spans.pop_front();
        }
        self.spans.push_back((chat.clone(), span));
    }

    /// What is left of missing messages without those that nobody waits for.
    pub(super) fn without(&self, chat: &Chat, missing: Vec<Span>) -> Vec<Span> {
        let known = self.spans.iter().filter(|(of, _)| of == chat);
        known.fold(missing, |left, (_, known)| {
            left.into_iter()
                .flat_map(|span| subtract(span, known))
                .collect()
        })
    }
}

/// A span without what another one has of it.
fn subtract(span: Span, other: &Span) -> impl Iterator<Item = Span> {
    let (before, after) = if span.chain == other.chain {
        let before = Span {
            to: span.to.min(other.from),
            ..span.clone()
        };
        let after = Span {
            from: span.from.max(other.to),
            ..span
        };
        (Some(before), Some(after))
    } else {
        (Some(span), None)
    };
    let parts = before.into_iter().chain(after);
    parts.filter(|part| part.from < part.to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(peer: &str) -> Chat {
        ("@anna:localhost".to_owned(), peer.to_owned())
    }

    fn span(chain: u8, from: u32, to: u32) -> Span {
        let chain = [chain; 32];
        Span { chain, from, to }
    }

    #[test]
    fn what_is_passed_over_is_not_missing() {
        let (mut passed, bea) = (PassedOver::default(), chat("bea"));
        let all = vec![span(1, 3, 5), span(2, 0, 10)];
        assert_eq!(passed.without(&bea, all.clone()), all);
        passed.add(&bea, span(2, 4, 5));
        assert_eq!(
            passed.without(&bea, all.clone()),
            [span(1, 3, 5), span(2, 0, 4), span(2, 5, 10)]
        );
        passed.add(&bea, span(1, 0, 9));
        passed.add(&bea, span(2, 5, 10));
        passed.add(&bea, span(2, 0, 4));
        assert_eq!(passed.without(&bea, all.clone()), []);
        assert_eq!(passed.without(&chat("cem"), all.clone()), all);
    }

    #[test]
    fn notes_are_bounded_and_neighbours_are_one() {
        let (mut passed, bea) = (PassedOver::default(), chat("bea"));
        for counter in 0..10 {
            passed.add(&bea, span(1, counter, counter + 1));
        }
        assert_eq!(passed.spans.len(), 1);
        for count in 0..2 * REMEMBERED {
            passed.add(&chat(&count.to_string()), span(1, 0, 1));
        }
        assert_eq!(passed.spans.len(), REMEMBERED);
        let forgotten = vec![span(1, 0, 10)];
        assert_eq!(passed.without(&bea, forgotten.clone()), forgotten);
    }
}
