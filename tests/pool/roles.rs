//! What one process of a pool does, the others see.

use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use wasmill_broker::{BrokerError, Queues as _};

use crate::support::api::{Api, execution_ids};
use crate::support::backends::{SharedBackends, queue_of};
use crate::support::pool::Process;
use crate::support::{eventually, wasmill};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_through_every_role() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    // All at once.
    let (one, other) =
        (Process::start("gateway", backends, &[]), Process::start("gateway", backends, &[]));
    let hosts = [Process::start("host", backends, &[]), Process::start("host", backends, &[])];
    let scheduler = Process::start("scheduler", backends, &[]);
    for process in [&one, &other, &hosts[0], &hosts[1], &scheduler] {
        process.ready().await;
    }
    one.deploy(&["hello", "order-total", "order-audit", "flaky"]).await;
    let (here, there) = (one.api(), other.api());
    let ids = eventually("the other gateway knows the function", async || {
        let response = there.post_plain("greeting.requested", &json!({"name": "Ada"})).await;
        (response.status() == StatusCode::ACCEPTED).then_some(response)
    })
    .await;
    let document = ids.json().await.unwrap();
    let id = &execution_ids(&document)[0];
    assert_eq!(here.ended(id).await["state"], "succeeded");

    // Emitted events, a retry by the scheduler, and a synchronous call across the broker.
    let order = json!({"customer": "c", "currency": "EUR", "items": [{"sku": "SKU-1", "qty": 1, "price_cents": 1}]});
    let totals = there.accepted("order.created", &order).await;
    for id in &totals {
        assert_eq!(here.ended(id).await["state"], "succeeded");
    }
    let retried = there.run("payment.requested", &json!({"succeed_at": 2, "delay_ms": 10})).await;
    assert_eq!((&retried["state"], &retried["attempt"]), (&json!("succeeded"), &json!(2)));
    let request =
        there.request("POST", "/v1/functions/hello/invoke").json(&json!({"name": "Grace"}));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.text().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_function_s_queue_goes_when_it_is_empty() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let gateway = Process::start("gateway", backends, &[]);
    gateway.ready().await;
    gateway.deploy(&["hello"]).await;
    let api = gateway.api();
    // Nobody runs it: it waits in the queue when the function goes.
    let waiting = api.accepted("greeting.requested", &json!({"name": "Ada"})).await;
    let deleted = api.request("DELETE", "/v1/functions/hello").send().await.unwrap();
    assert!(deleted.status().is_success(), "{}", deleted.status());
    let host = Process::start("host", backends, &[("HOST_CLEANUP_AFTER", "1s")]);
    host.ready().await;
    assert_eq!(api.ended(&waiting[0]).await["state"], "cancelled");
    let broker = backends.broker_client();
    eventually("the queue is deleted", async || {
        matches!(broker.depth(&queue_of("hello")).await, Err(BrokerError::NoQueue(_))).then_some(())
    })
    .await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_runs_on_the_hosts_that_it_asks_for() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let gateway = Process::start("gateway", backends, &[]);
    let plain = Process::start("host", backends, &[("HOST_NAME", "plain")]);
    let labelled = Process::start(
        "host",
        backends,
        &[("HOST_NAME", "labelled"), ("HOST_LABELS", "['large']")],
    );
    for process in [&gateway, &plain, &labelled] {
        process.ready().await;
    }
    let manifest = "name = 'hello'\nruns_on = ['large']\n[[trigger]]\nevent = 'greeting.*'\n";
    gateway.deploy_as("hello", manifest).await;
    for _ in 0..20 {
        let execution = gateway.api().run("greeting.requested", &json!({"name": "Ada"})).await;
        assert_eq!(execution["attempts"][0]["host"], "labelled", "{execution}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_key_is_made_once_and_opens_a_gateway_that_all_can_reach() {
    let shared = SharedBackends::without_schema().await;
    let backends = shared.backends();
    let migrate = || {
        let mut command = wasmill();
        command.args(["migrate", "--first-key"]).env("WASMILL_DATABASE_URL", &backends.database);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    // Several at once: one of them makes the tables, and one the key.
    let printed: Vec<String> = std::thread::scope(|scope| {
        let migrations: Vec<_> = (0..8).map(|_| scope.spawn(migrate)).collect();
        migrations.into_iter().map(|migration| migration.join().unwrap()).collect()
    });
    let keys: Vec<&str> = printed
        .iter()
        .flat_map(|text| text.split_whitespace())
        .filter(|word| word.starts_with("wm_"))
        .collect();
    let [key] = keys[..] else { panic!("one key is made: {printed:#?}") };
    assert_eq!(
        printed.iter().filter(|text| text.contains("there are API keys already")).count(),
        7,
        "{printed:#?}"
    );
    assert!(!migrate().contains("wm_"));
    let gateway = Process::start("gateway", backends, &[("GATEWAY_LISTEN", "0.0.0.0:0")]);
    let address = eventually("the gateway says where it is", async || {
        let log = gateway.logged();
        let address = log
            .lines()
            .find(|line| line.contains("the gateway serves"))?
            .split("0.0.0.0:")
            .nth(1)?
            .to_owned();
        Some(address.trim().to_owned())
    })
    .await;
    let api = Api::new(&format!("http://127.0.0.1:{address}"));
    assert_eq!(
        api.post_plain("greeting.requested", &json!({})).await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert!(
        api.with_key(key, "default").get("/v1/functions").await["functions"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_answers_as_json() {
    let shared = SharedBackends::new().await;
    let migrate = |arguments: &[&str]| -> Value {
        let mut command = wasmill();
        command
            .args(["--json", "migrate"])
            .args(arguments)
            .env("WASMILL_DATABASE_URL", &shared.backends().database);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let nothing = json!({"up_to_date": true, "first_key": null});
    assert_eq!(migrate(&[]), nothing);
    let made = migrate(&["--first-key"]);
    assert!(made["first_key"].as_str().is_some_and(|key| key.starts_with("wm_")), "{made}");
    assert_eq!(migrate(&["--first-key"]), nothing);
}

/// `wasmill migrate` is a step of its own: the roles say so and end.
#[tokio::test(flavor = "multi_thread")]
async fn roles_refuse_a_database_that_is_too_old() {
    let shared = SharedBackends::without_schema().await;
    for role in ["gateway", "host", "scheduler"] {
        let mut process = Process::start(role, shared.backends(), &[]);
        assert_eq!(process.exit_code().await, Some(1), "{role}");
        assert!(process.logged().contains("run `wasmill migrate`"), "{role}: {}", process.logged());
    }
    shared.backends().migrate();
    Process::start("scheduler", shared.backends(), &[]).ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_listed_while_they_live() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let gateway = Process::start("gateway", backends, &[("NODES_TIMEOUT", "3s")]);
    let labelled =
        [("HOST_NAME", "large-1"), ("HOST_LABELS", "['large', 'eu']"), ("NODES_TIMEOUT", "3s")];
    let mut host = Process::start("host", backends, &labelled);
    let scheduler = Process::start("scheduler", backends, &[("NODES_TIMEOUT", "3s")]);
    for process in [&gateway, &host, &scheduler] {
        process.ready().await;
    }
    let api = gateway.api();
    let roles = async || -> Vec<String> {
        let listed = api.get("/v1/nodes").await;
        listed["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["role"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(roles().await, ["gateway", "host", "scheduler"]);
    let node = api.get("/v1/nodes").await["nodes"][1].clone();
    assert_eq!(
        (&node["name"], &node["labels"]),
        (&json!("large-1"), &json!(["eu", "large"])),
        "{node}"
    );
    assert!(
        node["release"].is_string()
            && node["reads"]["batch"].is_number()
            && node["schema_version"].is_number()
    );
    let table = wasmill().args(["--url", &gateway.url, "nodes"]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.starts_with("ROLE") && table.contains("large-1") && table.contains("eu,large"),
        "{table}"
    );
    // One that crashes is listed until its heartbeat is old; one that is told to end takes itself
    // off.
    host.kill_9();
    eventually("the host is off the list", async || {
        (roles().await == ["gateway", "scheduler"]).then_some(())
    })
    .await;
    host.restart();
    eventually("the host is back", async || (roles().await.len() == 3).then_some(())).await;
    host.signal(Signal::TERM);
    assert_eq!(host.exit_code().await, Some(0));
    assert_eq!(roles().await, ["gateway", "scheduler"]);
}

#[test]
fn a_configuration_that_is_no_good_is_named() {
    let fails = |arguments: &[&str], variables: &[(&str, &str)], expected: &str| {
        let mut command = wasmill();
        command
            .env_remove("DATABASE_URL")
            .env_remove("AMQP_URL")
            .args(arguments)
            .envs(variables.iter().copied());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    };
    fails(&["host"], &[("DATABASE_URL", "postgres://x")], "broker.url is missing");
    fails(&["gateway"], &[("AMQP_URL", "amqp://localhost")], "database.url is missing");
    fails(&["migrate"], &[], "database.url is missing");
    fails(&["scheduler"], &[("WASMILL_SCHEDULER_LEASE", "soon")], "WASMILL_SCHEDULER_LEASE");
    fails(&["host", "--config", "no/such.toml"], &[], "no/such.toml");
}
