//! Calls of a day, for services that count them: what was spent outlives the process.

use rusqlite::{Connection, OptionalExtension, named_params};

use super::{Database, StateError};

/// What is known of an account's day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DailyCallsRow {
    /// Days since 1970 (UTC).
    pub day: i64,
    pub spent: u64,
    /// Bytes of the largest file, as told on that day.
    pub max_file_size: Option<u64>,
}

const OPERATION: &str = "count the calls of a day";

impl Database {
    /// Changes what is known of an account's day, which begins with nothing.
    pub async fn change_daily_calls<R: Send + 'static>(
        &self,
        account: String,
        change: impl FnOnce(&mut DailyCallsRow) -> R + Send + 'static,
    ) -> Result<R, StateError> {
        let write = move |connection: &Connection| {
            let before = read(connection, &account)?;
            let mut row = before;
            let result = change(&mut row);
            if row != before {
                save(connection, &account, &row)?;
            }
            Ok(result)
        };
        self.write(OPERATION, write, |_| {}).await
    }
}

fn failed(error: rusqlite::Error) -> StateError {
    StateError::sqlite(OPERATION, &error)
}

fn read(connection: &Connection, account: &str) -> Result<DailyCallsRow, StateError> {
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    let row = connection.query_row(
        "SELECT day, spent, max_file_size FROM daily_calls WHERE account = ?1",
        [account],
        |row| {
            Ok(DailyCallsRow {
                day: row.get(0)?,
                spent: number(row.get(1)?),
                max_file_size: row.get::<_, Option<i64>>(2)?.map(number),
            })
        },
    );
    Ok(row.optional().map_err(failed)?.unwrap_or_default())
}

fn save(connection: &Connection, account: &str, row: &DailyCallsRow) -> Result<(), StateError> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    connection
        .execute(
            "INSERT OR REPLACE INTO daily_calls (account, day, spent, max_file_size) \
             VALUES (:account, :day, :spent, :max_file_size)",
            named_params! {
                ":account": account,
                ":day": row.day,
                ":spent": number(row.spent),
                ":max_file_size": row.max_file_size.map(number),
            },
        )
        .map(drop)
        .map_err(failed)
}
