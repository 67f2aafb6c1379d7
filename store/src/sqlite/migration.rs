//! The schema of a file: compared with this release's, and brought up to date after a copy was
//! made.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::private::make_private;
use super::{error, upgrade};
use crate::migrations::{OF_SQLITE as MIGRATIONS, SchemaAge, SchemaMode, compare};
use crate::port::{Result, StoreError};

/// How old a copy must be that nobody made the one that is kept.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// Looks at the schema, and brings it up to date where `mode` says so.
pub(super) async fn prepare(
    connection: &mut SqliteConnection,
    path: &Path,
    mode: SchemaMode,
) -> Result<()> {
    let age = age(connection, path).await?;
    if mode != SchemaMode::Migrate {
        return age.required(&MIGRATIONS).map_err(|why| error::wrong_schema(path, &why));
    }
    if let SchemaAge::Older(at) = age {
        back_up(connection, path, at).await?;
    }
    migrate(connection, path).await
}

/// How the file's schema stands to this release's.
async fn age(connection: &mut SqliteConnection, path: &Path) -> Result<SchemaAge> {
    let (applied, min_reader) = read(connection).await.map_err(|e| error::at_open(path, &e))?;
    compare(&MIGRATIONS, &applied, min_reader).map_err(|why| error::wrong_schema(path, &why))
}

/// The steps that were applied, and who may work on the schema, where the file says so.
async fn read(
    connection: &mut SqliteConnection,
) -> sqlx::Result<(Vec<(i64, Vec<u8>)>, Option<i64>)> {
    if !has_table(connection, "_sqlx_migrations").await? {
        return Ok((Vec::new(), None));
    }
    let rows = sqlx::query(
        "SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version",
    );
    let rows = rows.fetch_all(&mut *connection).await?;
    let applied = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<sqlx::Result<_>>()?;
    let min_reader = match has_table(connection, "schema_info").await? {
        true => {
            sqlx::query_scalar("SELECT min_reader FROM schema_info")
                .fetch_optional(connection)
                .await?
        }
        false => None,
    };
    Ok((applied, min_reader))
}

async fn has_table(connection: &mut SqliteConnection, table: &str) -> sqlx::Result<bool> {
    let named =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?");
    let tables: i64 = named.bind(table).fetch_one(connection).await?;
    Ok(tables > 0)
}

/// Applies what is missing, all in one transaction that others wait for: of two processes that open
/// a new file, one makes the tables and the other finds them made.
async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    let failed = |e: sqlx::Error| error::at_migration(path, &e.into());
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let is_before_owners = upgrade::is_before_owners(&mut transaction).await?;
    MIGRATIONS.run(&mut *transaction).await.map_err(|e| error::at_migration(path, &e))?;
    if is_before_owners {
        upgrade::to_owners(&mut transaction).await?;
    }
    transaction.commit().await.map_err(failed)
}

/// Where the copy of a file is whose schema is at a step.
fn backup_of(path: &Path, at: i64) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".schema-{at}.backup"));
    name.into()
}

/// Copies the file, whose schema is at step `at`, to where its owner finds it, and deletes older
/// copies.
async fn back_up(connection: &mut SqliteConnection, path: &Path, at: i64) -> Result<()> {
    let to = backup_of(path, at);
    let mut partial = OsString::from(&to);
    // Somebody else may do the same.
    partial.push(format!("-{}", Uuid::now_v7()));
    let partial = PathBuf::from(partial);
    let failed = |e: &dyn std::fmt::Display| {
        let why = format!(
            "no copy of the database {} can be made before it is brought up to date",
            path.display()
        );
        StoreError::Unavailable(format!("{why}: {e}"))
    };
    make_private(&partial);
    let copied = sqlx::query("VACUUM INTO ?")
        .bind(partial.to_string_lossy().into_owned())
        .execute(connection)
        .await;
    if let Err(error) = copied {
        let _ = remove(&partial);
        return Err(failed(&error));
    }
    // Somebody else may have brought the file up to date in the meantime: this is a copy of what it
    // was before, or none.
    if last_step(&partial).await.map_err(|e| failed(&e))? != at {
        return remove(&partial).map_err(|e| failed(&e));
    }
    let (from, path, kept) = (partial.clone(), path.to_owned(), to.clone());
    let put = spawn_blocking(move || put_in_place(&from, &path, &kept)).await;
    put.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
    tracing::warn!(
        backup = %to.display(),
        schema = at,
        "the database is brought up to date; a copy of it as it was is kept until the next time"
    );
    Ok(())
}

/// The last step of a copy.
async fn last_step(copy: &Path) -> sqlx::Result<i64> {
    let mut connection =
        SqliteConnectOptions::new().filename(copy).read_only(true).connect().await?;
    let (applied, _) = read(&mut connection).await?;
    connection.close().await?;
    Ok(applied.last().map_or(0, |(version, _)| *version))
}

/// Makes a copy the one that is kept.
fn put_in_place(from: &Path, path: &Path, kept: &Path) -> io::Result<()> {
    // The copy must be there before the file is changed, also after a power failure.
    fs::File::open(from)?.sync_all()?;
    fs::rename(from, kept)?;
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()?;
    let prefix = format!("{}.schema-", path.file_name().unwrap_or_default().to_string_lossy());
    for entry in fs::read_dir(folder)? {
        let other = entry?.path();
        let name = other.file_name().unwrap_or_default().to_string_lossy();
        let is_older = name.ends_with(".backup") && other.file_name() != kept.file_name();
        let is_left_behind = name.contains(".backup-")
            && other.metadata().and_then(|file| file.modified()).is_ok_and(is_left_behind);
        if name.starts_with(&prefix) && (is_older || is_left_behind) {
            remove(&other)?;
        }
    }
    Ok(())
}

/// Whether whoever began a copy then has ended before it was done. A clock that was set back makes
/// none old.
fn is_left_behind(modified: SystemTime) -> bool {
    modified.elapsed().is_ok_and(|age| age > LEFT_BEHIND)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
