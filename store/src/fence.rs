//! Batches that stand or fall with those before them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A chain of batches: once one of them has failed, every later one is refused with
/// [`Error::Fenced`](crate::Error::Fenced).
///
/// For state that is kept in memory and written step by step (a ratchet): if a step is missing in the database, no later
/// step may be written, and nothing that follows from it. Whoever gets an error reads the state again and starts a new
/// fence. Clones are the same fence.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<AtomicBool>);

impl Fence {
    /// An unbroken fence.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses all batches that are not yet being written.
    pub fn break_now(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether `other` is this very fence.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether a batch failed.
    pub fn is_broken(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
