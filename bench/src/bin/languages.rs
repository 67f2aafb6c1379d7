//! What a function costs in each language: the table of docs/languages.md.
//!
//!     cargo test -p wasmill --test e2e languages        # writes and builds the projects, in target/languages
//!     cargo run --release -p wasmill-bench --bin languages
//!
//! Prints Markdown rows: the size of what the compiler made; cold, which is compiling it and the
//! first event; warm, which is an event in a fresh instance; and an event in an instance that
//! served others. Medians.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use wasmill_domain::{
    Digest, Dispatch, Event, Manifest, Outcome, TenantName, Timestamp, TraceContext,
};
use wasmill_host::{Capabilities, Engine, EngineSettings, Invocation, Prepared};

/// How often each is measured: cold, which is slow, and the rest.
const COLD_ROUNDS: usize = 5;
const WARM_ROUNDS: usize = 500;

/// A built project.
struct Project {
    name: String,
    manifest: Manifest,
    component: Bytes,
    event: Arc<Event>,
}

impl Project {
    fn read(folder: &Path) -> Result<Self> {
        let about = || folder.display().to_string();
        let manifest = std::fs::read_to_string(folder.join("wasmill.toml")).with_context(about)?;
        let manifest = Manifest::from_toml(&manifest).with_context(about)?;
        let component = manifest.component.as_deref().with_context(about)?;
        let component = std::fs::read(folder.join(component)).with_context(about)?.into();
        let events = std::fs::read_dir(folder.join("events")).with_context(about)?;
        let mut files: Vec<PathBuf> = events.filter_map(|entry| Some(entry.ok()?.path())).collect();
        // The one that succeeds.
        files.retain(|file| ["ada.json", "text.json"].iter().any(|name| file.ends_with(name)));
        let event = std::fs::read(files.first().with_context(about)?)?;
        let event = Event::from_json(&event)
            .map_err(|invalid| anyhow::anyhow!("{}: {}", about(), invalid.message))?;
        Ok(Self { name: manifest.name.to_string(), manifest, component, event: Arc::new(event) })
    }

    /// Runs its event once, and tells how long that took.
    async fn run(
        &self,
        engine: &Arc<Engine>,
        prepared: &Arc<Prepared>,
        manifest: &Arc<Manifest>,
    ) -> Result<Duration> {
        let now = Timestamp::now();
        let dispatch = Dispatch::new(
            TenantName::default(),
            self.manifest.name.clone(),
            TraceContext::new_root(),
            Arc::clone(&self.event),
        )
        .with_accepted_at(now);
        let (runner, prepared, manifest) =
            (Arc::clone(engine), Arc::clone(prepared), Arc::clone(manifest));
        let attempt = engine.spawn(async move {
            let start = Instant::now();
            let invocation = Invocation {
                prepared: &prepared,
                manifest: &manifest,
                dispatch: &dispatch,
                host: "bench",
                files: None,
            };
            (runner.run(invocation).await, start.elapsed())
        });
        let (attempt, took) = attempt.await?;
        ensure!(attempt.report.outcome == Outcome::Success, "{}: {:?}", self.name, attempt.report);
        Ok(took)
    }

    /// Cold, warm, and reused where an instance can be.
    async fn measure(&self) -> Result<(Duration, Duration, Option<Duration>)> {
        let fresh = Arc::new(Manifest {
            instances: wasmill_domain::manifest::Instances { reuse: 1 },
            ..self.manifest.clone()
        });
        let mut cold = Vec::new();
        let mut last = None;
        for _ in 0..COLD_ROUNDS {
            // Nothing is kept from one engine to the next.
            let engine = Engine::new(EngineSettings::default(), Capabilities::default())?;
            let start = Instant::now();
            let component = self.component.clone();
            let prepared =
                engine.prepare(Digest::of(&self.component), async { Ok(component) }).await?;
            self.run(&engine, &prepared, &fresh).await?;
            cold.push(start.elapsed());
            last = Some((engine, prepared));
        }
        let (engine, prepared) = last.context("at least one round")?;
        let mut warm = Vec::new();
        for _ in 0..WARM_ROUNDS {
            warm.push(self.run(&engine, &prepared, &fresh).await?);
        }
        let reusing = wasmill_domain::manifest::Instances { reuse: 1_000_000 };
        let reusing = Arc::new(Manifest { instances: reusing, ..self.manifest.clone() });
        let mut reused = Vec::new();
        for _ in 0..WARM_ROUNDS {
            // Some runtimes refuse a second request in an instance.
            let Ok(took) = self.run(&engine, &prepared, &reusing).await else { break };
            reused.push(took);
        }
        let reused = (reused.len() == WARM_ROUNDS).then(|| median(reused));
        Ok((median(cold), median(warm), reused))
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn shown(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    match ms {
        0.0..1.0 => format!("{:.0} µs", ms * 1000.0),
        1.0..100.0 => format!("{ms:.1} ms"),
        100.0..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1000.0),
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1000.0),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
#[tokio::main]
async fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the project's folder")?;
    let folder = root.join("target/languages/projects");
    let entries = std::fs::read_dir(&folder).with_context(|| {
        format!(
            "'{}': build the projects first: cargo test -p wasmill --test e2e languages",
            folder.display()
        )
    })?;
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    println!("| project | size | cold | warm | reused |\n|---|---:|---:|---:|---:|");
    for folder in folders {
        let project = Project::read(&folder)?;
        let (cold, warm, reused) = project.measure().await?;
        let (cold, warm, reused) =
            (shown(cold), shown(warm), reused.map_or("cannot be".into(), shown));
        println!(
            "| {} | {} | {cold} | {warm} | {reused} |",
            project.name,
            size(project.component.len())
        );
    }
    Ok(())
}
