//! Instances that serve several executions.

use std::sync::Arc;
use std::time::Duration;

use wasmill_domain::{Manifest, Outcome};

use super::guests::{component, counter};
use super::{dispatch, engine, event, function, invoke, manifest, prepare, until};
use crate::{Attempt, Capabilities, Engine, EngineSettings, Prepared};

const HOSTILE: &[u8] = include_bytes!("../../../functions/hostile/hostile.wasm");

const REUSE: &str = "[instances]\nreuse = 3";

struct ReuseFixture {
    engine: Arc<Engine>,
    prepared: Arc<Prepared>,
}

impl ReuseFixture {
    async fn new(engine: Arc<Engine>, trap_at: u32) -> Self {
        let prepared = prepare(&engine, &component(&counter(trap_at))).await;
        Self { engine, prepared }
    }

    async fn run(&self, manifest: &Arc<Manifest>, tenant: &str, name: &str) -> Attempt {
        let mut dispatch = dispatch(event("test.event", "{}"));
        dispatch.tenant = tenant.parse().unwrap();
        dispatch.function = function(name);
        invoke(&self.engine, &self.prepared, manifest, dispatch).await
    }

    /// The number of calls that the instance had, which the guest counts.
    async fn count(&self, manifest: &Arc<Manifest>, tenant: &str, name: &str) -> String {
        let output = self.run(manifest, tenant, name).await.report.output.unwrap();
        String::from_utf8(output.data.to_vec()).unwrap()
    }
}

#[tokio::test]
async fn a_fresh_instance_is_the_default() {
    let fixture = ReuseFixture::new(engine(), 0).await;
    for _ in 0..3 {
        assert_eq!(fixture.count(&manifest(""), "default", "test").await, "1");
    }
    assert_eq!(fixture.engine.warm_instances(), 0);
}

#[tokio::test]
async fn an_instance_serves_as_many_as_the_manifest_says() {
    let fixture = ReuseFixture::new(engine(), 0).await;
    let manifest = manifest(REUSE);
    let mut counts = Vec::new();
    for _ in 0..7 {
        counts.push(fixture.count(&manifest, "default", "test").await);
    }
    assert_eq!(counts.concat(), "1231231");
}

#[tokio::test]
async fn nobody_gets_what_was_somebody_elses() {
    let fixture = ReuseFixture::new(engine(), 0).await;
    let manifest = manifest(REUSE);
    assert_eq!(fixture.count(&manifest, "default", "test").await, "1");
    assert_eq!(fixture.count(&manifest, "other", "test").await, "1");
    assert_eq!(fixture.count(&manifest, "default", "test2").await, "1");
    let new_env = super::manifest("[instances]\nreuse = 3\n[env]\nA = 'b'");
    assert_eq!(fixture.count(&new_env, "default", "test").await, "1");
    // An equal manifest of a later revision is no change.
    let equal = Arc::new((*manifest).clone());
    assert_eq!(fixture.count(&equal, "default", "test").await, "2");
}

#[tokio::test]
async fn budgets_are_new_for_each_execution() {
    let fixture = ReuseFixture::new(engine(), 0).await;
    let manifest = manifest("[limits]\nfuel = 2000\n[instances]\nreuse = 100");
    let first = fixture.run(&manifest, "default", "test").await.report.fuel_used;
    let mut later = Vec::new();
    for _ in 0..60 {
        let attempt = fixture.run(&manifest, "default", "test").await;
        assert_eq!(attempt.report.outcome, Outcome::Success);
        later.push(attempt.report.fuel_used);
    }
    assert!(later.iter().all(|&used| used == later[0] && used <= first), "{first} {later:?}");
    assert!(60 * later[0] > 2000, "the test must need more than one budget");
}

#[tokio::test]
async fn an_instance_that_trapped_is_thrown_away() {
    let fixture = ReuseFixture::new(engine(), 2).await;
    let manifest = manifest(REUSE);
    assert_eq!(fixture.count(&manifest, "default", "test").await, "1");
    assert_eq!(fixture.run(&manifest, "default", "test").await.report.outcome, Outcome::Trap);
    assert_eq!(fixture.engine.warm_instances(), 0);
    assert_eq!(fixture.count(&manifest, "default", "test").await, "1");
}

#[tokio::test]
async fn warm_instances_are_bounded_and_make_room() {
    let settings =
        EngineSettings { threads: 1, slots: 4, warm_instances: 3, ..EngineSettings::default() };
    let fixture =
        ReuseFixture::new(Engine::new(settings, Capabilities::default()).unwrap(), 0).await;
    // Its tenant has all four slots: no other one is there.
    fixture.engine.set_shared(false);
    let manifest = manifest(REUSE);
    for name in ["a", "b", "c", "d"] {
        fixture.count(&manifest, "default", name).await;
    }
    assert_eq!(fixture.engine.warm_instances(), 3);
    // The oldest went.
    assert_eq!(fixture.count(&manifest, "default", "d").await, "2");
    assert_eq!(fixture.count(&manifest, "default", "a").await, "1");
    // Three slots are taken by warm ones; two at once need room.
    let fresh = super::manifest("");
    tokio::join!(fixture.count(&fresh, "default", "x"), fixture.count(&fresh, "default", "y"));
}

/// One that waits as it has its share already is not helped by room that another one gives up.
#[tokio::test]
async fn a_tenant_that_waits_for_its_own_leaves_others_their_warm_instances() {
    let settings =
        EngineSettings { threads: 2, slots: 16, memory: 64 << 30, ..EngineSettings::default() };
    let engine = Engine::new(settings, Capabilities::default()).unwrap();
    let slow = prepare(&engine, HOSTILE).await;
    // Its share of sixteen, and one that waits.
    for _ in 0..13 {
        let (engine, slow) = (Arc::clone(&engine), Arc::clone(&slow));
        let event = event("hostile.slow", r#"{"ms": 600000}"#);
        let manifest = manifest("[limits]\ntimeout = '10m'");
        let mut dispatch = dispatch(event);
        dispatch.tenant = "busy".parse().unwrap();
        tokio::spawn(async move { invoke(&engine, &slow, &manifest, dispatch).await });
    }
    until("one waits", || engine.waiting_instances() > 0).await;
    let fixture = ReuseFixture::new(Arc::clone(&engine), 0).await;
    let manifest = manifest(REUSE);
    assert_eq!(fixture.count(&manifest, "default", "test").await, "1");
    assert_eq!(fixture.count(&manifest, "default", "test").await, "2");
    // Its own is not kept.
    assert_eq!(fixture.count(&manifest, "default", "test").await, "3");
    assert_eq!(engine.warm_instances(), 0);
    assert_eq!(engine.waiting_instances(), 1);
}

#[tokio::test]
async fn warm_instances_are_dropped_after_a_while() {
    let settings = EngineSettings {
        warm_idle: Duration::from_millis(20),
        slots: 4,
        ..EngineSettings::default()
    };
    let fixture =
        ReuseFixture::new(Engine::new(settings, Capabilities::default()).unwrap(), 0).await;
    fixture.count(&manifest(REUSE), "default", "test").await;
    until("the instance is dropped", || fixture.engine.warm_instances() == 0).await;
}
