//! Compiling in a process of its own. This program is that process too, when it is started with a
//! word for how it should behave.

#![expect(clippy::print_stdout, reason = "the report of a test without the usual harness")]

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, getpriority_process, getrlimit, setrlimit};
use wasmill_component::{Preflight as _, PreflightError};
use wasmill_domain::{Digest, Manifest, TenantName};
use wasmill_host::{
    Capabilities, CompileSettings, Compiler, CompilerProgram, Engine, EngineSettings,
};

const HELLO: &[u8] = include_bytes!("../../functions/hello/hello.wasm");

/// A core module, which the process makes a component of.
const PROGRAM: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[1..] {
        [how, job] if how == "compile" => return wasmill_host::compile(job),
        [how, job] if how == "without-environment" => {
            return if std::env::var_os("PATH").is_none() {
                wasmill_host::compile(job)
            } else {
                ExitCode::FAILURE
            };
        }
        [how, job] if how == "narrow" => {
            let limit = Some(1 << 30);
            setrlimit(Resource::As, Rlimit { current: limit, maximum: limit })
                .expect("a limit can be lowered");
            return wasmill_host::compile(job);
        }
        [how, file, job] if how == "mark" => {
            std::fs::write(file, "started").expect("a file");
            return wasmill_host::compile(job);
        }
        [how, job] if how == "gives-way" => {
            let compiled = wasmill_host::compile(job);
            let score = std::fs::read_to_string("/proc/self/oom_score_adj").expect("a score");
            let niceness = getpriority_process(None).expect("a priority");
            return if (niceness, score.trim()) == (10, "1000") {
                compiled
            } else {
                ExitCode::FAILURE
            };
        }
        [how, file, _] if how == "hang" => return hang(Path::new(file)),
        [how, _] if how == "break" => std::process::abort(),
        [how, then @ ..] if how == "waiting" => return wait_for_input(then),
        [how, job] if how == "compute" => {
            // On more threads than it is to have.
            (0..2).for_each(|_| drop(std::thread::spawn(compute)));
            return wasmill_host::compile(&with_a_second_of_processor_time(job));
        }
        [how, file, job] if how == "write" => {
            let file = std::fs::File::create(file).expect("a file");
            std::thread::spawn(move || write(file));
            return wasmill_host::compile(job);
        }
        [how, job] if how == "dump" => {
            let most = getrlimit(Resource::Core).maximum;
            setrlimit(Resource::Core, Rlimit { current: most, maximum: most })
                .expect("a limit can be raised to the hard one");
            std::thread::spawn(abort_without_an_image);
            return wasmill_host::compile(job);
        }
        _ => {}
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        what_is_good_is_compiled_and_runs().await;
        nothing_of_the_environment_is_inherited().await;
        it_gives_way_to_everything_else().await;
        a_limit_that_is_tighter_already_stays().await;
        the_time_is_limited_and_the_process_gone().await;
        a_process_is_gone_with_who_waits_for_it().await;
        the_memory_is_limited().await;
        the_output_is_limited().await;
        the_processor_time_is_limited().await;
        it_writes_no_files().await;
        it_leaves_no_image_of_its_memory().await;
        a_broken_process_is_a_refusal().await;
        a_program_that_is_not_there_says_nothing_of_the_component().await;
        what_is_on_disk_needs_no_process().await;
        another_tenant_has_its_turn().await;
    });
    println!("all cases passed");
    ExitCode::SUCCESS
}

/// Says which process it is and waits for the end of its input, which comes with the end of the one
/// who started it.
fn hang(file: &Path) -> ExitCode {
    let partial = file.with_extension("partial");
    std::fs::write(&partial, std::process::id().to_string()).expect("a file");
    std::fs::rename(&partial, file).expect("a file");
    let mut input = std::io::stdin().lock();
    while input.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
    ExitCode::SUCCESS
}

/// Becomes this program with other arguments, whose input neither has anything nor ends: what
/// reads the artifact waits, when it has taken its limits.
fn wait_for_input(arguments: &[String]) -> ExitCode {
    let (read, write) = std::io::pipe().expect("a pipe");
    let mut program = Command::new("/proc/self/exe");
    // The other end is open as long as the process is there.
    let error = program.args(arguments).stdin(read).stderr(write).exec();
    panic!("{error}");
}

fn compute() {
    loop {
        std::hint::spin_loop();
    }
}

fn with_a_second_of_processor_time(job: &str) -> String {
    let mut job: serde_json::Value = serde_json::from_str(job).expect("JSON");
    assert!(job["processor_seconds"].is_u64());
    job["processor_seconds"] = 1.into();
    job.to_string()
}

