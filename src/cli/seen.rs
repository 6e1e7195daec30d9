//! What there is to see: from the running mount, or from the journal where none runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::failure::Failure;
use crate::control::{
    AccountState, Action, Client, ControlError, PendingState, PendingStatus, StatusReport, Totals,
};
use crate::state::{Database, DeletionRow, JournalRow, RenameRow, RowState, StateDir, StateError};
use crate::upload::OperationId;

/// How long a mount may take between holding the journal and answering, at its start and at its end.
const STARTING_OR_ENDING: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) enum Seen {
    Running(StatusReport),
    Resting(Resting),
}

/// What the journal holds while no mount runs.
pub(super) struct Resting {
    pub state_dir: PathBuf,
    pub totals: Totals,
    /// All that waits, oldest first.
    pub pending: Vec<PendingStatus>,
}

impl Seen {
    pub fn totals(&self) -> &Totals {
        match self {
            Seen::Running(report) => &report.totals,
            Seen::Resting(resting) => &resting.totals,
        }
    }

    /// Whether an account of the mount waits for a person to log in.
    pub fn is_login_refused(&self) -> bool {
        match self {
            Seen::Running(report) => {
                let mut accounts = report.accounts.iter();
                accounts.any(|account| account.state == AccountState::LoginRefused)
            }
            Seen::Resting(_) => false,
        }
    }

    pub fn pending(&self) -> &[PendingStatus] {
        match self {
            Seen::Running(report) => &report.pending,
            Seen::Resting(resting) => &resting.pending,
        }
    }
}

/// Looks at the mount, with at most `rows` files of each state, or at the journal.
pub(super) async fn look(state_dir: &Path, rows: Option<usize>) -> Result<Seen, Failure> {
    let mut patience = STARTING_OR_ENDING;
    loop {
        let asked = match Client::connect(state_dir).await {
            Ok(client) => client.status(rows).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(report) => return Ok(Seen::Running(report)),
            Err(ControlError::NotRunning(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match from_journal(state_dir).await? {
            Some(pending) => return Ok(Seen::Resting(resting(state_dir, pending))),
            None if patience.is_zero() => {
                return Err(Failure::new(
                    "a mount is starting or ending: ask again in a moment",
                ));
            }
            None => {
                tokio::time::sleep(LOOK_AGAIN).await;
                patience = patience.saturating_sub(LOOK_AGAIN);
            }
        }
    }
}

fn resting(state_dir: &Path, mut pending: Vec<PendingStatus>) -> Resting {
    let mut totals = Totals::default();
    for item in &pending {
        match item.action {
            Action::Upload => totals.add(item.state, 1, item.size, item.sent),
            Action::Delete | Action::Rename => totals.add_operation(item.state),
        }
    }
    pending.retain(|item| item.state != PendingState::Local);
    Resting {
        state_dir: state_dir.to_owned(),
        totals,
        pending,
    }
}

/// What waits while no mount runs; `None` while one holds the journal.
async fn from_journal(path: &Path) -> Result<Option<Vec<PendingStatus>>, Failure> {
    Ok(match journal(path).await? {
        None => None,
        Some(Journal::None) => Some(Vec::new()),
        Some(Journal::Rows(held)) => {
            let deletions = held.deletions.into_iter().map(of_deletion);
            let renames = held.renames.into_iter().map(of_rename);
            let rows = held.rows.into_iter().map(of_row);
            Some(rows.chain(deletions).chain(renames).collect())
        }
    })
}

/// A journal that no mount holds.
pub(super) enum Journal {
    /// There is none yet.
    None,
    Rows(Held),
}

/// What a journal holds. No mount takes it up as long as this lives.
pub(super) struct Held {
    pub directory: StateDir,
    /// Of files that are not removed.
    pub rows: Vec<JournalRow>,
    pub deletions: Vec<DeletionRow>,
    pub renames: Vec<RenameRow>,
}

/// The journal; `None` while a mount holds it. Makes nothing.
pub(super) async fn journal(path: &Path) -> Result<Option<Journal>, Failure> {
    if !path.exists() {
        return Ok(Some(Journal::None));
    }
    let directory = match StateDir::open(path) {
        Err(StateError::InUse { .. }) => return Ok(None),
        directory => directory?,
    };
    if !directory.database_path().exists() {
        return Ok(Some(Journal::None));
    }
    let database = Database::open(&directory.database_path())?;
    let rows = database.journal_rows().await;
    let deletions = database.deletion_rows().await;
    let renames = database.rename_rows().await;
    database.close().await;
    let (mut rows, deletions, renames) = (rows?, deletions?, renames?);
    rows.retain(|row| row.state != RowState::Removed);
    Ok(Some(Journal::Rows(Held {
        directory,
        rows,
        deletions,
        renames,
    })))
}

fn of_row(row: JournalRow) -> PendingStatus {
    let state = match row.state {
        RowState::Parked => PendingState::Parked,
        RowState::Kept => PendingState::Kept,
        RowState::Local => PendingState::Local,
        _ if row.last_error.is_some() => PendingState::Waiting,
        _ => PendingState::Queued,
    };
    PendingStatus {
        id: row.id.to_string(),
        action: Action::Upload,
        to: None,
        account: row.account,
        path: row.name,
        size: row.size,
        sent: 0,
        rate: 0,
        state,
        error: row.last_error,
        tries: row.tries,
        next_try: row.next_try.map(super::mount::seconds),
    }
}

fn of_deletion(row: DeletionRow) -> PendingStatus {
    let change = Change {
        parked: row.parked,
        tries: row.tries,
        next_try: row.next_try,
        error: row.last_error,
    };
    PendingStatus {
        id: OperationId::Delete(row.id).to_string(),
        action: Action::Delete,
        account: row.account.to_string(),
        path: row.name.to_string(),
        ..change.status()
    }
}

fn of_rename(row: RenameRow) -> PendingStatus {
    let change = Change {
        parked: row.parked,
        tries: row.tries,
        next_try: row.next_try,
        error: row.last_error,
    };
    PendingStatus {
        id: OperationId::Rename(row.id).to_string(),
        action: Action::Rename,
        account: row.account,
        path: row.from_name,
        to: Some(row.to_name),
        ..change.status()
    }
}

/// What deletions and renames have in common.
struct Change {
    parked: bool,
    tries: u32,
    next_try: Option<SystemTime>,
    error: Option<String>,
}

impl Change {
    /// Without what it is and where.
    fn status(self) -> PendingStatus {
        let state = match (self.parked, self.error.is_some()) {
            (true, _) => PendingState::Parked,
            (false, true) => PendingState::Waiting,
            (false, false) => PendingState::Queued,
        };
        PendingStatus {
            id: String::new(),
            action: Action::Delete,
            account: String::new(),
            path: String::new(),
            to: None,
            size: 0,
            sent: 0,
            rate: 0,
            state,
            error: self.error,
            tries: self.tries,
            next_try: self.next_try.map(super::mount::seconds),
        }
    }
}
