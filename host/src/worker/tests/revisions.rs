//! By which version an event runs that was decided by some revision of the definitions.

use serde_json::json;
use wasmill_domain::{Digest, ExecutionId, Revision, State, TenantName, Timestamp};
use wasmill_store::{Artifacts as _, Catalog as _, Change};

use super::{HELLO, HOSTILE, System, dispatch};

const EVENT: &str = r#"{"name": "Ada"}"#;

fn put_schema(tenant: &str, event_type: &str) -> Change {
    let (tenant, event_type) = (tenant.parse().unwrap(), event_type.parse().unwrap());
    Change::PutSchema { tenant, event_type, schema: json!(true), at: Timestamp::now() }
}

impl System {
    /// Publishes an event that was decided by a revision.
    async fn publish_at(&self, revision: Revision) -> ExecutionId {
        let dispatch = dispatch("hello", "greeting.requested", EVENT)
            .with_max_attempts(1)
            .with_revision(revision);
        let id = dispatch.execution;
        self.publisher.publish(dispatch).await.unwrap();
        id
    }
}

/// The worker does not hear of them, and an event that was decided after them waits for nothing.
#[tokio::test]
async fn changes_of_other_tenants_hold_nothing_up() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start();
    let first = system.publish_at(system.registry.current().revision()).await;
    assert_eq!(system.ended(first).await.summary.state, State::Succeeded);
    let own = system.registry.subscribe_to(&TenantName::default());
    for event_type in ["a", "b", "c"] {
        system.define(put_schema("other", event_type)).await;
        let id = system.publish_at(system.registry.current().revision()).await;
        assert_eq!(system.ended(id).await.summary.state, State::Succeeded);
    }
    assert!(!own.has_changed().unwrap());
    // So do changes of its own tenant that are of something else.
    system.define(put_schema("default", "d")).await;
    let id = system.publish_at(system.registry.current().revision()).await;
    assert_eq!(system.ended(id).await.summary.state, State::Succeeded);
    host.stop().await;
}

/// The host may hear of the deploy after the event, and among changes of others.
#[tokio::test]
async fn an_event_meets_the_version_that_its_gateway_knew() {
    let system = System::new().await;
    system.deploy(HOSTILE, "name = 'hello'").await;
    let host = system.start();
    for (round, component) in [HELLO, HOSTILE, HELLO].into_iter().enumerate() {
        let (known, store) = (system.registry.current().revision(), system.store.inner());
        let digest = Digest::of(component);
        store
            .put_artifact(&TenantName::default(), digest, bytes::Bytes::copy_from_slice(component))
            .await
            .unwrap();
        store.define(&put_schema("other", &format!("before-{round}"))).await.unwrap();
        let deploy = Change::Deploy {
            tenant: TenantName::default(),
            digest,
            manifest: wasmill_domain::Manifest::from_toml("name = 'hello'").unwrap(),
            hostnames: std::sync::Arc::default(),
            at: Timestamp::now(),
        };
        let deployed = store.define(&deploy).await.unwrap().revision;
        store.define(&put_schema("other", &format!("after-{round}"))).await.unwrap();
        assert!(deployed > known);
        let id = system.publish_at(deployed).await;
        assert_eq!(system.ended(id).await.summary.version, Some(digest), "round {round}");
    }
    host.stop().await;
}
