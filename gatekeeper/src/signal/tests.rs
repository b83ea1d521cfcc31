//! Conversations between two users whose state is stored and loaded at every step, as in the house.

mod conversation;
mod hostile;
mod keys;
mod order;
mod reinstall;

use rand::{SeedableRng as _, rngs::StdRng};

use super::*;

/// One user, with everything that its bridge or phone would store.
pub(super) struct User {
    identity: Identity,
    signed: SignedPreKey,
    prekeys: Vec<PreKey>,
    peer: Peer,
    rng: StdRng,
}

impl User {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let identity = Identity::generate(&mut rng);
        let signed = SignedPreKey::generate(7, &identity, &mut rng).expect("valid id");
        let (prekeys, _) = PreKey::generate_batch(100, 3, &mut rng).expect("valid ids");
        Self {
            identity,
            signed,
            prekeys,
            peer: Peer::default(),
            rng,
        }
    }

    /// What the server hands out; `prekey` says whether a one-time prekey was left.
    fn bundle(&self, prekey: bool) -> Bundle {
        Bundle {
            registration_id: self.identity.registration_id(),
            identity: self.identity.public(),
            signed_prekey: self.signed.public(),
            prekey: prekey.then(|| self.prekeys[0].public()),
        }
    }

    fn establish(&mut self, bundle: &Bundle) -> Result<IdentityChange, SignalError> {
        establish(&self.identity, &mut self.peer, bundle, &mut self.rng)
    }

    fn encrypt(&mut self, text: &str) -> Ciphertext {
        encrypt(&self.identity, &mut self.peer, text.as_bytes()).expect("has a session")
    }

    fn decrypt(&mut self, message: &Ciphertext) -> Result<Decrypted, SignalError> {
        let mut keys = LocalKeys::default();
        if message.kind == EncKind::PkMsg {
            let ids = prekey_ids(&message.bytes)?;
            keys.prekey = self
                .prekeys
                .iter()
                .find(|key| Some(key.id()) == ids.prekey)
                .cloned();
            keys.signed = (self.signed.id() == ids.signed_prekey).then(|| self.signed.clone());
        }
        let before = self.peer.clone();
        let result = decrypt(
            &self.identity,
            &mut self.peer,
            message.kind,
            &message.bytes,
            &keys,
            &mut self.rng,
        );
        match &result {
            Ok(decrypted) => {
                self.prekeys
                    .retain(|key| Some(key.id()) != decrypted.consumed_prekey);
            }
            Err(_) => assert_eq!(self.peer, before, "a refused message must change nothing"),
        }
        result
    }

    fn read(&mut self, message: &Ciphertext) -> String {
        let decrypted = self.decrypt(message).expect("readable");
        String::from_utf8(decrypted.plaintext.to_vec()).expect("text")
    }
}

/// Alice with a session to Bea, and Bea, who has not heard of it yet.
pub(super) fn pair(prekey: bool) -> (User, User) {
    let (mut alice, bea) = (User::new(1), User::new(2));
    let change = alice.establish(&bea.bundle(prekey)).expect("good bundle");
    assert_eq!(change, IdentityChange::First);
    (alice, bea)
}
