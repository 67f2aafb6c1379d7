//! Files of earlier releases.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::{file_in, open, stranger};
use crate::conformance::upgrade;
use crate::migrations::OF_SQLITE as MIGRATIONS;

#[tokio::test]
async fn routes_get_owners_and_keys_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    // The stranger does not make files.
    open(&path).await.close().await;
    std::fs::remove_file(&path).unwrap();
    std::fs::File::create(&path).unwrap();
    let mut old = stranger(&path).await;
    MIGRATIONS.run_to(1, &mut old).await.unwrap();
    let content = upgrade::old("zeroblob(32)", |id| format!("x'{}'", id.0.simple()));
    let transaction = content.statements.join("; ");
    old.execute(AssertSqlSafe(format!("BEGIN; {transaction}; COMMIT"))).await.unwrap();
    old.close().await.unwrap();
    content.is_brought_up_to_date(Arc::new(open(&path).await)).await;
    // Once is enough.
    open(&path).await.close().await;
}
