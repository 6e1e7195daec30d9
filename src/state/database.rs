//! The database's thread and the queue in front of it.
//!
//! One thread owns the connection, so that no async thread ever waits for the disk. It takes what is
//! queued and commits it together: callers that come at the same time share one sync, and none is
//! answered before the commit is on the disk. Changes are applied, and their `then` is called, in one
//! order for all callers.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{StateError, schema};

/// Jobs that may wait; more callers wait before the queue.
const QUEUE: usize = 256;
/// Jobs that share one commit.
const BATCH: usize = 64;

/// A handle to the state database; clones share one connection.
#[derive(Debug, Clone)]
pub struct Database {
    messages: mpsc::Sender<Message>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    commits: Arc<AtomicU64>,
}

enum Message {
    Job(Box<dyn Job>),
    Read(Read),
    Close,
}

/// Answers its caller by itself.
type Read = Box<dyn FnOnce(&Connection) + Send>;

/// A change that waits for its turn.
trait Job: Send {
    /// Does the change inside the transaction, or undoes its part of it.
    fn run(&mut self, connection: &Connection);
    /// Answers the caller, after the commit or its failure.
    fn finish(self: Box<Self>, committed: Result<(), &rusqlite::Error>);
}

struct Change<W, N, T> {
    operation: &'static str,
    work: Option<W>,
    then: N,
    outcome: Result<T, StateError>,
    reply: oneshot::Sender<Result<T, StateError>>,
}

impl<W, N, T> Job for Change<W, N, T>
where
    W: FnOnce(&Connection) -> Result<T, StateError> + Send,
    N: FnOnce(&T) + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) {
        let Some(work) = self.work.take() else { return };
        let operation = self.operation;
        if connection.is_autocommit() {
            self.outcome = Err(broken(
                operation,
                "it gave up the transaction that this change was part of",
            ));
            return;
        }
        let failed = |error: rusqlite::Error| StateError::sqlite(operation, &error);
        let work = |connection: &Connection| {
            // The thread serves all callers: one that is wrong must not take it from the others.
            catch_unwind(AssertUnwindSafe(|| work(connection)))
                .unwrap_or_else(|_| Err(broken(operation, "the change panicked; see the log")))
        };
        self.outcome = connection
            .execute_batch("SAVEPOINT job")
            .map_err(failed)
            .and_then(|()| work(connection))
            .and_then(|value| {
                connection
                    .execute_batch("RELEASE job")
                    .map_err(failed)
                    .map(|()| value)
            });
        if self.outcome.is_err() {
            // Fails only where the whole transaction is gone, which the commit then reports.
            let _ = connection.execute_batch("ROLLBACK TO job; RELEASE job");
        }
    }

    fn finish(self: Box<Self>, committed: Result<(), &rusqlite::Error>) {
        let Change {
            operation,
            then,
            outcome,
            reply,
            ..
        } = *self;
        let outcome = match committed {
            Ok(()) => outcome,
            Err(error) => outcome.and(Err(StateError::sqlite(operation, error))),
        };
        if let Ok(value) = &outcome
            && catch_unwind(AssertUnwindSafe(|| then(value))).is_err()
        {
            tracing::error!(
                operation,
                "what was to follow a change of the state database panicked"
            );
        }
        // A caller that went away needs no answer.
        let _ = reply.send(outcome);
    }
}

fn broken(operation: &'static str, message: &str) -> StateError {
    StateError::Database {
        operation,
        message: message.to_owned(),
    }
}

/// Makes the file where it is missing, for its owner alone; what SQLite puts beside it is as private. A file that is
/// there is not opened: to close it would end the locks of whoever in this process has it open.
fn make_private(path: &Path) -> std::io::Result<()> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            std::fs::set_permissions(path, Permissions::from_mode(0o600))
        }
        made => made.map(drop),
    }
}

