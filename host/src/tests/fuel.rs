//! What fuel counts: the same numbers on every machine, and with the next wasmtime.

use wasmill_domain::Outcome;

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