/// Waits until a limit is nothing at all.
fn wait_for_none(of: Resource) {
    while getrlimit(of) != (Rlimit { current: Some(0), maximum: Some(0) }) {
        std::thread::yield_now();
    }
}

fn write(mut file: std::fs::File) {
    wait_for_none(Resource::Fsize);
    let _ = file.write_all(b"x");
    // It comes here where it may write, and where it is only told that it may not.
    std::process::exit(0);
}

fn abort_without_an_image() {
    wait_for_none(Resource::Core);
    std::process::abort();
}

fn this(arguments: &[&str]) -> Compiler {
    Compiler::Process(CompilerProgram::this(arguments))
}

fn engine(compile: CompileSettings, cache: Option<PathBuf>) -> Arc<Engine> {
    let settings = EngineSettings {
        threads: 1,
        slots: 4,
        cache_dir: cache,
        compile,
        ..EngineSettings::default()
    };
    Engine::new(settings, Capabilities::default()).expect("an engine")
}

fn compiling(arguments: &[&str]) -> CompileSettings {
    CompileSettings { compiler: this(arguments), at_once: 1, ..CompileSettings::default() }
}

async fn check(engine: &Engine, artifact: impl Into<Bytes>) -> Result<(), PreflightError> {
    check_for(engine, &TenantName::default(), artifact).await
}

async fn check_for(
    engine: &Engine,
    tenant: &TenantName,
    artifact: impl Into<Bytes>,
) -> Result<(), PreflightError> {
    let (artifact, manifest) =
        (artifact.into(), Manifest::from_toml("name = 'hello'").expect("a manifest"));
    engine.check(tenant, Digest::of(&artifact), &artifact, &manifest).await
}

async fn refused(engine: &Engine, artifact: impl Into<Bytes>) -> String {
    let refusal = check(engine, artifact).await.expect_err("it is refused");
    assert!(matches!(refusal, PreflightError::TooCostly(_)), "{refusal}");
    refusal.to_string()
}

/// Waits until there is something, for half a minute.
async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    for _ in 0..3_000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: it never came");
}

async fn process_in(file: &Path) -> PathBuf {
    let id =
        eventually("the process starts", || async { std::fs::read_to_string(file).ok() }).await;
    Path::new("/proc").join(id)
}

async fn what_is_good_is_compiled_and_runs() {
    let engine = engine(compiling(&["compile"]), None);
    check(&engine, HELLO).await.expect("hello passes");
    check(&engine, wat::parse_str(PROGRAM).expect("WAT")).await.expect("a program passes");
}

async fn nothing_of_the_environment_is_inherited() {
    assert!(std::env::var_os("PATH").is_some(), "there is something to inherit");
    check(&engine(compiling(&["without-environment"]), None), HELLO).await.expect("hello passes");
}

/// Where cores or memory are short, it is the process that waits, and the one that goes.
async fn it_gives_way_to_everything_else() {
    check(&engine(compiling(&["gives-way"]), None), HELLO).await.expect("nice 10, and first to go");
}

async fn a_limit_that_is_tighter_already_stays() {
    check(&engine(compiling(&["narrow"]), None), HELLO).await.expect("hello passes");
}

async fn the_time_is_limited_and_the_process_gone() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("process");
    let compile = compiling(&["hang", file.to_str().expect("a path")]);
    let engine = engine(CompileSettings { timeout: Duration::from_secs(3), ..compile }, None);
    let (said, process) = tokio::join!(refused(&engine, HELLO), process_in(&file));
    assert!(said.contains("compiling took longer than 3s (engine.compile_timeout)"), "{said}");
    assert!(!process.exists(), "{process:?} is still there");
    // It is remembered, and nothing is started again.
    std::fs::remove_file(&file).expect("it was there");
    let said = refused(&engine, HELLO).await;
    assert!(said.contains("took longer than 3s") && said.contains("not tried again for"), "{said}");
    assert!(!file.exists());
}

async fn a_process_is_gone_with_who_waits_for_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("process");
    let engine = engine(compiling(&["hang", file.to_str().expect("a path")]), None);
    let of_task = Arc::clone(&engine);
    let task = tokio::spawn(async move { check(&of_task, HELLO).await });
    let process = process_in(&file).await;
    assert!(process.exists());
    task.abort();
    assert!(task.await.is_err());
    eventually("the process is gone", || async { (!process.exists()).then_some(()) }).await;
    // Its turn is over as well: the next process starts.
    std::fs::remove_file(&file).expect("it was there");
    let of_task = Arc::clone(&engine);
    let task = tokio::spawn(async move { check(&of_task, HELLO).await });
    process_in(&file).await;
    task.abort();
}

