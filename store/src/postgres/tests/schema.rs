//! Schemas for tests: made empty, and dropped in the end.

use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use uuid::Uuid;

/// The server that tests use.
pub(super) fn server() -> String {
    std::env::var("DATABASE_URL").unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/test".into())
}

/// Another database of that server.
pub(super) fn database(name: &str) -> String {
    let server = server();
    let (base, query) = server.split_once('?').map_or((server.as_str(), String::new()), |(base, query)| (base, format!("?{query}")));
    let (base, _) = base.rsplit_once('/').unwrap();
    format!("{base}/{name}{query}")
}

/// Host and port of that server.
pub(super) fn address() -> String {
    let options = PgConnectOptions::from_str(&server()).unwrap();
    format!("{}:{}", options.get_host(), options.get_port())
}

/// The same server, by another address.
pub(super) fn server_at(address: &str) -> String {
    let server = server();
    let (login, rest) = server.split_once('@').unwrap();
    let (_, rest) = rest.split_once('/').unwrap();
    format!("{login}@{address}/{rest}")
}

/// A schema of its own in a database.
pub(super) struct Schema {
    pub(super) name: String,
    server: String,
}

impl Schema {
    /// An empty schema on the server of the tests.
    pub(super) async fn make() -> Self {
        Self::make_on(server()).await
    }

    pub(super) async fn make_on(server: String) -> Self {
        let schema = Self { name: format!("wasmill_test_{}", Uuid::new_v4().simple()), server };
        run(&schema.server, &format!("CREATE SCHEMA {}", schema.name)).await;
        schema
    }

    /// The URL that leads into it.
    pub(super) fn url(&self) -> String {
        self.url_at(&self.server)
    }

    /// The URL that leads into it by another way to the server.
    pub(super) fn url_at(&self, server: &str) -> String {
        let and = if server.contains('?') { '&' } else { '?' };
        format!("{server}{and}options[search_path]={}", self.name)
    }

    /// Somebody else's connection to it.
    pub(super) async fn stranger(&self) -> PgConnection {
        PgConnectOptions::from_str(&self.url()).unwrap().disable_statement_logging().connect().await.unwrap()
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (server, drop) = (self.server.clone(), format!("DROP SCHEMA {} CASCADE", self.name));
        // In a thread, because the runtime of the test may be about to end.
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(&server, &drop));
        });
        thread.join().unwrap();
    }
}

async fn run(server: &str, sql: &str) {
    let options = PgConnectOptions::from_str(server).unwrap().disable_statement_logging();
    let mut connection = options.connect().await.unwrap();
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}
