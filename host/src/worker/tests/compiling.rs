//! A version that takes too much to compile.

use std::time::Duration;

use bytes::Bytes;
use wasmill_domain::{Digest, Outcome, State};

use super::{HELLO, System, WAIT_TIMEOUT, only_attempt};
use crate::{Capabilities, CompileSettings, Compiler, CompilerProgram, Engine, EngineSettings};

const ADA: &str = r#"{"name": "Ada"}"#;

#[tokio::test]
async fn it_breaks_its_function_alone_and_is_tried_again() {
    let mut system = System::new().await;
    let cache = tempfile::tempdir().unwrap();
    // A compiler that ends without an answer.
    let compiler =
        Compiler::Process(CompilerProgram { path: "/bin/false".into(), arguments: Vec::new() });
    let pause = Duration::from_millis(20);
    let compile =
        CompileSettings { compiler, pause, longest_pause: pause, ..CompileSettings::default() };
    let cache_dir = Some(cache.path().join("compiled"));
    let settings =
        EngineSettings { slots: 32, threads: 2, cache_dir, compile, ..EngineSettings::default() };
    system.engine = Engine::new(settings.clone(), Capabilities::default()).unwrap();
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start();
    let failed = system.ended(system.publish("hello", "greeting.requested", ADA).await).await;
    assert_eq!(failed.summary.state, State::Failed);
    let report = only_attempt(&failed);
    let message = report.message.as_deref().unwrap();
    assert_eq!(report.outcome, Outcome::Trap, "{message}");
    assert!(
        message.contains("version 1 cannot be run: the component takes too much to compile"),
        "{message}"
    );
    assert!(message.contains("the compiler broke down over it"), "{message}");

    // Another process on the machine has had more luck with it: at its next try the host finds what
    // that has made.
    let other = EngineSettings { compile: CompileSettings::default(), ..settings };
    let other = Engine::new(other, Capabilities::default()).unwrap();
    other.prepare(Digest::of(HELLO), async { Ok(Bytes::from_static(HELLO)) }).await.unwrap();
    let succeeded = async {
        loop {
            let id = system.publish("hello", "greeting.requested", ADA).await;
            if system.ended(id).await.summary.state == State::Succeeded {
                return;
            }
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, succeeded).await.expect("it is tried again");
    host.stop().await;
}
