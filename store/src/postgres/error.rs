//! What PostgreSQL's errors mean.

use sqlx::postgres::PgDatabaseError;

use crate::port;

/// Why a transaction did not come to its end.
#[derive(Debug)]
pub(super) enum Fault {
    /// It was decided here: nothing is wrong with the connection.
    Decided(port::StoreError),
    /// The database or the way to it.
    Sql(sqlx::Error),
}

pub(super) type Result<T, E = Fault> = std::result::Result<T, E>;

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<port::StoreError> for Fault {
    fn from(error: port::StoreError) -> Self {
        Self::Decided(error)
    }
}

impl Fault {
    /// The SQLSTATE, where the database has answered with one.
    fn code(&self) -> Option<&str> {
        match self {
            Self::Sql(sqlx::Error::Database(inner)) => {
                inner.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::code)
            }
            _ => None,
        }
    }

    /// Whether the transaction only met another one: the same again may well succeed.
    pub(super) fn is_collision(&self) -> bool {
        // serialization_failure, deadlock_detected
        matches!(self.code(), Some("40001" | "40P01"))
    }

    /// Whether the database said nothing, so that nobody can tell how far it got; or said that the
    /// connection is over.
    pub(super) fn is_loss(&self) -> bool {
        match self.code() {
            // Connection exceptions; shut down, crashed, starting up, idle for too long.
            Some(code) => {
                code.starts_with("08")
                    || matches!(code, "57P01" | "57P02" | "57P03" | "57P05" | "25P03")
            }
            None => matches!(
                self,
                Self::Sql(sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_))
            ),
        }
    }

    /// Whether the session was refused for what it asks to have set: by a pooler, which cannot keep
    /// it.
    pub(super) fn is_refused_parameter(&self) -> bool {
        // protocol_violation
        let Self::Sql(sqlx::Error::Database(inner)) = self else { return false };
        self.code() == Some("08P01") && inner.message().contains("startup parameter")
    }

    /// Whether a lock was not to be had in the time that was set.
    pub(super) fn is_lock_timeout(&self) -> bool {
        // lock_not_available
        self.code() == Some("55P03")
    }

    /// Whether the server gave a statement up that took longer than was set.
    pub(super) fn is_statement_timeout(&self) -> bool {
        // query_canceled
        self.code() == Some("57014")
    }

    /// Whether rows are in the way of what is said of a table.
    pub(super) fn is_check_violation(&self) -> bool {
        self.code() == Some("23514")
    }

    /// What callers are told.
    ///
    /// Only what is surely the data's fault is refused. Everything else counts as "not now": a
    /// caller then keeps what it has and tries again, so that nothing is lost over a full disk, a
    /// failover or a mistake in these files.
    pub(super) fn into_error(self) -> port::StoreError {
        let code = self.code().unwrap_or_default().to_owned();
        let error = match self {
            Self::Decided(error) => return error,
            Self::Sql(error) => error,
        };
        let message = match &error {
            sqlx::Error::Database(inner) => format!("{} (SQLSTATE {code})", inner.message()),
            other => other.to_string(),
        };
        match code.get(..2) {
            // Data exceptions, integrity constraint violations, program limits.
            Some("22" | "23" | "54") => port::StoreError::Rejected(message),
            Some(_) => port::StoreError::Unavailable(message),
            None => match error {
                sqlx::Error::Encode(_)
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnDecode { .. } => port::StoreError::Rejected(message),
                _ => port::StoreError::Unavailable(message),
            },
        }
    }
}

/// The store was closed.
pub(super) fn closed() -> port::StoreError {
    port::StoreError::Unavailable("it was closed".into())
}
