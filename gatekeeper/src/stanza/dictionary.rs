//! Looks words up in dictionary 3, both ways.

use std::{collections::HashMap, sync::LazyLock};

use super::{
    tokens::{DOUBLE, SINGLE},
    wire::DICTIONARY_0,
};

/// A word's code on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// The word is this byte.
    Single(u8),
    /// The word is a dictionary tag and an index.
    Double(u8, u8),
}

static CODES: LazyLock<HashMap<&'static str, Code>> = LazyLock::new(|| {
    let single = (0..=u8::MAX)
        .zip(SINGLE)
        .skip(1)
        .map(|(i, word)| (word, Code::Single(i)));
    let double = (DICTIONARY_0..).zip(&DOUBLE).flat_map(|(tag, words)| {
        (0..=u8::MAX)
            .zip(words)
            .map(move |(i, word)| (*word, Code::Double(tag, i)))
    });
    single.chain(double).collect()
});

/// Length of the longest word: longer text needs no look-up.
const LONGEST: usize = 48;

/// The code of a word, if it is in the dictionary.
pub(super) fn code(word: &str) -> Option<Code> {
    if word.len() > LONGEST {
        None
    } else {
        CODES.get(word).copied()
    }
}

/// The word of a one-byte code.
pub(super) fn single(byte: u8) -> Option<&'static str> {
    SINGLE
        .get(usize::from(byte))
        .copied()
        .filter(|word| !word.is_empty())
}

/// The word of a two-byte code: the tag and the index.
pub(super) fn double(tag: u8, index: u8) -> Option<&'static str> {
    let dictionary = usize::from(tag.checked_sub(DICTIONARY_0)?);
    DOUBLE.get(dictionary)?.get(usize::from(index)).copied()
}

#[cfg(test)]
mod tests {
    use wacore_binary::token;

    use super::*;

    #[test]
    fn every_word_has_one_code_and_the_other_implementation_agrees() {
        assert_eq!(CODES.len(), 235 + 4 * 256);
        for byte in 1..=235 {
            let word = single(byte).unwrap();
            assert_eq!(code(word), Some(Code::Single(byte)));
            assert_eq!(token::get_single_token(byte), Some(word));
        }
        for dictionary in 0..4 {
            for index in 0..=u8::MAX {
                let tag = DICTIONARY_0 + dictionary;
                let word = double(tag, index).unwrap();
                assert_eq!(code(word), Some(Code::Double(tag, index)));
                assert_eq!(token::get_double_token(dictionary, index), Some(word));
            }
        }
    }

    #[test]
    fn longest_word_is_as_long_as_we_say() {
        let longest = CODES.keys().map(|word| word.len()).max();
        assert_eq!(longest, Some(LONGEST));
    }

    #[test]
    fn codes_that_the_dossier_lists() {
        for (word, expected) in [("to", 17), ("message", 19), ("pkmsg", 83), ("encrypt", 203)] {
            assert_eq!(code(word), Some(Code::Single(expected)), "{word}");
        }
        for (word, dictionary, index) in [("passive", 0, 24), ("dirty", 1, 1), ("failure", 2, 60)] {
            assert_eq!(
                code(word),
                Some(Code::Double(DICTIONARY_0 + dictionary, index)),
                "{word}"
            );
        }
        for word in ["ib", "interop", "block", ""] {
            assert_eq!(code(word), None, "{word}");
        }
    }

    #[test]
    fn codes_outside_the_dictionary_have_no_word() {
        assert_eq!(single(0), None);
        assert_eq!(single(236), None);
        assert_eq!(double(235, 0), None);
        assert_eq!(double(240, 0), None);
    }
}
