//! The steps that make each database's schema: the files of `migrations/`, which are part of the
//! program. Whether a database's schema is one that this release works on is decided here, for both
//! databases.
//!
//! sqlx's macro that compiles such files in is compiled together with all of sqlx a second time;
//! this is what it would make.

use std::sync::LazyLock;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// What is done about the schema when a store is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchemaMode {
    /// It is made, or brought up to date. One that is newer stays as it is.
    #[default]
    Migrate,
    /// One that is not there or too old is refused.
    Require,
    /// As [`SchemaMode::Require`], and nothing at all is changed or made.
    Inspect,
}

/// A step: the name of its file, and what is in it.
type Step = (&'static str, &'static str);

macro_rules! steps {
    ($folder:literal: $($file:literal)+) => {
        &[$(($file, include_str!(concat!("../../migrations/", $folder, "/", $file, ".sql")))),+]
    };
}

const SQLITE: &[Step] = steps!("sqlite":
    "0001_first"
    "0002_owners"
    "0003_artifacts_of_tenants"
    "0004_installation"
    "0005_artifact_files"
    "0006_releases"
    "0007_dead_letters"
    "0008_epochs"
    "0009_definition_changes"
    "0010_operations"
    "0011_early_rows"
);

const POSTGRES: &[Step] = steps!("postgres":
    "0001_first"
    "0002_owners"
    "0003_artifacts_of_tenants"
    "0004_installation"
    "0005_releases"
    "0006_dead_letters"
    "0007_epochs"
    "0008_definition_changes"
    "0009_operations"
    "0010_early_rows"
);

/// Those of SQLite.
pub(crate) static OF_SQLITE: LazyLock<Migrator> = LazyLock::new(|| migrator(SQLITE));

/// Those of PostgreSQL.
pub(crate) static OF_POSTGRES: LazyLock<Migrator> = LazyLock::new(|| migrator(POSTGRES));

