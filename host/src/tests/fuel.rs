//! What fuel counts: the same numbers on every machine, and with the next wasmtime.

use wasmill_domain::Outcome;

use super::guests::{MODULE, types};
use super::{attempt, dispatch, engine, event, invoke, manifest, prepare};

/// A component, an event's type and data, and the fuel that the attempt takes.
type Recorded = (&'static str, &'static [u8], (&'static str, &'static str), u64);

/// Where a number differs, another wasmtime (or a change of the host) counts otherwise: users'
/// `limits.fuel` may be too small then, so the change log must say it.
const RECORDED: [Recorded; 2] = [
    (
        "hello",
        include_bytes!("../../../functions/hello/hello.wasm"),
        ("greeting.requested", r#"{"name":"Ada"}"#),
        17_158,
    ),
    (
        "order-total",
        include_bytes!("../../../functions/order-total/order-total.wasm"),
        (
            "order.created",
            r#"{"customer":"Ada","currency":"EUR","items":[{"sku":"TEA","qty":2,"price_cents":450}]}"#,
        ),
        39_774,
    ),
];

#[tokio::test]
async fn what_functions_take_is_as_recorded() {
    let engine = engine();
    let mut taken = Vec::new();
    for (name, component, (event_type, data), _) in RECORDED {
        let prepared = prepare(&engine, component).await;
        let ended =
            invoke(&engine, &prepared, &manifest(""), dispatch(event(event_type, data))).await;
        assert_eq!(ended.report.outcome, Outcome::Success, "{name}: {:?}", ended.report.message);
        taken.push((name, ended.report.fuel_used));
    }
    assert_eq!(taken, RECORDED.map(|(name, _, _, fuel)| (name, fuel)));
}

#[tokio::test]
async fn a_call_of_the_host_takes_what_is_said() {
    let guest = |calls: usize| {
        let log =
            "(call $log (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";
        format!(
            "(func $handle (param i32) (result i32) {} (call $ok (i32.const 0) (i32.const 0)))",
            log.repeat(calls)
        )
    };
    let mut taken = Vec::new();
    for calls in 1..=3 {
        let ended = attempt(&guest(calls), "").await.report;
        assert_eq!(ended.outcome, Outcome::Success, "{:?}", ended.message);
        taken.push(ended.fuel_used);
    }
    let [one, two, three] = taken[..] else { unreachable!("three attempts") };
    assert_eq!(three - two, two - one);
    // The call's own instructions are a few.
    assert!((1_000..1_050).contains(&(two - one)), "{taken:?}");

    let ended = attempt(&guest(1), "[limits]\nfuel = 1_000").await.report;
    assert_eq!((ended.outcome, ended.fuel_used), (Outcome::OutOfFuel, 1_000));
}

/// What wasmtime has of its own for the guest, such as a memory that grows, is no call of the host.
/// (It is called where the guest's count is known to the guest alone.)
#[tokio::test]
async fn a_memory_that_grows_takes_no_more_than_its_instructions() {
    let guest = |instruction: &str, spins: u32| {
        format!(
            "(func $size (result i32) {instruction})
            (func $spin (param $left i32)
              (loop $on
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $on (local.get $left))))
            (func $handle (param i32) (result i32) (local $left i32)
              (call $spin (i32.const {spins}))
              (local.set $left (i32.const 200))
              (loop $on
                (drop (call $size))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $on (local.get $left)))
              (call $spin (i32.const {spins}))
              (call $ok (i32.const 0) (i32.const 0)))"
        )
    };
    // Fewer and more instructions than there are from one note of the guest's to the next.
    for spins in [10, 700_000, 1_500_000] {
        let mut taken = Vec::new();
        for instruction in [
            "(memory.size) (i32.const 0) (i32.add)",
            "(memory.grow (i32.const 0)) (i32.const 0) (i32.add)",
        ] {
            let ended = attempt(&guest(instruction, spins), "").await.report;
            assert_eq!(ended.outcome, Outcome::Success, "{:?}", ended.message);
            taken.push(ended.fuel_used);
        }
        // The constant that says by how much.
        assert_eq!(taken[1] - taken[0], 200, "{spins}: {taken:?}");
    }
}

/// Copying and filling take a unit a byte, whatever else they take.
#[tokio::test]
async fn bulk_memory_takes_a_unit_a_byte() {
    for instruction in ["memory.copy (i32.const 65536)", "memory.fill (i32.const 65536)"] {
        let mut taken = Vec::new();
        for bytes in [0, 1, 1_000, 60_000] {
            let guest = format!(
                "(func $handle (param i32) (result i32)
                  ({instruction} (i32.const 0) (i32.const {bytes}))
                  (call $ok (i32.const 0) (i32.const 0)))"
            );
            let ended = attempt(&guest, "").await.report;
            assert_eq!(ended.outcome, Outcome::Success, "{:?}", ended.message);
            taken.push(ended.fuel_used);
        }
        let more: Vec<u64> = taken.iter().map(|fuel| fuel - taken[0]).collect();
        assert_eq!(more, [0, 1, 1_000, 60_000], "{instruction}");
    }
    let guest = "(func $handle (param i32) (result i32)
          (memory.fill (i32.const 65536) (i32.const 0) (i32.const 60000))
          (call $ok (i32.const 0) (i32.const 0)))";
    let ended = attempt(guest, "[limits]\nfuel = 50_000").await.report;
    assert_eq!((ended.outcome, ended.fuel_used), (Outcome::OutOfFuel, 50_000));
}

