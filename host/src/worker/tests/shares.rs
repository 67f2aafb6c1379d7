//! One tenant's work beside another's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmill_domain::{Digest, Dispatch, ExecutionId, Manifest, State, TenantName, Timestamp};
use wasmill_store::{Artifacts as _, Change, History as _};

use super::{HELLO, HOSTILE, System, WAIT_TIMEOUT, Working, dispatch};
use crate::HostSettings;

async fn deploy_hello_of(system: &System, tenant: &TenantName) {
    let digest = Digest::of(HELLO);
    let artifact = Bytes::from_static(HELLO);
    system.store.inner().put_artifact(tenant, digest, artifact).await.unwrap();
    let deploy = Change::Deploy {
        tenant: tenant.clone(),
        digest,
        manifest: Manifest::from_toml("name = 'hello'").unwrap(),
        hostnames: Arc::default(),
        at: Timestamp::now(),
    };
    system.define(deploy).await;
}

/// Publishes an event for a tenant's `hello`, and waits until it has succeeded.
async fn hello_of(system: &System, tenant: &TenantName) {
    let event = dispatch("hello", "greeting.requested", r#"{"name": "Ada"}"#);
    let dispatch = Dispatch { tenant: tenant.clone(), ..event };
    let id = dispatch.execution;
    system.publisher.publish(dispatch).await.unwrap();
    let ended = async {
        loop {
            let detail = system.store.inner().execution(tenant, id).await.unwrap();
            if let Some(detail) = detail.filter(|detail| detail.summary.state.is_terminal()) {
                return detail;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let detail = tokio::time::timeout(WAIT_TIMEOUT, ended).await.expect("it is run");
    assert_eq!(detail.summary.state, State::Succeeded, "{detail:?}");
}

/// How many of these run.
async fn running(system: &System, ids: &[ExecutionId]) -> usize {
    let mut running = 0;
    for id in ids {
        let detail = system.store.inner().execution(&TenantName::default(), *id).await.unwrap();
        running += usize::from(detail.is_some_and(|d| d.summary.state == State::Running));
    }
    running
}

/// Starts a host for four executions, of which the default tenant asks for eight.
async fn start_full(system: &System) -> (Working, Vec<ExecutionId>) {
    let settings = HostSettings {
        in_flight: 4,
        announce_after: Duration::from_millis(1),
        grace: Duration::from_millis(50),
        ..HostSettings::default()
    };
    let host = system.start_with(settings);
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(system.publish("slow", "hostile.slow", "{}").await);
    }
    (host, ids)
}

#[tokio::test]
async fn a_tenant_leaves_some_executions_to_others() {
    let system = System::new().await;
    // Sleeps for an hour.
    system.deploy(HOSTILE, "name = 'slow'\n[limits]\ntimeout = '10m'\nconcurrency = 16").await;
    let other: TenantName = "other".parse().unwrap();
    deploy_hello_of(&system, &other).await;
    let (host, ids) = start_full(&system).await;
    let share = async {
        while running(&system, &ids).await < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, share).await.expect("a tenant has three of four");
    hello_of(&system, &other).await;
    assert_eq!(running(&system, &ids).await, 3);
    host.stop().await;
}

#[tokio::test]
async fn the_only_tenant_has_all_executions() {
    let system = System::new().await;
    system.deploy(HOSTILE, "name = 'slow'\n[limits]\ntimeout = '10m'\nconcurrency = 16").await;
    let (host, ids) = start_full(&system).await;
    let all = async {
        while running(&system, &ids).await < 4 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, all).await.expect("it has all four");
    host.stop().await;
}
