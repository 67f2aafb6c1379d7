//! README's first command does what it says.

use serde_json::Value;

use super::support::{root, wasmill};

#[test]
fn the_demo_shows_real_results() {
    let output =
        wasmill().current_dir(root()).args(["--json", "demo"]).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let executions = document["executions"].as_array().expect("a list");
    let of = |function: &str| {
        let of_it = |e: &&Value| {
            e["execution"]["function"] == function && e["execution"]["state"] == "succeeded"
        };
        executions.iter().find(of_it).unwrap_or_else(|| panic!("{function} succeeded"))
    };
    for function in ["hello", "csv-summary", "thumbnail", "order-total", "order-audit"] {
        let execution = &of(function)["execution"];
        let attempt = &execution["attempts"][0];
        assert!(attempt["fuel_used"].as_u64().expect("fuel") > 1000, "{attempt}");
        assert!(attempt["peak_memory_bytes"].as_u64().expect("memory") >= 65_536, "{attempt}");
        assert!(attempt["run_time_ms"].as_f64().expect("time") > 0.0, "{attempt}");
    }
    let hello = of("hello");
    assert!(
        hello["execution"]["result"]["data"]["greeting"]
            .as_str()
            .is_some_and(|text| text.contains("Hello"))
    );
    assert!(!hello["logs"].as_array().expect("a list").is_empty());
    let refused = document["refused"].as_array().expect("a list");
    assert!(
        refused
            .iter()
            .any(|r| r["problem"].as_str().is_some_and(|text| text.contains("at '/data"))),
        "{refused:#?}"
    );
}

#[test]
fn the_demo_prints_for_people() {
    let output = wasmill().current_dir(root()).arg("demo").output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    for wanted in [
        "hello version 1 is live",
        "202, 1 execution(s)",
        "400 ",
        "fuel",
        "MiB",
        "succeeded",
        "log ",
    ] {
        assert!(text.contains(wanted), "'{wanted}' is missing in\n{text}");
    }
}
