//! The steps that make each database's schema: the files of `migrations/`, which are part of the program.
//!
//! sqlx's macro that does this is compiled together with all of sqlx a second time; this is what it would make.

use std::sync::LazyLock;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

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
    "0007_dead_letters"
    "0008_epochs"
);

const POSTGRES: &[Step] = steps!("postgres":
    "0001_first"
    "0002_owners"
    "0003_artifacts_of_tenants"
    "0004_installation"
    "0006_dead_letters"
    "0007_epochs"
);

/// Those of SQLite.
pub(crate) static OF_SQLITE: LazyLock<Migrator> = LazyLock::new(|| migrator(SQLITE));

/// Those of PostgreSQL.
pub(crate) static OF_POSTGRES: LazyLock<Migrator> = LazyLock::new(|| migrator(POSTGRES));

fn migrator(steps: &[Step]) -> Migrator {
    let migrations = steps.iter().filter_map(|(file, sql)| {
        let (version, description) = file.split_once('_')?;
        let (version, description) = (version.parse().ok()?, description.replace('_', " "));
        Some(Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false))
    });
    Migrator::with_migrations(migrations.collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{OF_POSTGRES, OF_SQLITE};

    #[tokio::test]
    async fn every_file_is_a_step() {
        for (folder, ours) in [("sqlite", &OF_SQLITE), ("postgres", &OF_POSTGRES)] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(folder);
            let read = sqlx::migrate::Migrator::new(folder).await.unwrap();
            let facts = |migrator: &sqlx::migrate::Migrator| {
                let facts = migrator.iter().map(|step| (step.version, step.description.clone(), step.checksum.clone()));
                facts.collect::<Vec<_>>()
            };
            assert_eq!(facts(ours), facts(&read));
        }
    }
}