impl Database {
    /// Opens the database, making it or bringing it up to date where needed. Blocks; call it before the
    /// work starts or on a blocking thread.
    pub fn open(path: &Path) -> Result<Database, StateError> {
        make_private(path).map_err(|source| StateError::Io {
            operation: "make private",
            path: path.to_owned(),
            source,
        })?;
        let mut connection =
            Connection::open(path).map_err(|error| StateError::sqlite("open the state database", &error))?;
        schema::prepare(&mut connection)?;
        let (messages, queue) = mpsc::channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&commits);
        let thread = std::thread::Builder::new()
            .name("state".into())
            .spawn(move || serve(connection, queue, &counter))
            .map_err(|source| StateError::Io {
                operation: "start the thread for",
                path: path.to_owned(),
                source,
            })?;
        Ok(Database {
            messages,
            thread: Arc::new(Mutex::new(Some(thread))),
            commits,
        })
    }

    /// Rises with each commit: while it stays, nothing changed.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    /// Runs `work` on the database's thread in a transaction, and `then` there after the commit. The
    /// future may be dropped: work that was queued is done all the same.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, StateError> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StateError> {
        let (reply, answer) = oneshot::channel();
        let outcome = Err(StateError::Closed);
        let job = Box::new(Change {
            operation,
            work: Some(work),
            then,
            outcome,
            reply,
        });
        self.messages
            .send(Message::Job(job))
            .await
            .map_err(|_| StateError::Closed)?;
        answer.await.map_err(|_| StateError::Closed)?
    }

    /// Runs `work`, which changes nothing, on the database's thread after all that was queued before. It shares no
    /// transaction with changes, so that it is answered on a full disk as well.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            let outcome = catch_unwind(AssertUnwindSafe(|| work(connection)));
            let outcome =
                outcome.unwrap_or_else(|_| Err(broken(operation, "the reading panicked; see the log")));
            // A caller that went away needs no answer.
            let _ = reply.send(outcome);
        });
        self.messages
            .send(Message::Read(read))
            .await
            .map_err(|_| StateError::Closed)?;
        answer.await.map_err(|_| StateError::Closed)?
    }

    /// Finishes what is queued and closes the database, for all clones.
    pub async fn close(&self) {
        // An error means that it is closed already.
        let _ = self.messages.send(Message::Close).await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread ends soon after the message; a panic in it was reported by the callers' errors.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn serve(mut connection: Connection, mut queue: mpsc::Receiver<Message>, commits: &AtomicU64) {
    let mut next = queue.blocking_recv();
    while let Some(message) = next.take() {
        match message {
            Message::Close => break,
            Message::Read(read) => read(&connection),
            Message::Job(first) => {
                let mut jobs = vec![first];
                while jobs.len() < BATCH {
                    match queue.try_recv() {
                        Ok(Message::Job(job)) => jobs.push(job),
                        Ok(other) => {
                            next = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                commit_together(&mut connection, jobs);
                commits.fetch_add(1, Ordering::Release);
            }
        }
        next = next.or_else(|| queue.blocking_recv());
    }
}

fn commit_together(connection: &mut Connection, mut jobs: Vec<Box<dyn Job>>) {
    let committed = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .and_then(|transaction| {
            jobs.iter_mut().for_each(|job| job.run(&transaction));
            transaction.commit()
        });
    for job in jobs {
        job.finish(committed.as_ref().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(connection: &Connection) -> Result<i64, StateError> {
        connection
            .query_row("SELECT count(*) FROM discarded", [], |row| row.get(0))
            .map_err(|error| StateError::sqlite("count", &error))
    }

    fn add(name: &'static str) -> impl FnOnce(&Connection) -> Result<(), StateError> + Send {
        move |connection| {
            connection
                .execute("INSERT INTO discarded VALUES (?1)", [name])
                .map(drop)
                .map_err(|error| StateError::sqlite("add", &error))
        }
    }

    #[tokio::test]
    async fn a_failed_change_leaves_its_neighbours_in_the_same_commit_alone() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let (a, twice, b) = tokio::join!(
            database.write("add", add("a"), |()| {}),
            database.write("add", |c| add("c")(c).and_then(|()| add("a")(c)), |()| {}),
            database.write("add", add("b"), |()| {}),
        );
        assert!(a.is_ok() && twice.is_err() && b.is_ok());
        assert_eq!(database.write("count", count, |_| {}).await.unwrap(), 2);
        database.close().await;
        assert!(matches!(
            database.write("count", count, |_| {}).await,
            Err(StateError::Closed)
        ));
        let again = Database::open(&folder.path().join("db")).unwrap();
        assert_eq!(again.write("count", count, |_| {}).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_change_that_panics_or_loses_the_transaction_fails_alone_or_with_its_commit() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let lose = |connection: &Connection| {
            connection
                .execute_batch("ROLLBACK")
                .map_err(|_| StateError::Closed)
        };
        let wrong = |_: &Connection| -> Result<(), StateError> { panic!("on purpose") };
        let panics = database.write("panic", wrong, |()| {}).await;
        assert!(matches!(panics, Err(StateError::Database { .. })), "{panics:?}");
        let followed = database.write("add", add("a"), |()| panic!("on purpose")).await;
        assert!(followed.is_ok());
        let (before, lost, after) = tokio::join!(
            database.write("add", add("b"), |()| {}),
            database.write("lose", lose, |()| {}),
            database.write("add", add("c"), |()| {}),
        );
        assert!(lost.is_err());
        let kept = usize::from(before.is_ok()) + usize::from(after.is_ok());
        let count = database.write("count", count, |_| {}).await.unwrap();
        assert_eq!(count, 1 + i64::try_from(kept).unwrap());
        database.close().await;
    }
    #[tokio::test]
    async fn what_is_read_is_told_whatever_becomes_of_the_changes_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        database.write("add", add("a"), |()| {}).await.unwrap();
        let lose = |connection: &Connection| {
            connection
                .execute_batch("ROLLBACK")
                .map_err(|_| StateError::Closed)
        };
        let wrong = |_: &Connection| -> Result<(), StateError> { panic!("on purpose") };
        let (_, first, added, second, panicked) = tokio::join!(
            database.write("lose", lose, |()| {}),
            database.read("count", count),
            database.write("add", add("b"), |()| {}),
            database.read("count", count),
            database.read("panic", wrong),
        );
        assert_eq!((first.unwrap(), added.is_ok(), second.unwrap()), (1, true, 2));
        assert!(matches!(panicked, Err(StateError::Database { .. })));
        database.close().await;
    }
}
