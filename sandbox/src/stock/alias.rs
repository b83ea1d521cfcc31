//! The addresses under which stock clients see partners' users, and those of the phones themselves.
//!
//! All of them are made up, and lead back to what they stand for without being written down: a
//! partner's user has a number of fourteen digits, which with three more before it is longer than any
//! phone number, and is an opaque number as it is. A phone's opaque number has sixteen digits.

use gatekeeper::stanza::{Jid, Server};

use crate::{assumed, phone::Number};

/// Digits of an opaque number that stands for a phone, after the first one.
const PHONE_DIGITS: usize = 15;

/// A partner's user as a phone number: `99910853634039893@s.whatsapp.net`.
pub(crate) fn number(user: &Jid) -> Jid {
    Jid::phone(format!("{}{}", assumed::ALIAS_PREFIX, user.user))
}

/// A partner's user as an opaque number: `10853634039893@lid`.
pub(crate) fn lid(user: &Jid) -> Jid {
    Jid::new(user.user.clone(), Server::Lid)
}

/// The number of the partner's user that one of these stands for.
pub(crate) fn user_of(jid: &Jid) -> Option<u64> {
    match jid.server {
        Server::Whatsapp => jid.user.strip_prefix(assumed::ALIAS_PREFIX)?.parse().ok(),
        Server::Lid if jid.user.len() <= PHONE_DIGITS => jid.user.parse().ok(),
        _ => None,
    }
}

/// A phone's own opaque number.
pub(crate) fn phone_lid(number: &Number) -> Jid {
    let digits = number.digits();
    let user = format!(
        "{}{digits:0>width$}",
        assumed::PHONE_LID_PREFIX,
        width = PHONE_DIGITS
    );
    Jid::new(user, Server::Lid)
}

/// The phone number that such an opaque one stands for.
pub(crate) fn number_of(jid: &Jid) -> Option<Number> {
    if jid.server != Server::Lid {
        return None;
    }
    let digits = jid.user.strip_prefix(assumed::PHONE_LID_PREFIX)?;
    if digits.len() != PHONE_DIGITS {
        return None;
    }
    Number::parse(digits.trim_start_matches('0')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_leads_back_to_its_user_and_to_nobody_else() {
        let user = Jid::interop(1, "10853634039893");
        for alias in [number(&user), lid(&user), lid(&user).with_device(3)] {
            assert_eq!(user_of(&alias), Some(10_853_634_039_893), "{alias}");
            assert!(number_of(&alias).is_none(), "{alias}");
        }
        assert!(
            Number::parse(&number(&user).user).is_err(),
            "no phone has it"
        );
        for other in [Jid::phone("4915112345678"), user] {
            assert_eq!(user_of(&other), None, "{other}");
        }
    }

    #[test]
    fn a_phones_opaque_number_leads_back_to_it() {
        for digits in ["4915112345678", "1234567", "123456789012345"] {
            let phone = Number::parse(digits).unwrap();
            let lid = phone_lid(&phone);
            assert_eq!(number_of(&lid).as_ref(), Some(&phone), "{lid}");
            assert_eq!(user_of(&lid), None, "{lid}");
        }
    }
}
