//! Schemas for tests: made empty, and dropped in the end.

use std::thread;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use uuid::Uuid;

use super::shared_server;

/// An empty schema of its own in a database, dropped with all that is in it when this is, whether
/// the test has passed or not.
pub struct Schema {
    name: String,
    server: String,
}

impl Schema {
    /// A schema on the server that tests share.
    pub async fn make() -> Self {
        let schema = Self {
            name: format!("wasmill_test_{}", Uuid::new_v4().simple()),
            server: shared_server(),
        };
        run(&schema.server, &format!("CREATE SCHEMA {}", schema.name)).await.unwrap();
        schema
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL that leads into it.
    pub fn url(&self) -> String {
        self.url_at(&self.server)
    }

    /// The URL that leads into it by another way to the server.
    pub fn url_at(&self, server: &str) -> String {
        let and = if server.contains('?') { '&' } else { '?' };
        format!("{server}{and}options[search_path]={}", self.name)
    }

    /// Runs statements on the server, such as those of a dump, one after the other.
    pub async fn load(&self, sql: &str) {
        run(&self.server, sql).await.unwrap();
    }

    /// Somebody else's connection to it.
    pub async fn stranger(&self) -> PgConnection {
        options(&self.url()).connect().await.unwrap()
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (server, drop) = (self.server.clone(), format!("DROP SCHEMA {} CASCADE", self.name));
        // In a thread, because the runtime of the test may be about to end.
        let dropped = thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(run(&server, &drop))
        });
        let dropped = dropped.join().unwrap();
        // A test that has failed already says why itself.
        assert!(dropped.is_ok() || thread::panicking(), "{dropped:?}");
    }
}

fn options(url: &str) -> PgConnectOptions {
    url.parse::<PgConnectOptions>().unwrap().disable_statement_logging()
}

async fn run(server: &str, sql: &str) -> sqlx::Result<()> {
    let mut connection = options(server).connect().await?;
    connection.execute(AssertSqlSafe(sql.to_owned())).await?;
    connection.close().await
}
