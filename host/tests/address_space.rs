//! An engine where address space is short, as under `ulimit -v` or in a small container: it has a
//! smaller pool or none, and functions run all the same. Each case is a process of its own, as the
//! limit holds for all of it.

#![expect(clippy::print_stdout, reason = "the report of a test without the usual harness")]

use std::process::{Command, ExitCode};
use std::sync::Arc;

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, setrlimit};
use wasmill_domain::{Digest, Dispatch, Event, Manifest, Outcome, TenantName, TraceContext};
use wasmill_host::{Capabilities, Engine, EngineSettings, Invocation};

const HELLO: &[u8] = include_bytes!("../../functions/hello/hello.wasm");

/// A limit in GiB, 0 for none; whether there is a pool; the least and the most slots.
const CASES: [(u64, bool, usize, usize); 3] =
    [(0, true, 320, 320), (200, true, 4, 32), (6, false, 320, 320)];

fn main() -> ExitCode {
    if let Some(case) =
        std::env::args().find_map(|argument| argument.strip_prefix("case-")?.parse::<usize>().ok())
    {
        run(CASES[case]);
        return ExitCode::SUCCESS;
    }
    let program = std::env::current_exe().expect("this program has a path");
    let failed: Vec<usize> = (0..CASES.len())
        .filter(|case| {
            !Command::new(&program)
                .arg(format!("case-{case}"))
                .status()
                .expect("it starts")
                .success()
        })
        .collect();
    for case in &failed {
        println!("failed: {:?}", CASES[*case]);
    }
    println!("{} of {} cases passed", CASES.len() - failed.len(), CASES.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run((gib, pooled, least, most): (u64, bool, usize, usize)) {
    if gib > 0 {
        let limit = Some(gib << 30);
        setrlimit(Resource::As, Rlimit { current: limit, maximum: limit })
            .expect("a limit can be lowered");
    }
    let engine = Engine::new(
        EngineSettings { threads: 1, ..EngineSettings::default() },
        Capabilities::default(),
    )
    .expect("an engine");
    assert_eq!(engine.is_pooled(), pooled);
    assert!((least..=most).contains(&engine.slots()), "{} slots", engine.slots());

    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let attempt = runtime.block_on(async {
        let fetch = async { Ok(Bytes::from_static(HELLO)) };
        let prepared = engine.prepare(Digest::of(HELLO), fetch).await.expect("hello compiles");
        let manifest = Arc::new(Manifest::from_toml("name = 'hello'").expect("a manifest"));
        let event = Event::new(
            "1",
            "/test",
            "greeting.requested".parse().expect("a type"),
            r#"{"name": "Ada"}"#,
        )
        .expect("an event");
        let dispatch = Dispatch::new(
            TenantName::default(),
            manifest.name.clone(),
            TraceContext::new_root(),
            Arc::new(event),
        );
        let runner = Arc::clone(&engine);
        let attempt = engine.spawn(async move {
            let invocation = Invocation {
                prepared: &prepared,
                manifest: &manifest,
                dispatch: &dispatch,
                host: "test",
                files: None,
            };
            runner.run(invocation).await
        });
        attempt.await.expect("the attempt does not panic")
    });
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report.message);
}
