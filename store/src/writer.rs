//! The one task that writes.
//!
//! Whoever waits is taken together: all batches in the queue (up to a bound) go into one transaction and share one
//! durable commit. The group is first written as if nothing could fail, its statements merged (`plan`); if a guard or a key
//! refuses anything, the transaction is rolled back and written again batch by batch, each in a savepoint, so that only the
//! culprit fails. Batches are independent of each other except for their order, which is kept either way.

mod connection;
mod plan;

use std::{fs::File, panic::AssertUnwindSafe};

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::warn;

pub(crate) use self::connection::Writing;
use self::{connection::Connection, plan::Planner};
use crate::{Error, Fence, batch::Statement, store::Trouble};

/// Batches that may share one transaction.
const GROUP_BATCHES: usize = 512;
/// Statements after which no further batch joins the group.
const GROUP_STATEMENTS: usize = 8192;

/// A batch in the queue.
pub(crate) struct Job {
    pub(crate) statements: Vec<Statement>,
    pub(crate) fence: Option<Fence>,
    pub(crate) answer: oneshot::Sender<Result<(), Error>>,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

pub(crate) struct Writer {
    connection: Connection,
    planner: Planner,
    trouble: Trouble,
    /// Nobody else may open the file before the last commit is done.
    _lock: Option<File>,
}

impl Writer {
    pub(crate) fn new(writing: Writing, lock: Option<File>, trouble: Trouble) -> Self {
        Self {
            trouble,
            planner: Planner::new(writing.engine()),
            connection: Connection::new(writing),
            _lock: lock,
        }
    }

    /// Connects at once, so that opening a store reports what is wrong.
    pub(crate) async fn connect(&mut self) -> Result<(), Error> {
        self.connection.ensure().await
    }

    /// Runs until every handle of the store is gone and the queue is empty.
    pub(crate) async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        let mut group = Vec::new();
        while let Some(first) = queue.recv().await {
            let mut statements = first.statements.len();
            group.push(first);
            while group.len() < GROUP_BATCHES && statements < GROUP_STATEMENTS {
                let Ok(job) = queue.try_recv() else { break };
                statements += job.statements.len();
                group.push(job);
            }
            refuse_fenced(&mut group);
            if group.is_empty() {
                continue;
            }
            let written = AssertUnwindSafe(self.write(&mut group)).catch_unwind();
            if written.await.is_err() {
                // Nothing of it is known to be durable. The transaction ends with its connection.
                self.connection.give_up();
                let error = Error::Unavailable("the writer failed".to_owned());
                group
                    .drain(..)
                    .for_each(|job| reply(job, Err(error.clone())));
            }
        }
        self.connection.close().await;
    }

    async fn write(&mut self, group: &mut Vec<Job>) {
        match self.together(group).await {
            Ok(()) => {
                self.trouble.note(None);
                group.drain(..).for_each(|job| reply(job, Ok(())));
            }
            Err(error @ (Error::Conflict(_) | Error::Database(_))) => {
                if let [_] = group.as_slice() {
                    group
                        .drain(..)
                        .for_each(|job| reply(job, Err(error.clone())));
                } else {
                    self.one_by_one(group).await;
                }
            }
            Err(error) => self.failed(group, &error),
        }
    }

    fn failed(&self, group: &mut Vec<Job>, error: &Error) {
        self.trouble.note(Some(error));
        warn!(batches = group.len(), %error, "commit failed");
        group
            .drain(..)
            .for_each(|job| reply(job, Err(error.clone())));
    }

    /// One transaction, statements merged.
    async fn together(&mut self, group: &[Job]) -> Result<(), Error> {
        let runs = self
            .planner
            .plan(group.iter().flat_map(|job| &job.statements));
        self.connection.begin().await?;
        for run in &runs {
            if let Err(error) = self.connection.run(run).await {
                self.connection.rollback().await;
                return Err(error);
            }
        }
        self.commit(group.len()).await
    }

    /// Makes the transaction durable, and counts it and its batches.
    async fn commit(&mut self, batches: usize) -> Result<(), Error> {
        failpoints::around!("store.commit", self.connection.commit().await)?;
        metrics::counter!("gatehouse_commits_total").increment(1);
        metrics::counter!("gatehouse_committed_batches_total").increment(batches as u64);
        Ok(())
    }

    /// One transaction, a savepoint per batch.
    async fn one_by_one(&mut self, group: &mut Vec<Job>) {
        let outcome = self.savepoints(group).await;
        match outcome {
            Ok(results) => {
                self.trouble.note(None);
                group
                    .drain(..)
                    .zip(results)
                    .for_each(|(job, result)| reply(job, result));
            }
            Err(error) => self.failed(group, &error),
        }
    }

    async fn savepoints(&mut self, group: &[Job]) -> Result<Vec<Result<(), Error>>, Error> {
        let mut results = Vec::with_capacity(group.len());
        self.connection.begin().await?;
        for job in group {
            if job.fence.as_ref().is_some_and(Fence::is_broken) {
                results.push(Err(Error::Fenced));
                continue;
            }
            match self.savepoint(&job.statements).await {
                Err(error) if !matches!(error, Error::Conflict(_) | Error::Database(_)) => {
                    self.connection.rollback().await;
                    return Err(error);
                }
                result => {
                    if result.is_err() {
                        job.fence.iter().for_each(Fence::break_now);
                    }
                    results.push(result);
                }
            }
        }
        self.commit(results.iter().filter(|result| result.is_ok()).count())
            .await?;
        Ok(results)
    }

    async fn savepoint(&mut self, statements: &[Statement]) -> Result<(), Error> {
        self.connection.control("SAVEPOINT batch").await?;
        let runs = self.planner.plan(statements);
        for run in &runs {
            if let Err(error) = self.connection.run(run).await {
                self.connection
                    .control("ROLLBACK TO SAVEPOINT batch")
                    .await?;
                self.connection.control("RELEASE SAVEPOINT batch").await?;
                return Err(error);
            }
        }
        self.connection.control("RELEASE SAVEPOINT batch").await
    }
}

/// Answers the batches that follow one which failed.
fn refuse_fenced(group: &mut Vec<Job>) {
    let broken = |job: &mut Job| job.fence.as_ref().is_some_and(Fence::is_broken);
    group
        .extract_if(.., broken)
        .for_each(|job| reply(job, Err(Error::Fenced)));
}

fn reply(job: Job, result: Result<(), Error>) {
    if result.is_err() {
        job.fence.iter().for_each(Fence::break_now);
    }
    drop(job.permit);
    // A caller that stopped waiting does not need the answer.
    let _ = job.answer.send(result);
}
