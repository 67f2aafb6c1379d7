//! Statements over many rows: each parameter is a column, an array with a value for every row,
//! which `unnest` makes rows of again. A batch of any size is one statement that way, prepared
//! once.

use sqlx::encode::Encode;
use sqlx::postgres::{PgArguments, PgBindIterExt as _, PgHasArrayType, PgRow};
use sqlx::{Arguments as _, Decode, Postgres, Row as _, Type};
use uuid::Uuid;
use wasmill_domain::ExecutionId;

use super::error::Result;
use super::session::Statement;

/// The most rows in one statement.
const ROWS: usize = 2_000;

/// What is carried in one statement, unless a single row is larger. PostgreSQL takes 1 GiB.
const BYTES: usize = 8 << 20;

/// Parameters that are columns.
#[derive(Default)]
pub(super) struct Columns(PgArguments);

impl Columns {
    /// Adds the next column.
    pub(super) fn add<'q, I>(mut self, values: I) -> Result<Self>
    where
        I: Iterator<Item: Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType>,
    {
        self.0.add(values.bind_iter()).map_err(sqlx::Error::Encode)?;
        Ok(self)
    }

    /// The statement with these parameters.
    pub(super) fn of(self, sql: &'static str) -> Statement<'static> {
        sqlx::query_with(sql, self.0)
    }
}

/// Cuts rows into pieces that a statement carries. `size` gives about how many bytes a row takes.
pub(super) fn pieces<R>(mut rows: &[R], size: impl Fn(&R) -> usize) -> impl Iterator<Item = &[R]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |row: &&R| {
            bytes += size(row);
            bytes <= BYTES
        };
        let length = rows.iter().take(ROWS).take_while(fits).count().max(1).min(rows.len());
        let (piece, rest) = rows.split_at(length);
        rows = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// A column's value in a row.
pub(super) fn get<'r, T: Decode<'r, Postgres> + Type<Postgres>>(
    row: &'r PgRow,
    column: &str,
) -> Result<T> {
    Ok(row.try_get(column)?)
}

/// An id from its column.
pub(super) fn id_of(row: &PgRow, column: &str) -> Result<ExecutionId> {
    get::<Uuid>(row, column).map(ExecutionId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_bounded_and_all_there() {
        let many: Vec<usize> = (0..4_500).collect();
        let lengths: Vec<usize> = pieces(&many, |_| 1).map(<[usize]>::len).collect();
        assert_eq!(lengths, [2_000, 2_000, 500]);
        assert_eq!(pieces(&many, |_| 1).flatten().count(), 4_500);
        let sizes = [BYTES / 2, BYTES / 2, 1, 3 * BYTES, 5];
        let cut: Vec<Vec<usize>> = pieces(&sizes, |size| *size).map(<[usize]>::to_vec).collect();
        assert_eq!(cut, [vec![BYTES / 2, BYTES / 2], vec![1], vec![3 * BYTES], vec![5]]);
        assert_eq!(pieces(&[] as &[usize], |_| 1).count(), 0);
    }
}
