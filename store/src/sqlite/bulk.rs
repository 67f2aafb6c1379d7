//! Statements over many rows.
//!
//! One row at a time, most of the time goes into passing statements to the connection's thread:
//! 4,000 records a second instead of 30,000 with 64 rows to a statement. A statement is prepared
//! once for each number of rows it is used with, and a batch of any size is cut into powers of two,
//! so that few are enough.

use std::sync::{Arc, OnceLock};

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Encode, Sqlite, Type};

use super::error;
use crate::port::Result;

/// The most rows in one statement: 2^6. With the widest table that is 1,400 parameters; SQLite
/// takes 32,766.
const LARGEST: usize = 6;

/// A statement that has `VALUES (?, …), (?, …), …` in it.
pub(super) struct Bulk {
    before: &'static str,
    columns: usize,
    after: &'static str,
    /// Its text with 1, 2, 4, … rows.
    texts: [OnceLock<Arc<str>>; LARGEST + 1],
}

/// A row's values on their way into a statement.
pub(super) struct Values(SqliteArguments);

impl Values {
    /// Adds the next value of the row.
    pub(super) fn push<'q, T: Encode<'q, Sqlite> + Type<Sqlite>>(
        &mut self,
        value: T,
    ) -> Result<&mut Self, BoxDynError> {
        self.0.add(value)?;
        Ok(self)
    }
}

impl Bulk {
    /// A statement that is `before`, `VALUES` and rows of `columns` values, `after`.
    pub(super) const fn new(before: &'static str, columns: usize, after: &'static str) -> Self {
        Self { before, columns, after, texts: [const { OnceLock::new() }; LARGEST + 1] }
    }

    /// Runs it for every row. `bind` gives a row's values, as many as the statement has columns.
    pub(super) async fn execute<R>(
        &self,
        connection: &mut SqliteConnection,
        rows: &[R],
        bind: impl Fn(&R, &mut Values) -> Result<(), BoxDynError>,
    ) -> Result<()> {
        for chunk in chunks(rows) {
            let (text, values) = self.prepare(chunk, &bind)?;
            sqlx::query_with(AssertSqlSafe(text), values.0)
                .execute(&mut *connection)
                .await
                .map_err(error::of)?;
        }
        Ok(())
    }

    /// Runs it for every row and gives what it returns, in no order.
    pub(super) async fn fetch<R>(
        &self,
        connection: &mut SqliteConnection,
        rows: &[R],
        bind: impl Fn(&R, &mut Values) -> Result<(), BoxDynError>,
    ) -> Result<Vec<SqliteRow>> {
        let mut found = Vec::with_capacity(rows.len());
        for chunk in chunks(rows) {
            let (text, values) = self.prepare(chunk, &bind)?;
            let query = sqlx::query_with(AssertSqlSafe(text), values.0);
            found.append(&mut query.fetch_all(&mut *connection).await.map_err(error::of)?);
        }
        Ok(found)
    }

    fn prepare<R>(
        &self,
        rows: &[R],
        bind: &impl Fn(&R, &mut Values) -> Result<(), BoxDynError>,
    ) -> Result<(Arc<str>, Values)> {
        let mut values = Values(SqliteArguments::default());
        values.0.reserve(rows.len() * self.columns, 0);
        for row in rows {
            bind(row, &mut values).map_err(|e| error::of(sqlx::Error::Encode(e)))?;
        }
        debug_assert_eq!(values.0.len(), rows.len() * self.columns, "{}", self.before);
        Ok((self.text(rows.len()), values))
    }

    /// The statement's text for `rows` rows, a power of two.
    pub(super) fn text(&self, rows: usize) -> Arc<str> {
        let text = self.texts[rows.ilog2() as usize].get_or_init(|| {
            let row = format!("({})", vec!["?"; self.columns].join(", "));
            format!("{} VALUES {} {}", self.before, vec![row; rows].join(", "), self.after).into()
        });
        Arc::clone(text)
    }
}

/// Cuts rows into pieces of 64 and then of ever smaller powers of two.
fn chunks<R>(mut rows: &[R]) -> impl Iterator<Item = &[R]> {
    std::iter::from_fn(move || {
        let exponent = rows.len().checked_ilog2()?;
        let (chunk, rest) = rows.split_at(1 << exponent.min(LARGEST as u32));
        rows = rest;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_powers_of_two_and_all_there() {
        for length in [0, 1, 2, 3, 63, 64, 65, 127, 200, 500] {
            let rows: Vec<usize> = (0..length).collect();
            let pieces: Vec<&[usize]> = chunks(&rows).collect();
            assert!(
                pieces.iter().all(|piece| piece.len().is_power_of_two() && piece.len() <= 64),
                "{length}"
            );
            assert_eq!(pieces.concat(), rows);
        }
    }

    #[test]
    fn a_statement_has_a_row_for_each() {
        let bulk = Bulk::new("INSERT INTO t", 2, "ON CONFLICT DO NOTHING");
        assert_eq!(&*bulk.text(2), "INSERT INTO t VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING");
    }
}
