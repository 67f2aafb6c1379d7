//! Databases of earlier releases.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Executor as _};

use super::{Schema, connect};
use crate::conformance::upgrade;
use crate::migrations::OF_POSTGRES as MIGRATIONS;

#[tokio::test]
async fn routes_get_owners_and_keys_go() {
    let schema = Schema::make().await;
    let mut old = schema.stranger().await;
    MIGRATIONS.run_to(1, &mut old).await.unwrap();
    let content = upgrade::old("decode(repeat('00', 32), 'hex')", |id| format!("'{}'", id.0));
    let transaction = content.statements.join("; ");
    old.execute(AssertSqlSafe(format!("BEGIN; {transaction}; COMMIT"))).await.unwrap();
    content.is_brought_up_to_date(Arc::new(connect(&schema).await)).await;
    // Once is enough.
    connect(&schema).await.close().await;
}
