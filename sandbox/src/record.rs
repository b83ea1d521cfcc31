//! A record of what partners sent, so that a test can look for what must not be there.
//!
//! The record is one file of raw bytes: every chunk as it came from the socket, every stanza after
//! Noise decryption (inflated), and every request body of the HTTP side. A thread of its own writes
//! it, so that no connection waits for the disk.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use tokio::sync::oneshot;

enum Order {
    Write(Vec<u8>),
    Flush(oneshot::Sender<io::Result<()>>),
}

/// Writes the record, or does nothing when none was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    open: Option<(mpsc::Sender<Order>, PathBuf)>,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Write(_) => "Write",
            Self::Flush(_) => "Flush",
        })
    }
}

impl Recorder {
    /// Records into the file at `path`, after what is in it: a record goes on over a restart.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(File::options().create(true).append(true).open(path)?);
        let (sender, orders) = mpsc::channel::<Order>();
        thread::Builder::new()
            .name("record".to_owned())
            .spawn(move || {
                let mut failed = None;
                for order in orders {
                    match order {
                        Order::Write(bytes) => {
                            if let Err(error) = file.write_all(&bytes) {
                                failed.get_or_insert(error);
                            }
                        }
                        Order::Flush(done) => {
                            let result = failed.take().map_or_else(|| file.flush(), Err);
                            // Whoever asked may have stopped waiting.
                            let _ = done.send(result);
                        }
                    }
                }
            })?;
        Ok(Self {
            open: Some((sender, path.to_owned())),
        })
    }

    /// Whether a record is kept: lets a caller save the work of making its bytes.
    pub(crate) fn is_on(&self) -> bool {
        self.open.is_some()
    }

    /// Appends bytes.
    pub(crate) fn write(&self, bytes: &[u8]) {
        if let Some((sender, _)) = &self.open {
            // The thread ends only with the last sender.
            let _ = sender.send(Order::Write(bytes.to_vec()));
        }
    }

    /// The path of the record once everything written so far is in it; nothing without a record.
    pub(crate) async fn flushed(&self) -> io::Result<Option<&Path>> {
        let Some((sender, path)) = &self.open else {
            return Ok(None);
        };
        let (done, written) = oneshot::channel();
        // A dropped thread shows as an error of the channel below.
        let _ = sender.send(Order::Flush(done));
        written.await.map_err(io::Error::other)??;
        Ok(Some(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_written_can_be_read_after_a_flush() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = Recorder::create(&folder.path().join("wire")).unwrap();
        recorder.write(b"abc");
        recorder.write(b"def");
        let path = recorder.flushed().await.unwrap().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"abcdef");
        assert!(Recorder::default().flushed().await.unwrap().is_none());
    }
}
