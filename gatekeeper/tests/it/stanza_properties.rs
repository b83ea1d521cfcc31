//! What holds for every stanza.

use gatekeeper::stanza::{DecodeError, EncodeOptions, InteropJidStyle, decode, encode};
use proptest::prelude::*;

use crate::nodes::{canonical, jid, node, says_interop, style};

proptest! {
    #[test]
    fn what_is_written_is_read(
        node in node().prop_filter("ambiguous", |node| !says_interop(node)),
        interop in style(),
        compress in any::<bool>(),
        pack in any::<bool>(),
    ) {
        let bytes = encode(&node, &EncodeOptions { interop, compress, pack }).unwrap();
        prop_assert_eq!(bytes[0], if compress { 2 } else { 0 });
        prop_assert_eq!(canonical(&decode(&bytes).unwrap()), canonical(&node));
    }
}

proptest! {
    // Each case is as many decodings as the stanza has bytes.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_truncation_is_an_error(
        node in node(),
        interop in prop::sample::select(vec![InteropJidStyle::NoServer, InteropJidStyle::Pair]),
        compress in any::<bool>(),
    ) {
        let options = EncodeOptions { interop, compress, ..EncodeOptions::default() };
        let bytes = encode(&node, &options).unwrap();
        for length in 0..bytes.len() {
            prop_assert!(decode(&bytes[..length]).is_err(), "{} of {}", length, bytes.len());
        }
    }
}

proptest! {
    #[test]
    fn bytes_after_a_stanza_are_an_error(node in node(), more in any::<u8>(), z in any::<bool>()) {
        let options = EncodeOptions { compress: z, ..EncodeOptions::default() };
        let mut bytes = encode(&node, &options).unwrap();
        bytes.push(more);
        let expected = if z { DecodeError::Inflate } else { DecodeError::Trailing(1) };
        prop_assert_eq!(decode(&bytes), Err(expected));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn altered_stanzas_never_panic_and_what_they_mean_can_be_written(
        node in node(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = encode(&node, &EncodeOptions::default()).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(read) = decode(&bytes) {
            let interop = InteropJidStyle::WithServer;
            let again = encode(&read, &EncodeOptions { interop, ..EncodeOptions::default() });
            prop_assert_eq!(canonical(&decode(&again.unwrap()).unwrap()), canonical(&read));
        }
    }

    #[test]
    fn text_form_of_an_address_means_the_address(jid in jid()) {
        prop_assert_eq!(jid.to_string().parse(), Ok(jid));
    }
}
