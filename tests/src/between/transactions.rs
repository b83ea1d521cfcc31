//! What the proxy before the bridge does to transactions.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde_json::Value;

/// What becomes of the to-device messages of a transaction; room keys are among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keys {
    /// They stay.
    #[default]
    Whole,
    /// Each comes twice.
    Doubled,
    /// They come with the first transaction after this is over.
    Late,
    /// They come in no transaction: the devices' `/sync` alone has them.
    Lost,
}

/// The paths of transactions begin so.
const PATH: &str = "/_matrix/app/v1/transactions/";
/// To-device messages stand under these names.
const NAMES: [&str; 2] = ["to_device", "de.sorunome.msc2409.to_device"];

/// Numbers of transactions, and what was kept of them.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The largest number that came.
    last: u64,
    /// What is taken off larger numbers.
    offset: u64,
    /// To-device messages that are to come later.
    late: Vec<Value>,
    /// Events that were not passed on.
    forgotten: HashSet<String>,
    /// How many transactions those were that the numbers still count.
    left_out: u64,
}

impl Transactions {
    /// Numbers those after the last one from 1.
    pub(super) fn number_from_one(&self) {
        let mut state = self.lock();
        state.offset = state.last;
        state.left_out = 0;
    }

    /// Numbers those after the last one as if those that were not passed on had never had a number.
    pub(super) fn number_on(&self) {
        let mut state = self.lock();
        state.offset += std::mem::take(&mut state.left_out);
    }

    /// A request as it goes on: path and body.
    pub(super) fn pass(&self, path: &str, body: Bytes, keys: Keys) -> (String, Bytes) {
        let Some(rest) = path.strip_prefix(PATH) else {
            return (path.to_owned(), body);
        };
        let (number, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let mut state = self.lock();
        let number = match number.parse::<u64>() {
            Ok(number) => {
                state.last = state.last.max(number);
                // One that is sent again keeps the number it had.
                let shown = number.checked_sub(state.offset).filter(|shown| *shown > 0);
                shown.unwrap_or(number).to_string()
            }
            Err(_) => number.to_owned(),
        };
        (format!("{PATH}{number}{query}"), state.keys(body, keys))
    }

    /// Notes what is in a transaction that is not passed on; false if it is none.
    pub(super) fn forget(&self, path: &str, body: &[u8]) -> bool {
        if !path.starts_with(PATH) {
            return false;
        }
        let transaction: Value = serde_json::from_slice(body).unwrap_or_default();
        let events = transaction["events"].as_array().into_iter().flatten();
        let ids = events.filter_map(|event| event["event_id"].as_str());
        let mut state = self.lock();
        state.forgotten.extend(ids.map(str::to_owned));
        state.left_out += 1;
        true
    }

    /// Whether an event was in a transaction that was not passed on.
    pub(super) fn has_forgotten(&self, event_id: &str) -> bool {
        self.lock().forgotten.contains(event_id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keys(&mut self, body: Bytes, keys: Keys) -> Bytes {
        let released = keys != Keys::Late && !self.late.is_empty();
        if keys == Keys::Whole && !released {
            return body;
        }
        let Ok(mut transaction) = serde_json::from_slice::<Value>(&body) else {
            return body;
        };
        let Some(fields) = transaction.as_object_mut() else {
            return body;
        };
        let name = NAMES.into_iter().find(|name| fields.contains_key(*name));
        let name = name.unwrap_or(NAMES[1]);
        let there = fields.get_mut(name).and_then(Value::as_array_mut);
        let mut messages = there.map(std::mem::take).unwrap_or_default();
        match keys {
            Keys::Whole => {}
            Keys::Doubled => messages.extend(messages.clone()),
            Keys::Late => self.late.append(&mut messages),
            Keys::Lost => messages.clear(),
        }
        if released {
            messages.append(&mut self.late);
        }
        fields.insert(name.to_owned(), messages.into());
        transaction.to_string().into()
    }
}

#[cfg(test)]
mod unit {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::{Keys, Transactions};

    fn pass(transactions: &Transactions, number: u64, keys: Keys) -> (String, Value) {
        let body = json!({"events": [1], "de.sorunome.msc2409.to_device": [number]});
        let path = format!("/_matrix/app/v1/transactions/{number}?a=b");
        let (path, body) = transactions.pass(&path, Bytes::from(body.to_string()), keys);
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["events"], json!([1]));
        (path, body["de.sorunome.msc2409.to_device"].clone())
    }

    #[test]
    fn a_new_count_begins_at_one_and_keeps_the_numbers_of_what_is_sent_again() {
        let transactions = Transactions::default();
        let path = |number: u64| pass(&transactions, number, Keys::Whole).0;
        assert_eq!(path(7), "/_matrix/app/v1/transactions/7?a=b");
        transactions.number_from_one();
        assert_eq!(path(7), "/_matrix/app/v1/transactions/7?a=b");
        assert_eq!(path(8), "/_matrix/app/v1/transactions/1?a=b");
        assert_eq!(path(9), "/_matrix/app/v1/transactions/2?a=b");
        assert_eq!(path(9), "/_matrix/app/v1/transactions/2?a=b");
        transactions.number_from_one();
        assert_eq!(path(10), "/_matrix/app/v1/transactions/1?a=b");
    }

    #[test]
    fn keys_are_doubled_kept_back_or_lost() {
        let transactions = Transactions::default();
        let keys = |number: u64, keys: Keys| pass(&transactions, number, keys).1;
        assert_eq!(keys(1, Keys::Doubled), json!([1, 1]));
        assert_eq!(keys(2, Keys::Late), json!([]));
        assert_eq!(keys(3, Keys::Late), json!([]));
        assert_eq!(keys(4, Keys::Whole), json!([4, 2, 3]));
        assert_eq!(keys(5, Keys::Lost), json!([]));
        assert_eq!(keys(6, Keys::Whole), json!([6]));
    }

    #[test]
    fn what_is_not_passed_on_is_known() {
        let transactions = Transactions::default();
        let body = json!({"events": [{"event_id": "$a"}, {}]}).to_string();
        assert!(!transactions.forget("/_matrix/app/v1/ping", body.as_bytes()));
        assert!(!transactions.has_forgotten("$a"));
        assert!(transactions.forget("/_matrix/app/v1/transactions/7", body.as_bytes()));
        assert!(transactions.has_forgotten("$a"));
    }

    #[test]
    fn numbers_go_on_without_what_is_not_passed_on() {
        let transactions = Transactions::default();
        let path = |number: u64| {
            let path = format!("/_matrix/app/v1/transactions/{number}");
            transactions.pass(&path, Bytes::new(), Keys::Whole).0
        };
        let number = |path: String| path.rsplit('/').next().map(str::to_owned);
        assert_eq!(number(path(6)).as_deref(), Some("6"));
        assert!(transactions.forget(&path(7), b"{}"));
        assert_eq!(number(path(8)).as_deref(), Some("8"));
        transactions.number_on();
        assert_eq!(number(path(9)).as_deref(), Some("8"));
    }

    #[test]
    fn other_requests_go_as_they_are() {
        let transactions = Transactions::default();
        let body = Bytes::from_static(b"anything");
        let path = "/_matrix/app/v1/users/@a:b";
        let passed = transactions.pass(path, body.clone(), Keys::Lost);
        assert_eq!(passed, (path.to_owned(), body));
    }
}
