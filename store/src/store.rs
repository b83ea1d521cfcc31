//! The store's handle.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    Backend, Batch, Error, Fence, LogId, SealingKey, StoreConfig,
    batch::Value,
    db::{Readers, Row},
    meta,
    open::open,
    seal::Sealer,
    writer::{Job, Writer},
};

/// One database. Cheap to clone; the writer ends when the last clone is gone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    readers: Readers,
    sealer: Sealer,
    backend: Backend,
    queue: Mutex<Option<mpsc::UnboundedSender<Job>>>,
    room: Arc<Semaphore>,
    writer: Mutex<Option<JoinHandle<()>>>,
    trouble: Trouble,
}

/// Why the last commit failed, if it was the database's fault.
#[derive(Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// Notes how a commit ended; says so in the log when that has changed.
    pub(crate) fn note(&self, failure: Option<&Error>) {
        let mut trouble = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (failure, trouble.is_some()) {
            (Some(error), false) => {
                tracing::error!(%error, "the database takes no writes: nothing is acknowledged to anybody until it does");
            }
            (None, true) => tracing::info!("the database takes writes again"),
            _ => {}
        }
        *trouble = failure.map(ToString::to_string);
    }
}

impl Store {
    /// Opens the database: takes its lock, brings its tables up to date, checks that `key` is the one it was sealed with.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::Newer`], [`Error::WrongKey`], [`Error::Config`] say what to do;
    /// [`Error::Unavailable`] may pass (a PostgreSQL server that is not up yet).
    pub async fn open(config: &StoreConfig, key: SealingKey) -> Result<Self, Error> {
        let opened = open(config).await?;
        let trouble = Trouble::default();
        let mut writer = Writer::new(opened.writing, opened.lock, trouble.clone());
        if let Err(error) = writer.connect().await {
            opened.readers.close().await;
            return Err(error);
        }
        let (queue, jobs) = mpsc::unbounded_channel();
        let store = Self {
            inner: Arc::new(Inner {
                readers: opened.readers,
                sealer: Sealer::new(key)?,
                backend: opened.backend,
                queue: Mutex::new(Some(queue)),
                room: Arc::new(Semaphore::new(config.queue.max(1))),
                writer: Mutex::new(Some(tokio::spawn(writer.run(jobs)))),
                trouble,
            }),
        };
        match store.identify().await {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    /// Writes `batch` durably, after everything submitted before it. Waits while the queue is full.
    ///
    /// # Errors
    /// Nothing of the batch is in the database after [`Error::Conflict`]. After [`Error::Unavailable`] it almost never is: a
    /// PostgreSQL connection can break between the commit and its answer, so a second try must be safe to run
    /// (guards and unique keys make it a [`Error::Conflict`]).
    pub async fn commit(&self, batch: Batch) -> Result<(), Error> {
        let permit = self
            .inner
            .room
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Error::Closed)?;
        self.enqueue(batch, Some(permit)).await
    }

    /// Puts `batch` into the queue at once and returns what waits for its commit. The order of calls is the order of commits.
    ///
    /// It never waits for room, so that it can be called under a lock that guards an order; call
    /// [`ready`](Self::ready) before taking that lock.
    pub fn submit(&self, batch: Batch) -> Pending {
        let permit = self.inner.room.clone().try_acquire_owned().ok();
        self.enqueue(batch, permit)
    }

    /// Waits until the queue has room.
    pub async fn ready(&self) {
        // Only whether there is room matters, the permit goes back at once. A closed store refuses the batch itself.
        drop(self.inner.room.acquire().await);
    }

    fn enqueue(
        &self,
        mut batch: Batch,
        permit: Option<tokio::sync::OwnedSemaphorePermit>,
    ) -> Pending {
        let (answer, pending) = oneshot::channel();
        if batch.is_empty() {
            let _ = answer.send(Ok(()));
            return Pending(pending);
        }
        if let Err(error) = batch.seal(&self.inner.sealer) {
            batch.fence.iter().for_each(Fence::break_now);
            let _ = answer.send(Err(error));
            return Pending(pending);
        }
        let job = Job {
            statements: batch.statements,
            fence: batch.fence,
            answer,
            permit,
        };
        let queue = self
            .inner
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queue.as_ref() {
            // A receiver that is gone drops the job, which answers `Closed`.
            let _ = queue.send(job);
        }
        Pending(pending)
    }

    /// Writes what is in the queue, then closes every connection. Later calls get [`Error::Closed`].
    pub async fn close(&self) {
        drop(
            self.inner
                .queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let writer = self
            .inner
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            // It ends when the queue is empty; a panic in it has been reported already.
            let _ = writer.await;
        }
        self.inner.room.close();
        self.inner.readers.close().await;
    }

    /// Why the last commit failed, if that was the database's fault: its disk is full, it is locked, its server is away. `None`
    /// after the next commit that succeeds. No content.
    pub fn trouble(&self) -> Option<String> {
        let trouble = &self.inner.trouble.0;
        trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The engine behind this store.
    pub fn backend(&self) -> Backend {
        self.inner.backend
    }

    pub(crate) async fn all<T>(
        &self,
        sql: &'static str,
        args: Vec<Value>,
        read: impl Fn(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        self.inner
            .readers
            .fetch(sql, args, &self.inner.sealer, read)
            .await
    }

    pub(crate) async fn one<T>(
        &self,
        sql: &'static str,
        args: Vec<Value>,
        read: impl Fn(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        Ok(self.all(sql, args, read).await?.into_iter().next())
    }

    /// Reads or makes the database's own marks: its id, the salt for logs, the check that the key fits.
    async fn identify(&self) -> Result<(), Error> {
        let check = b"gatehouse sealing check";
        let place = b"meta|value|seal_check";
        match meta::get(self, meta::SEAL_CHECK).await? {
            Some(sealed) => {
                let sealed = hex::decode(sealed).map_err(|e| Error::corrupt("meta", e))?;
                let opened = self
                    .inner
                    .sealer
                    .open(place, &sealed)
                    .ok_or(Error::WrongKey)?;
                if &*opened != check {
                    return Err(Error::WrongKey);
                }
            }
            None => {
                let mut random = [0; 32];
                crate::seal::random(&mut random)?;
                let (id, salt) = random.split_at(16);
                let mut batch = Batch::new();
                meta::put(&mut batch, meta::DATABASE_ID, &hex::encode(id));
                meta::put(&mut batch, meta::LOG_SALT, &hex::encode(salt));
                let sealed = self.inner.sealer.seal(place, check);
                meta::put(&mut batch, meta::SEAL_CHECK, &hex::encode(sealed));
                self.commit(batch).await?;
            }
        }
        if let Some(salt) = meta::get(self, meta::LOG_SALT).await? {
            LogId::salt(salt.as_bytes());
        }
        Ok(())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("backend", &self.inner.backend)
            .finish_non_exhaustive()
    }
}

/// A batch on its way: await it to learn that it is durable. Dropping it does not take the batch back.
#[derive(Debug)]
#[must_use = "the batch may still fail"]
pub struct Pending(oneshot::Receiver<Result<(), Error>>);

impl Future for Pending {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(Error::Closed)))
    }
}
