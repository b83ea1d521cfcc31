//! The folder of files that the gatekeeper's proxy fetches: ciphertext, each under a name that nobody can guess.
//!
//! A file grows under a name that ends with `.part`, and gets its own when it is whole and on the disk. What a crash
//! leaves is swept: unfinished files at the start, files that the database does not know some time later.

use std::{
    fmt, io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tokio::{
    fs::{self, File, OpenOptions},
    io::AsyncWriteExt as _,
};

/// The ending of a file that is not whole.
const PART: &str = "part";
/// Bytes of a reference.
const LENGTH: usize = 32;

/// The name of a hosted file: 256 random bits in lower-case hexadecimal digits, nothing else.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reference(String);

impl Reference {
    /// Draws a new one.
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; LENGTH];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(hex::encode(bytes)))
    }

    /// Reads one out of a path; nothing else than a reference can come out, so it is safe as the name of a file.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 2 * LENGTH && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever knows it can fetch the file.
        f.write_str("Reference(..)")
    }
}

/// The folder.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens the folder; makes it, for its owner alone, if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn open(path: PathBuf) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        builder.mode(0o700);
        builder.create(&path).await?;
        Ok(Self { path })
    }

    /// Bytes that are free on its disk for this program.
    pub(crate) async fn free_bytes(&self) -> io::Result<u64> {
        let path = self.path.clone();
        let stat = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&path)).await;
        let stat = stat.map_err(io::Error::other)??;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Begins a file.
    pub(crate) async fn begin(&self) -> io::Result<Unfinished> {
        let reference = Reference::random()?;
        let part = self.path.join(&reference.0).with_extension(PART);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(&part).await?;
        Ok(Unfinished {
            folder: self.clone(),
            reference,
            part: Remove(Some(part)),
            file,
        })
    }

    /// Opens a file for reading; nothing if there is none.
    pub(crate) async fn read(&self, reference: &Reference) -> io::Result<Option<File>> {
        found(File::open(self.file(reference)).await)
    }

    /// Whether there is such a file.
    pub(crate) async fn holds(&self, reference: &Reference) -> io::Result<bool> {
        fs::try_exists(self.file(reference)).await
    }

    /// Deletes a file. One that is gone already is no error.
    pub(crate) async fn remove(&self, reference: &Reference) -> io::Result<()> {
        found(fs::remove_file(self.file(reference)).await).map(drop)
    }

    /// Deletes what a crash left unfinished. Only before anything is begun.
    pub(crate) async fn sweep_unfinished(&self) -> io::Result<usize> {
        let mut swept = 0;
        let mut entries = fs::read_dir(&self.path).await?;
        while let Some(entry) = entries.next_entry().await? {
            let path = entry.path();
            let ours = path.extension().is_some_and(|ending| ending == PART)
                && path
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .and_then(Reference::parse)
                    .is_some();
            if ours {
                found(fs::remove_file(path).await)?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// The files that have been whole for longer than `age`.
    pub(crate) async fn older_than(&self, age: Duration) -> io::Result<Vec<Reference>> {
        let mut references = Vec::new();
        let mut entries = fs::read_dir(&self.path).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            let Some(reference) = name.to_str().and_then(Reference::parse) else {
                continue;
            };
            // It may have been deleted since it was listed.
            let Some(metadata) = found(entry.metadata().await)? else {
                continue;
            };
            let modified = metadata.modified()?;
            if SystemTime::now()
                .duration_since(modified)
                .is_ok_and(|old| old >= age)
            {
                references.push(reference);
            }
        }
        Ok(references)
    }

    fn file(&self, reference: &Reference) -> PathBuf {
        self.path.join(&reference.0)
    }

    /// Makes what was renamed last through a crash.
    async fn sync(&self) -> io::Result<()> {
        File::open(&self.path).await?.sync_all().await
    }
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file that grows. It is deleted if it is dropped before it is whole.
#[derive(Debug)]
pub(crate) struct Unfinished {
    folder: Folder,
    reference: Reference,
    part: Remove,
    file: File,
}

impl Unfinished {
    /// Appends bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    /// Makes it a whole file that outlives a crash.
    pub(crate) async fn finish(mut self) -> io::Result<Reference> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        if let Some(part) = self.part.0.take() {
            let whole = self.folder.file(&self.reference);
            if let Err(error) = fs::rename(&part, whole).await {
                self.part.0 = Some(part);
                return Err(error);
            }
        }
        self.folder.sync().await?;
        Ok(self.reference)
    }
}

/// Deletes a file when it is dropped.
#[derive(Debug)]
struct Remove(Option<PathBuf>);

impl Drop for Remove {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // What cannot be deleted now is swept at the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_reference_is_nothing_but_digits() {
        let good = Reference::random().unwrap();
        assert_eq!(Reference::parse(good.as_str()), Some(good.clone()));
        assert_ne!(good, Reference::random().unwrap());
        let upper = good.as_str().to_uppercase().replace('0', "A");
        let dots = format!("../{}", &good.as_str()[3..]);
        let short = &good.as_str()[1..];
        let long = format!("{}0", good.as_str());
        let slash = format!("{}/", &good.as_str()[1..]);
        let nul = format!("{}\0", &good.as_str()[1..]);
        for bad in ["", "..", upper.as_str(), &dots, short, &long, &slash, &nul] {
            assert_eq!(Reference::parse(bad), None, "{bad:?}");
        }
        assert!(!format!("{good:?}").contains(good.as_str()));
    }

    #[tokio::test]
    async fn a_file_is_there_when_it_is_whole() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("deep/media");
        let folder = Folder::open(path.clone()).await.unwrap();
        let mut file = folder.begin().await.unwrap();
        file.write(b"cipher").await.unwrap();
        assert!(names(&path)[0].ends_with(".part"));
        let reference = file.finish().await.unwrap();
        assert_eq!(names(&path), [reference.as_str()]);
        assert!(folder.holds(&reference).await.unwrap());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&path), 0o700);
            assert_eq!(mode(&path.join(reference.as_str())), 0o600);
        }
        folder.remove(&reference).await.unwrap();
        folder.remove(&reference).await.unwrap();
        assert!(folder.read(&reference).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_not_finished_goes() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::open(base.path().to_owned()).await.unwrap();
        let mut file = folder.begin().await.unwrap();
        file.write(b"half").await.unwrap();
        drop(file);
        assert!(names(base.path()).is_empty(), "dropped");

        // As after a crash.
        let reference = Reference::random().unwrap();
        let part = base.path().join(format!("{}.part", reference.as_str()));
        std::fs::write(&part, "half").unwrap();
        std::fs::write(base.path().join("unrelated"), "not ours").unwrap();
        std::fs::write(base.path().join(reference.as_str()), "whole").unwrap();
        assert_eq!(folder.sweep_unfinished().await.unwrap(), 1);
        assert_eq!(
            names(base.path()),
            [reference.as_str(), "unrelated"].map(str::to_owned)
        );
        let old = folder.older_than(Duration::ZERO).await.unwrap();
        assert_eq!(old, [reference]);
        let old = folder.older_than(Duration::from_secs(3600)).await.unwrap();
        assert!(old.is_empty());
    }
}