fn migrator(steps: &[Step]) -> Migrator {
    let migrations = steps.iter().filter_map(|(file, sql)| {
        let (version, description) = file.split_once('_')?;
        let (version, description) = (version.parse().ok()?, description.replace('_', " "));
        Some(Migration::new(
            version,
            description.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        ))
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // A newer release's steps are no error; `compare` says which are.
    migrator.set_ignore_missing(true);
    migrator
}

/// The number of the last step that this release knows.
pub(crate) fn latest(ours: &Migrator) -> i64 {
    ours.iter().map(|step| step.version).max().unwrap_or_default()
}

/// How a schema that this release may work on, or bring up to date, stands to its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemaAge {
    /// There is none.
    None,
    /// It lacks steps; the last one that it has is this.
    Older(i64),
    /// It is this release's.
    Same,
    /// It has steps that this release does not know, up to this one, and lets it work all the same.
    Newer(i64),
}

impl SchemaAge {
    /// Refuses a schema that lacks steps. The text follows "cannot use the database …: ".
    pub(crate) fn required(self, ours: &Migrator) -> Result<(), String> {
        let needed = latest(ours);
        match self {
            Self::Same | Self::Newer(_) => Ok(()),
            Self::None => {
                Err("it has no schema yet: run `wasmill migrate` once, which is a step of its own, and then this"
                    .into())
            }
            Self::Older(at) => Err(format!(
                "its schema is too old: it is at step {at}, and this release ({}) needs step {needed}. Run `wasmill migrate` of \
                 this release, and then this; processes of the release before go on working meanwhile",
                env!("CARGO_PKG_VERSION")
            )),
        }
    }
}

/// Compares the steps that were applied to a database, each with its checksum, with those of this
/// release. `min_reader` is what the database says of who may work on it, where it says so.
///
/// # Errors
/// Where it cannot be worked on: the text says why, and what to do, and follows "cannot use the
/// database …: ".
pub(crate) fn compare(
    ours: &Migrator,
    applied: &[(i64, Vec<u8>)],
    min_reader: Option<i64>,
) -> Result<SchemaAge, String> {
    let Some(last) = applied.iter().map(|(version, _)| *version).max() else {
        return Ok(SchemaAge::None);
    };
    let known = latest(ours);
    for step in ours.iter() {
        let there = applied.iter().find(|(version, _)| *version == step.version);
        if there.is_some_and(|(_, checksum)| *checksum != *step.checksum) {
            return Err(format!(
                "its schema differs from this wasmill's at step {}: it was made by an unreleased one",
                step.version
            ));
        }
    }
    let misses =
        ours.iter().any(|step| applied.iter().all(|(version, _)| *version != step.version));
    if last <= known {
        return Ok(if misses { SchemaAge::Older(last) } else { SchemaAge::Same });
    }
    match min_reader {
        Some(lowest) if lowest <= known && !misses => Ok(SchemaAge::Newer(last)),
        _ => {
            let lowest = min_reader.map_or(String::new(), |lowest| {
                format!(" It serves releases that know step {lowest}.")
            });
            Err(format!(
                "its schema is of a newer wasmill (step {last} is not known here; the last one that is, is {known}).{lowest} Run that \
                 wasmill, or restore the backup that was made before it"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use wasmill_domain::Digest;

    use super::*;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations")
    }

    #[tokio::test]
    async fn every_file_is_a_step() {
        for (name, ours) in [("sqlite", &OF_SQLITE), ("postgres", &OF_POSTGRES)] {
            let read = Migrator::new(folder().join(name)).await.unwrap();
            let facts = |migrator: &Migrator| {
                let facts = migrator
                    .iter()
                    .map(|step| (step.version, step.description.clone(), step.checksum.clone()));
                facts.collect::<Vec<_>>()
            };
            assert_eq!(facts(ours), facts(&read));
        }
    }

    /// As `sha256sum --check` would.
    #[test]
    fn released_files_are_as_they_were_released() {
        let list = std::fs::read_to_string(folder().join("released.sha256")).unwrap();
        assert!(list.lines().count() >= 9, "a released file stays in the list");
        for line in list.lines() {
            let (expected, file) = line.split_once("  ").unwrap();
            let bytes =
                std::fs::read(folder().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert_eq!(
                Digest::of(&bytes).to_hex(),
                expected,
                "{file} was released: a change is another step"
            );
        }
    }

    /// What a step must not do unless it says since when nobody uses what it takes away.
    #[test]
    fn steps_only_add() {
        let statements = [
            "DROP TABLE",
            "DROP COLUMN",
            "RENAME",
            "SET NOT NULL",
            "ALTER COLUMN",
            "ADD CONSTRAINT",
            "DELETE FROM",
        ];
        for (file, sql) in SQLITE.iter().chain(POSTGRES).filter(|(file, _)| *file != "0001_first") {
            let sql: String = sql.split_whitespace().collect::<Vec<_>>().join(" ");
            let upper = sql.to_uppercase();
            let takes = statements.iter().find(|statement| upper.contains(*statement));
            assert!(takes.is_none() || sql.contains("-- contract: "), "{file}: {takes:?}");
        }
    }

    #[test]
    fn words_are_in_no_check_of_a_new_step() {
        for (file, sql) in SQLITE.iter().chain(POSTGRES).filter(|(file, _)| *file != "0001_first") {
            let added = sql.split("CREATE TABLE").skip(1).chain(sql.split("ADD COLUMN").skip(1));
            for part in added.filter_map(|part| part.split(';').next()) {
                let check = part
                    .split("CHECK (")
                    .skip(1)
                    .find(|check| check.split(')').next().unwrap().contains(" IN ("));
                assert!(check.is_none(), "{file}: {check:?}");
            }
        }
    }

    #[test]
    fn a_schema_is_older_the_same_or_newer() {
        let ours = &*OF_SQLITE;
        let (known, all) =
            (latest(ours), || ours.iter().map(|step| (step.version, step.checksum.to_vec())));
        let is = |applied: Vec<(i64, Vec<u8>)>, min_reader| compare(ours, &applied, min_reader);
        assert_eq!(is(Vec::new(), None), Ok(SchemaAge::None));
        assert_eq!(is(all().take(2).collect(), None), Ok(SchemaAge::Older(2)));
        assert_eq!(is(all().collect(), Some(known)), Ok(SchemaAge::Same));
        let with = |more: i64| all().chain([(more, vec![1])]).collect::<Vec<_>>();
        assert_eq!(is(with(known + 1), Some(known)), Ok(SchemaAge::Newer(known + 1)));
        assert_eq!(is(with(known + 1), Some(1)), Ok(SchemaAge::Newer(known + 1)));
        for min_reader in [Some(known + 1), None] {
            let why = is(with(known + 1), min_reader).unwrap_err();
            assert!(
                why.contains("newer wasmill")
                    && why.contains(&format!("step {} is not known", known + 1)),
                "{why}"
            );
        }
        // It has a later step without one of ours: another line of releases made it.
        let other = all().skip(1).chain([(known + 1, vec![1])]).collect();
        assert!(is(other, Some(1)).unwrap_err().contains("newer wasmill"));
        let spoiled = all().map(|(version, _)| (version, vec![1])).collect();
        assert!(
            is(spoiled, Some(known)).unwrap_err().contains("differs from this wasmill's at step 1")
        );
    }

    #[test]
    fn what_is_too_old_is_refused_with_the_way_out() {
        let ours = &*OF_POSTGRES;
        assert_eq!(SchemaAge::Same.required(ours), Ok(()));
        assert_eq!(SchemaAge::Newer(99).required(ours), Ok(()));
        for age in [SchemaAge::None, SchemaAge::Older(1)] {
            let why = age.required(ours).unwrap_err();
            assert!(why.contains("`wasmill migrate`"), "{why}");
        }
    }
}