async fn the_memory_is_limited() {
    let engine = engine(CompileSettings { memory: 128 << 20, ..compiling(&["compile"]) }, None);
    // 256 MiB of nothing are more than the process may hold, whatever it would make of them.
    let zeros = Bytes::from(vec![0; 256 << 20]);
    let digest = Digest::of(&zeros);
    let refusal =
        engine.prepare(digest, async { Ok(zeros) }).await.err().expect("it is refused").to_string();
    assert!(
        refusal.contains("compiling needs more than 128MiB of memory (engine.compile_memory)"),
        "{refusal}"
    );
}

async fn the_output_is_limited() {
    let said =
        refused(&engine(CompileSettings { output: 1024, ..compiling(&["compile"]) }, None), HELLO)
            .await;
    assert!(said.contains("its machine code is larger than 1KiB"), "{said}");
}

/// Refused by a process that ends so; then another component has the permit, and its own process.
async fn refused_and_on(arguments: &[&str]) -> String {
    let engine = engine(compiling(arguments), None);
    let said = refused(&engine, HELLO).await;
    let other = Bytes::from([HELLO, &[0, 3, 1, b'x', 0]].concat());
    assert_eq!(refused(&engine, other).await, said);
    said
}

async fn the_processor_time_is_limited() {
    let said = refused_and_on(&["waiting", "compute"]).await;
    assert!(
        said.contains("compiling took more processor time than")
            && said.contains("engine.compile_timeout"),
        "{said}"
    );
}

async fn it_writes_no_files() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    let said = refused_and_on(&["waiting", "write", file.to_str().expect("a path")]).await;
    assert!(said.contains("its compilation wrote a file"), "{said}");
    assert_eq!(std::fs::read(&file).expect("it was made before"), b"");
}

async fn it_leaves_no_image_of_its_memory() {
    let said = refused_and_on(&["waiting", "dump"]).await;
    assert!(said.contains("(signal: 6") && !said.contains("core dumped"), "{said}");
}

async fn a_broken_process_is_a_refusal() {
    let said = refused(&engine(compiling(&["break"]), None), HELLO).await;
    assert!(said.contains("the compiler broke down over it (signal: 6"), "{said}");
}

async fn a_program_that_is_not_there_says_nothing_of_the_component() {
    let program = CompilerProgram { path: "/nowhere/at/all".into(), arguments: Vec::new() };
    let compile =
        CompileSettings { compiler: Compiler::Process(program), ..CompileSettings::default() };
    let refusal = check(&engine(compile, None), HELLO).await.expect_err("nothing can be started");
    assert!(refusal.is_transient(), "{refusal}");
}

async fn what_is_on_disk_needs_no_process() {
    let dir = tempfile::tempdir().expect("a folder");
    let mark = dir.path().join("mark");
    for starts in [true, false] {
        let engine = engine(
            compiling(&["mark", mark.to_str().expect("a path")]),
            Some(dir.path().join("compiled")),
        );
        check(&engine, HELLO).await.expect("hello passes");
        assert_eq!(std::fs::remove_file(&mark).is_ok(), starts);
    }
}

/// A tenant whose compilations do not end has several waiting; another's is the next one all the
/// same.
async fn another_tenant_has_its_turn() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("process");
    let engine = engine(compiling(&["hang", file.to_str().expect("a path")]), None);
    let start = |tenant: &str, artifact: Bytes| {
        let (engine, tenant) = (Arc::clone(&engine), tenant.parse::<TenantName>().expect("a name"));
        tokio::spawn(async move { check_for(&engine, &tenant, artifact).await })
    };
    // Each differs from the others by a custom section, which nothing reads.
    let artifact = |i: u8| Bytes::from([HELLO, &[0, 3, 1, b'x', i]].concat());
    let first = start("busy", artifact(0));
    process_in(&file).await;
    // One after the other, so that it is known who is the next.
    let waiting = async |number: usize| {
        eventually("it waits", || async {
            (engine.waiting_compilations() == number).then_some(())
        })
        .await;
    };
    let mut more = Vec::new();
    for i in 1..8 {
        more.push(start("busy", artifact(i)));
        waiting(usize::from(i)).await;
    }
    let other = start("other", artifact(8));
    waiting(8).await;
    // One turn goes to the tenant that came first, and the one after it to the other.
    std::fs::remove_file(&file).expect("it was there");
    first.abort();
    process_in(&file).await;
    assert_eq!(engine.waiting_compilations(), 7);
    assert!(!other.is_finished());
    let (second, rest) = more.split_first().expect("there are seven");
    std::fs::remove_file(&file).expect("it was there");
    second.abort();
    let process = process_in(&file).await;
    assert_eq!(engine.waiting_compilations(), 6);
    // It is the other's: it ends with it.
    other.abort();
    eventually("the process is gone", || async { (!process.exists()).then_some(()) }).await;
    rest.iter().for_each(tokio::task::JoinHandle::abort);
}