/// Interfaces of the host, each with one of its functions: as `$called`, to be lowered.
const INTERFACES: [(&str, &str, &str); 6] = [
    (
        "wasi:clocks",
        r#"(import "wasi:clocks/monotonic-clock@0.2.0" (instance $i (export "now" (func (result u64)))))
        (alias export $i "now" (func $called))"#,
        "(drop (call $called))",
    ),
    (
        "wasi:random",
        r#"(import "wasi:random/random@0.2.0" (instance $i (export "get-random-u64" (func (result u64)))))
        (alias export $i "get-random-u64" (func $called))"#,
        "(drop (call $called))",
    ),
    (
        "wasi:cli",
        r#"(import "wasi:cli/environment@0.2.0" (instance $i (export "get-arguments" (func (result (list string))))))
        (alias export $i "get-arguments" (func $called))"#,
        "(call $called (i32.const 512))",
    ),
    (
        "wasi:http",
        r#"(import "wasi:http/types@0.2.0" (instance $i
          (export "fields" (type $fields (sub resource)))
          (export "[constructor]fields" (func (result (own $fields))))))
        (alias export $i "[constructor]fields" (func $called))"#,
        "(drop (call $called))",
    ),
    (
        "wasi:config",
        r#"(import "wasi:config/store@0.2.0-rc.1" (instance $i
          (type $error (variant (case "upstream" string) (case "io" string)))
          (export "error" (type $error' (eq $error)))
          (export "get" (func (param "key" string) (result (result (option string) (error $error')))))))
        (alias export $i "get" (func $called))"#,
        "(call $called (i32.const 1024) (i32.const 1) (i32.const 512))",
    ),
    (
        "secrets",
        r#"(import "wasmill:function/secrets@0.1.0" (instance $i
          (export "secret" (type $secret (sub resource)))
          (type $error (enum "unknown" "no-execution"))
          (export "error" (type $error' (eq $error)))
          (export "get" (func (param "name" string) (result (result (own $secret) (error $error')))))))
        (alias export $i "get" (func $called))"#,
        "(call $called (i32.const 1024) (i32.const 1) (i32.const 512))",
    ),
];

/// A function that calls one of the host's so often.
fn calling(import: &str, call: &str, times: usize) -> Vec<u8> {
    let types = types("0.1.0");
    let core = match call {
        _ if call.starts_with("(drop") && import.contains("u64") => "(result i64)",
        _ if call.starts_with("(drop") => "(result i32)",
        _ if call.contains("1024") => "(param i32 i32 i32)",
        _ => "(param i32)",
    };
    let calls = call.repeat(times);
    let text = format!(
        r#"(component
  {types}
  {import}
  (core module $memory {MODULE} (export "ok" (func $ok)))
  (core module $main
    (import "memory" "memory" (memory 2))
    (import "memory" "ok" (func $ok (param i32 i32) (result i32)))
    (import "host" "called" (func $called {core}))
    (data (i32.const 1024) "n")
    (func $handle (param i32) (result i32) {calls} (call $ok (i32.const 0) (i32.const 0)))
    (export "handle" (func $handle)))
  (core instance $memory (instantiate $memory))
  (core func $called (canon lower (func $called)
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core instance $main (instantiate $main (with "memory" (instance $memory)) (with "host" (instance
    (export "called" (func $called))))))
  (alias export $types "event" (type $event))
  (alias export $types "output" (type $output))
  (alias export $types "failure" (type $failure))
  (func $handle (param "event" $event) (result (result $output (error $failure)))
    (canon lift (core func $main "handle") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $handler (export "handle" (func $handle)))
  (export "wasmill:function/handler@0.1.0" (instance $handler))
)"#
    );
    wat::parse_str(text).unwrap()
}

/// Every interface of the host takes the same, whatever its function does.
#[tokio::test]
async fn a_call_of_any_interface_takes_what_is_said() {
    let engine = engine();
    for (interface, import, call) in INTERFACES {
        let mut taken = Vec::new();
        for calls in 1..=3 {
            let prepared = prepare(&engine, &calling(import, call, calls)).await;
            let event = event("test.event", "{}");
            let ended = invoke(&engine, &prepared, &manifest(""), dispatch(event)).await.report;
            assert_eq!(ended.outcome, Outcome::Success, "{interface}: {:?}", ended.message);
            taken.push(ended.fuel_used);
        }
        one_call_takes(interface, &taken);
    }
}

/// What attempts with one, two and three calls took differs by a call of the host and a few
/// instructions.
pub(super) fn one_call_takes(interface: &str, taken: &[u64]) {
    let [one, two, three] = *taken else { unreachable!("three attempts") };
    // Room for what the host answers is made by the guest.
    assert!((1_000..1_060).contains(&(two - one)), "{interface}: {taken:?}");
    assert!((three - two).abs_diff(two - one) < 20, "{interface}: {taken:?}");
}
