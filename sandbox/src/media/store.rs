//! The folder of encrypted files.

use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use gatekeeper::{
    media::{Decryptor, Encryptor, MediaKey},
    message::{Media, MediaFile, MediaKind},
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt, BufWriter},
};

use crate::clock::LIMIT_MS;

/// Bytes read from a file at a time.
const CHUNK: usize = 64 * 1024;

/// Uploads that may wait for the message that names them; the oldest is forgotten when there are more.
const UPLOADS: usize = 256;

/// Which files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shelf {
    /// What phones have sent: the media server serves it.
    Hosted,
    /// What phones have fetched from partners.
    Received,
}

impl Shelf {
    const fn folder(self) -> &'static str {
        match self {
            Self::Hosted => "hosted",
            Self::Received => "received",
        }
    }
}

/// The folder. Without a state file it is a temporary one that goes with the sandbox.
#[derive(Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

/// A file that is being written; dropped before its end it goes away.
#[derive(Debug)]
pub(crate) struct Writing {
    file: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
    name: String,
}

impl Files {
    /// Opens the folder beside the state file, or a temporary one.
    pub(crate) fn open(state: Option<&Path>) -> io::Result<Self> {
        let (folder, temporary) = match state {
            Some(state) => (state.with_extension("media"), None),
            None => {
                let temporary = tempfile::Builder::new().prefix("sandbox-").tempdir()?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        for shelf in [Shelf::Hosted, Shelf::Received] {
            fs::create_dir_all(folder.join(shelf.folder()))?;
        }
        Ok(Self {
            folder,
            _temporary: temporary,
        })
    }

    /// Begins a file. Its name holds the time, by which it is thrown away.
    pub(crate) async fn create(&self, shelf: Shelf, now_ms: u64) -> io::Result<Writing> {
        let random = hex::encode(rand::random::<[u8; 16]>());
        let name = format!("{now_ms:013}-{random}");
        let path = self.path(shelf, &name);
        let part = path.with_extension("part");
        let file = BufWriter::with_capacity(CHUNK, File::create(&part).await?);
        Ok(Writing {
            file,
            part,
            path,
            name,
        })
    }

    /// Opens a file; nothing if there is none of this name. Returns its length too.
    pub(crate) async fn read(&self, shelf: Shelf, name: &str) -> io::Result<Option<(File, u64)>> {
        if !is_name(name) {
            return Ok(None);
        }
        match File::open(self.path(shelf, name)).await {
            Ok(file) => {
                let length = file.metadata().await?.len();
                Ok(Some((file, length)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Throws a file away, if it is there.
    pub(crate) fn remove(&self, shelf: Shelf, name: &str) {
        if is_name(name) {
            // Gone already, or it goes when the folder does.
            let _ = fs::remove_file(self.path(shelf, name));
        }
    }

    /// Throws away what is older than thirty days.
    pub(crate) fn sweep(&self, now_ms: u64) {
        for shelf in [Shelf::Hosted, Shelf::Received] {
            let Ok(files) = fs::read_dir(self.folder.join(shelf.folder())) else {
                continue;
            };
            for file in files.flatten() {
                if file
                    .file_name()
                    .to_str()
                    .is_some_and(|name| is_old(name, now_ms))
                {
                    // It is tried again the next time.
                    let _ = fs::remove_file(file.path());
                }
            }
        }
    }

    /// Encrypts a file as it comes and keeps it for the media server.
    pub(crate) async fn host<E: Into<io::Error>>(
        &self,
        kind: MediaKind,
        mut plain: impl Stream<Item = Result<Bytes, E>> + Unpin,
        now_ms: u64,
    ) -> io::Result<Hosted> {
        let key = MediaKey::random(&mut rand::rng());
        let mut encryptor = Encryptor::new(&key, kind).map_err(io::Error::other)?;
        let mut writing = self.create(Shelf::Hosted, now_ms).await?;
        let mut out = Vec::with_capacity(2 * CHUNK);
        while let Some(chunk) = plain.next().await {
            for piece in chunk.map_err(Into::into)?.chunks(CHUNK) {
                encryptor
                    .update(piece, &mut out)
                    .map_err(io::Error::other)?;
                writing.write(&out).await?;
                out.clear();
            }
        }
        let sums = encryptor.finish(&mut out).map_err(io::Error::other)?;
        writing.write(&out).await?;
        let name = writing.finish().await?;
        let path = hosted_path(&name);
        let file = MediaFile::new(key, sums, path, i64::try_from(now_ms / 1000).unwrap_or(0));
        Ok(Hosted { kind, file, name })
    }

    /// The content of a file, as it is decrypted. It has been checked when it came, and is again.
    pub(crate) fn decrypted(
        file: File,
        media: &Media,
    ) -> io::Result<impl Stream<Item = io::Result<Bytes>> + use<>> {
        let decryptor = Decryptor::new(&media.file, media.kind).map_err(io::Error::other)?;
        Ok(stream::try_unfold(
            (file, Some(decryptor), vec![0; CHUNK]),
            |(mut file, decryptor, mut buffer)| async move {
                let Some(mut decryptor) = decryptor else {
                    return Ok(None);
                };
                let mut out = Vec::with_capacity(CHUNK);
                let length = file.read(&mut buffer).await?;
                let next = if length == 0 {
                    decryptor.finish(&mut out).map_err(io::Error::other)?;
                    None
                } else {
                    let read = buffer.get(..length).unwrap_or_default();
                    decryptor.update(read, &mut out).map_err(io::Error::other)?;
                    Some(decryptor)
                };
                Ok(Some((Bytes::from(out), (file, next, buffer))))
            },
        ))
    }

    fn path(&self, shelf: Shelf, name: &str) -> PathBuf {
        self.folder.join(shelf.folder()).join(name)
    }
}

/// Where the media server has a file.
pub(super) fn hosted_path(name: &str) -> String {
    format!("/v/t62.7118-24/{name}?ccb=11-4&oh=01&oe=7FFFFFFF&_nc_sid=5e03e0")
}

/// Whether a text has the form of a file's name, and so leads nowhere else.
fn is_name(name: &str) -> bool {
    name.split_once('-').is_some_and(|(time, random)| {
        time.len() >= 13
            && time.bytes().all(|byte| byte.is_ascii_digit())
            && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Whether a file is older than thirty days.
pub(super) fn is_old(name: &str, now_ms: u64) -> bool {
    name.split_once('-')
        .and_then(|(time, _)| time.parse::<u64>().ok())
        .is_some_and(|made| made.saturating_add(LIMIT_MS) <= now_ms)
}

impl Writing {
    /// Appends.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    /// Ends the file; returns its name.
    pub(crate) async fn finish(mut self) -> io::Result<String> {
        self.file.flush().await?;
        tokio::fs::rename(&self.part, &self.path).await?;
        Ok(std::mem::take(&mut self.name))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // Half a file is of no use; if it stays, the sweep finds it.
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// A file that a phone has put on the media server.
#[derive(Clone, Debug)]
pub(crate) struct Hosted {
    /// What it was encrypted as.
    pub kind: MediaKind,
    /// What a message says of it.
    pub file: MediaFile,
    /// Its name in [`Shelf::Hosted`].
    pub name: String,
}

/// Uploads that wait for their message.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    inner: Mutex<(HashMap<String, Hosted>, VecDeque<String>)>,
}

impl Uploads {
    /// Keeps an upload; returns its id.
    pub(crate) fn keep(&self, hosted: Hosted) -> String {
        let id = hex::encode(Sha256::digest(&hosted.name))
            .chars()
            .take(16)
            .collect::<String>();
        let mut inner = crate::lock(&self.inner);
        let (uploads, order) = &mut *inner;
        uploads.insert(id.clone(), hosted);
        order.push_back(id.clone());
        if order.len() > UPLOADS
            && let Some(oldest) = order.pop_front()
        {
            uploads.remove(&oldest);
        }
        id
    }

    /// An upload. It stays, so that it can be sent again.
    pub(crate) fn get(&self, id: &str) -> Option<Hosted> {
        crate::lock(&self.inner).0.get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        assert!(is_name("1700000000000-00ff"));
        for name in [
            "",
            "..",
            "../state",
            "1700000000000-../x",
            "17-00",
            "x-00ff",
        ] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_old("0000000000001-00", LIMIT_MS + 1));
        assert!(!is_old("0000000000001-00", LIMIT_MS));
    }

    #[tokio::test]
    async fn what_is_hosted_lies_encrypted_and_comes_back() {
        let files = Files::open(None).unwrap();
        let plain = vec![b'a'; 200_000];
        let chunks = stream::iter([Ok::<_, io::Error>(Bytes::from(plain.clone()))]);
        let hosted = files.host(MediaKind::Video, chunks, 5).await.unwrap();
        let stored = fs::read(files.path(Shelf::Hosted, &hosted.name)).unwrap();
        assert!(!stored.windows(16).any(|window| window == &plain[..16]));
        let (file, length) = files
            .read(Shelf::Hosted, &hosted.name)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(length, stored.len() as u64);
        let media = Media::new(MediaKind::Video, "video/mp4", hosted.file);
        let pieces: Vec<_> = Files::decrypted(file, &media).unwrap().collect().await;
        let read: Vec<u8> = pieces.into_iter().flat_map(Result::unwrap).collect();
        assert!(read == plain);
    }

    #[tokio::test]
    async fn half_a_file_goes_away() {
        let files = Files::open(None).unwrap();
        let chunks = stream::iter([
            Ok(Bytes::from_static(b"abc")),
            Err(io::Error::other("the sender went")),
        ]);
        assert!(files.host(MediaKind::Image, chunks, 5).await.is_err());
        let left = fs::read_dir(files.folder.join("hosted")).unwrap().count();
        assert_eq!(left, 0);
    }
}
