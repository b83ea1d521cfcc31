//! Sealing: what must not lie open in the database is AES-256-GCM ciphertext there.
//!
//! Layout of a sealed value: version (1 byte), epoch (16 bytes), counter (8 bytes, big endian), ciphertext, tag (16
//! bytes). Each opened store draws a random epoch and derives a key of its own from the sealing key (HKDF-SHA256 with
//! the epoch as salt); the counter is the nonce under that key, so that no nonce repeats however many values are written.
//! The associated data binds a value to its table, column and primary key: a row cannot be moved to another place.

use std::{
    collections::HashMap,
    fmt,
    ops::Deref,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand,
};
use zeroize::{Zeroize, Zeroizing};

use crate::Error;

const VERSION: u8 = 1;
const EPOCH_LEN: usize = 16;
const HEADER_LEN: usize = 1 + EPOCH_LEN + 8;
/// Keys of older epochs kept at hand; each start of the program makes one epoch.
const EPOCHS_CACHED: usize = 256;

/// Secret bytes: wiped when dropped, never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Hands out the bytes, still wiped when dropped.
    pub fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    /// The bytes as text.
    pub(crate) fn into_text(mut self, table: &'static str) -> Result<String, Error> {
        String::from_utf8(std::mem::take(&mut self.0))
            .map_err(|e| Error::corrupt(table, e.utf8_error()))
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// The 256-bit key under which all key material is sealed. It lives in a file of its own (mode 0600), beside the database,
/// never in it; losing it means enlisting and registering anew.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// Draws a new key.
    pub fn generate() -> Result<Self, Error> {
        let mut key = Zeroizing::new([0; 32]);
        random(key.as_mut())?;
        Ok(Self(key))
    }

    /// A key from its 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Draws a new key and writes it to `path` (64 hexadecimal digits, mode 0600). Refuses to replace a file.
    pub fn create(path: &Path) -> Result<Self, Error> {
        use std::io::Write as _;

        let key = Self::generate()?;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut text = Zeroizing::new(hex::encode(key.0.as_ref()));
        text.push('\n');
        options
            .open(path)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .map_err(|e| Error::KeyFile(format!("cannot write {}: {e}", path.display())))?;
        Ok(key)
    }

    /// Reads the key file. A file that others may read is refused.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let shown = path.display();
        let fail = |e: std::io::Error| Error::KeyFile(format!("cannot read {shown}: {e}"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(path).map_err(fail)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(Error::KeyFile(format!(
                    "{shown} can be read by others (mode {:o}). Run: chmod 600 {shown}",
                    mode & 0o777
                )));
            }
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(fail)?);
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), key.as_mut())
            .map_err(|_| Error::KeyFile(format!("{shown} must hold 64 hexadecimal digits")))?;
        Ok(Self(key))
    }

    /// Reads the key file, or makes it when there is none.
    pub fn load_or_create(path: &Path) -> Result<Self, Error> {
        match path.try_exists() {
            Ok(false) => Self::create(path),
            _ => Self::load(path),
        }
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(redacted)")
    }
}

pub(crate) fn random(bytes: &mut [u8]) -> Result<(), Error> {
    rand::fill(bytes).map_err(|_| Error::Config("the system has no random numbers".to_owned()))
}

/// Seals and opens values for one opened store.
pub(crate) struct Sealer {
    master: SealingKey,
    epoch: [u8; EPOCH_LEN],
    key: LessSafeKey,
    counter: AtomicU64,
    older: Mutex<HashMap<[u8; EPOCH_LEN], Arc<LessSafeKey>>>,
}

impl Sealer {
    pub(crate) fn new(master: SealingKey) -> Result<Self, Error> {
        let mut epoch = [0; EPOCH_LEN];
        random(&mut epoch)?;
        let key = derive(&master, &epoch).ok_or(Error::WrongKey)?;
        Ok(Self {
            master,
            epoch,
            key,
            counter: AtomicU64::new(0),
            older: Mutex::default(),
        })
    }

    pub(crate) fn seal(&self, aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut sealed = Vec::with_capacity(HEADER_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.epoch);
        sealed.extend_from_slice(&counter.to_be_bytes());
        sealed.extend_from_slice(plain);
        let (_, body) = sealed.split_at_mut(HEADER_LEN);
        match self
            .key
            .seal_in_place_separate_tag(nonce(counter), Aad::from(aad), body)
        {
            Ok(tag) => sealed.extend_from_slice(tag.as_ref()),
            // Only a value beyond 64 GiB gets here. It must not be written open: without a tag it can never be read.
            Err(_) => sealed.zeroize(),
        }
        sealed
    }

    /// `None` when the value is damaged, sealed for another place or under another key.
    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Secret> {
        let (&version, rest) = sealed.split_first()?;
        let (epoch, rest) = rest.split_first_chunk::<EPOCH_LEN>()?;
        let (counter, body) = rest.split_first_chunk::<8>()?;
        if version != VERSION {
            return None;
        }
        let nonce = nonce(u64::from_be_bytes(*counter));
        let mut plain = Zeroizing::new(body.to_vec());
        let length = if *epoch == self.epoch {
            self.key
                .open_in_place(nonce, Aad::from(aad), &mut plain)
                .ok()?
                .len()
        } else {
            let key = self.older_key(epoch)?;
            key.open_in_place(nonce, Aad::from(aad), &mut plain)
                .ok()?
                .len()
        };
        plain.truncate(length);
        Some(Secret(plain))
    }

    fn older_key(&self, epoch: &[u8; EPOCH_LEN]) -> Option<Arc<LessSafeKey>> {
        let mut older = self.older.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = older.get(epoch) {
            return Some(key.clone());
        }
        let key = Arc::new(derive(&self.master, epoch)?);
        if older.len() >= EPOCHS_CACHED {
            older.clear();
        }
        older.insert(*epoch, key.clone());
        Some(key)
    }
}

fn derive(master: &SealingKey, epoch: &[u8; EPOCH_LEN]) -> Option<LessSafeKey> {
    let prk = Salt::new(HKDF_SHA256, epoch).extract(master.0.as_ref());
    let okm = prk.expand(&[b"gatehouse store v1"], &AES_256_GCM).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(okm)))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    if let Some(low) = bytes.last_chunk_mut::<8>() {
        *low = counter.to_be_bytes();
    }
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(key: u8) -> Sealer {
        Sealer::new(SealingKey::from_bytes([key; 32])).unwrap()
    }

    #[test]
    fn opens_only_in_its_place_and_under_its_key() {
        let one = sealer(1);
        let sealed = one.seal(b"t|c|k", b"secret");
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        assert_eq!(&*one.open(b"t|c|k", &sealed).unwrap(), b"secret");
        assert!(one.open(b"t|c|other", &sealed).is_none());
        assert_eq!(&*sealer(1).open(b"t|c|k", &sealed).unwrap(), b"secret");
        assert!(sealer(2).open(b"t|c|k", &sealed).is_none());
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert!(one.open(b"t|c|k", &bad).is_none(), "byte {i}");
            assert!(one.open(b"t|c|k", &sealed[..i]).is_none(), "cut at {i}");
        }
        assert_ne!(sealed, one.seal(b"t|c|k", b"secret"));
    }

    #[cfg(unix)]
    #[test]
    fn key_file_is_private() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealing.key");
        let key = SealingKey::load_or_create(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(*SealingKey::load_or_create(&path).unwrap().0, *key.0);
        assert!(
            SealingKey::create(&path).is_err(),
            "a key file is never replaced"
        );
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let error = SealingKey::load(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        assert!(!format!("{key:?}").contains(&hex::encode(*key.0)));
    }
}
