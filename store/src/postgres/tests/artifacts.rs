//! Artifacts of databases that an earlier release made.

use sqlx::{AssertSqlSafe, Executor as _};
use wasmill_domain::{Digest, TenantName};

use super::{Schema, connect};
use crate::migrations::OF_POSTGRES as MIGRATIONS;
use crate::port::Artifacts as _;

#[tokio::test]
async fn artifacts_are_those_of_the_tenants_whose_versions_name_them() {
    let schema = Schema::make().await;
    let mut old = schema.stranger().await;
    MIGRATIONS.run_to(2, &mut old).await.unwrap();
    let [named, unnamed] = [b"named", b"other"].map(|bytes| Digest::of(bytes));
    let literal = |digest: Digest| format!("decode('{}', 'hex')", digest.to_hex());
    let statements = format!(
        "BEGIN; INSERT INTO artifacts (digest, put_at, bytes) VALUES ({named}, 7, 'named'), ({unnamed}, 7, 'other'); \
         INSERT INTO functions (tenant, name, current_version) VALUES ('acme', 'total', 2); \
         INSERT INTO versions (tenant, function, number, digest, manifest, deployed_at) VALUES \
         ('acme', 'total', 1, {named}, '{{}}', 7), ('acme', 'total', 2, {named}, '{{}}', 8); COMMIT",
        named = literal(named),
        unnamed = literal(unnamed),
    );
    old.execute(AssertSqlSafe(statements)).await.unwrap();
    let store = connect(&schema).await;
    let [acme, other] = ["acme", "other"].map(|name| name.parse::<TenantName>().unwrap());
    assert_eq!(store.tenant_artifact(&acme, named).await.unwrap().as_deref(), Some(&b"named"[..]));
    assert!(!store.put_artifact(&acme, named, "named".into()).await.unwrap(), "its row is there");
    for (tenant, digest) in [(&other, named), (&other, unnamed), (&acme, unnamed)] {
        assert_eq!(store.tenant_artifact(tenant, digest).await.unwrap(), None);
    }
    let rows = "SELECT tenant, size FROM tenant_artifacts";
    let rows: Vec<(String, i64)> = sqlx::query_as(rows).fetch_all(&mut old).await.unwrap();
    assert_eq!(rows, [("acme".to_owned(), 5)]);
}
