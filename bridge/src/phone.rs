//! Phone numbers, in the one form that the bridge uses.

use std::{fmt, str::FromStr};

/// An international phone number: 7 to 15 digits that begin with the country code (E.164).
///
/// `Debug` hides it, because a phone number never goes to a log; [`PhoneNumber::international`] is for people.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Reads the digits alone, as they stand in a ghost's id. Only ASCII digits count, and no leading zero.
    #[must_use]
    pub fn from_digits(digits: &str) -> Option<Self> {
        let valid = (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit());
        valid.then(|| Self(digits.to_owned()))
    }

    /// The digits, country code first, no sign.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// The form that people write: `+` and the digits.
    #[must_use]
    pub fn international(&self) -> String {
        format!("+{}", self.0)
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(…)")
    }
}

/// Text that is no international phone number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not an international phone number: write a plus sign, the country code and the number, for example \
     +49 151 12345678"
)]
pub struct NotAPhoneNumber;

impl FromStr for PhoneNumber {
    type Err = NotAPhoneNumber;

    /// Reads what people write: a plus sign or `00`, then digits with spaces, dots, dashes, slashes or brackets between.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let rest = text
            .strip_prefix('+')
            .or_else(|| text.strip_prefix("00"))
            .ok_or(NotAPhoneNumber)?;
        let mut digits = String::with_capacity(15);
        for c in rest.chars() {
            match c {
                '0'..='9' => digits.push(c),
                ' ' | '\u{a0}' | '.' | '-' | '/' | '(' | ')' => {}
                _ => return Err(NotAPhoneNumber),
            }
        }
        Self::from_digits(&digits).ok_or(NotAPhoneNumber)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ways_people_write_a_number() {
        for text in [
            "+4915112345678",
            "+49 151 12345678",
            "0049-151-12345678",
            " +49 (151) 123.456/78 ",
        ] {
            let phone: PhoneNumber = text.parse().expect(text);
            assert_eq!(phone.digits(), "4915112345678");
            assert_eq!(phone.international(), "+4915112345678");
        }
    }

    #[test]
    fn what_is_no_number() {
        for text in [
            "",
            "+",
            "+49",
            "015112345678",
            "4915112345678",
            "+4915112345678x",
            "+1234567890123456",
            "+٤٩١٥١١٢٣٤٥",
        ] {
            assert_eq!(text.parse::<PhoneNumber>(), Err(NotAPhoneNumber), "{text}");
        }
    }

    #[test]
    fn debug_hides_the_number() {
        let phone: PhoneNumber = "+4915112345678".parse().expect("a number");
        assert!(!format!("{phone:?}").contains("49"));
    }

    proptest! {
        #[test]
        fn digits_round_trip(digits in "[1-9][0-9]{6,14}") {
            let phone = PhoneNumber::from_digits(&digits).expect("valid digits");
            prop_assert_eq!(phone.international().parse::<PhoneNumber>(), Ok(phone.clone()));
            prop_assert_eq!(phone.digits(), digits);
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = text.parse::<PhoneNumber>();
            let _ = PhoneNumber::from_digits(&text);
        }
    }
}
