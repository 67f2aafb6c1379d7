//! Deploys the functions of a folder, and again whenever a file of theirs changes.
//!
//! The files are looked at a few times a second rather than subscribed to: it works on every file system, sees files that are
//! replaced as well as files that are written, and costs a few `stat` calls. A change is deployed once the files
//! have kept still for one interval, so that a component is not read half-written, and only if the content differs
//! from what was deployed, so that `touch` or a rebuild to the same bytes does nothing. A function whose manifest has a build command
//! is built first where a source is newer than its component.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use wasmill_domain::{Digest, FunctionName};
use wasmill_host::Engine;

use crate::building::Build;
use crate::client::Client;
use crate::commands::deploy;
use crate::exit::Failure;
use crate::frozen;
use crate::output::line;
use crate::project::{self, Project};
use crate::report::Report;

/// How often the files are looked at. A change is live after at most two intervals and the deploy itself.
const INTERVAL: Duration = Duration::from_millis(200);

/// How often a function is built with no change but what its own build made. A second time, as somebody may have written to a
/// source meanwhile; not for ever, as a build that changes its sources would be.
const BUILDS_IN_A_ROW: u32 = 2;

/// What a function's files look like from outside: path, time of change and length of each.
type Look = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// Watches one folder.
pub(super) struct Watcher {
    dir: PathBuf,
    client: Client,
    engine: Arc<Engine>,
    functions: HashMap<PathBuf, Watched>,
    folder_error: Option<String>,
}

/// What is known of the function of one manifest file.
#[derive(Default)]
struct Watched {
    /// The files at the last look.
    seen: Look,
    /// The files at the last attempt to deploy.
    tried: Option<Look>,
    /// The digest of manifest and component that the server has taken.
    deployed: Option<(FunctionName, Digest)>,
    /// The files after the last build.
    built: Option<Look>,
    /// How many builds there were since anything else changed the files.
    builds: u32,
}

impl Watcher {
    /// `engine` is the one that the system runs functions in: what is compiled for a report is compiled for the deploy.
    pub(super) fn new(dir: PathBuf, client: Client, engine: Arc<Engine>) -> Self {
        Self { dir, client, engine, functions: HashMap::new(), folder_error: None }
    }

    /// Watches until `shutdown`.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            self.look_around().await;
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    async fn look_around(&mut self) {
        let manifests = match project::find_manifests(&self.dir) {
            Ok(manifests) => {
                self.folder_error = None;
                manifests
            }
            Err(error) => {
                let text = format!("{error:#}");
                if self.folder_error.as_ref() != Some(&text) {
                    line(format!("✗ {text}"));
                    self.folder_error = Some(text);
                }
                return;
            }
        };
        self.forget_all_but(&manifests);
        for manifest in manifests {
            self.consider(&manifest).await;
        }
    }

    fn forget_all_but(&mut self, manifests: &[PathBuf]) {
        self.functions.retain(|file, watched| {
            let there = manifests.contains(file);
            if !there && let Some((name, _)) = &watched.deployed {
                line(format!(
                    "· {} is gone; {name} still runs: `wasmill functions delete {name}` ends it",
                    file.display()
                ));
            }
            there
        });
    }

    /// Deploys the function of `manifest` if its files have changed and now keep still.
    async fn consider(&mut self, manifest: &Path) {
        let look = look_at(manifest);
        let first_time = !self.functions.contains_key(manifest);
        let watched = self.functions.entry(manifest.to_owned()).or_default();
        let still = first_time || watched.seen == look;
        watched.seen.clone_from(&look);
        if !still || watched.tried.as_ref() == Some(&look) {
            return;
        }
        match self.build_and_deploy(manifest, &look).await {
            // The server is not ready: tried again at the next look.
            Err(Failure::Unreachable(why)) => tracing::debug!(%why, "not deployed yet"),
            Err(failure) => {
                let kept = self.functions.get(manifest).and_then(|w| w.deployed.as_ref());
                let kept = kept.map(|(name, _)| format!("\n  {name} keeps running as it was")).unwrap_or_default();
                line(format!("✗ {failure}{kept}"));
                self.mark_tried(manifest, look);
            }
            Ok(report) => {
                if let Some(report) = report {
                    line(format!("✓ {report}"));
                }
                self.mark_tried(manifest, look);
            }
        }
    }

    fn mark_tried(&mut self, manifest: &Path, look: Look) {
        if let Some(watched) = self.functions.get_mut(manifest) {
            watched.tried = Some(look);
        }
    }

    async fn build_and_deploy(&mut self, manifest: &Path, look: &Look) -> Result<Option<String>, Failure> {
        self.build(manifest, look).await?;
        self.deploy(manifest).await
    }

    /// Builds the component if it is missing or older than its sources.
    async fn build(&mut self, manifest: &Path, look: &Look) -> Result<(), Failure> {
        let Some(build) = Build::of(manifest, &project::read_manifest(manifest)?)? else { return Ok(()) };
        let Some(watched) = self.functions.get_mut(manifest) else { return Ok(()) };
        if watched.built.as_ref() != Some(look) {
            watched.builds = 0;
        }
        if watched.builds == BUILDS_IN_A_ROW || !build.is_stale() {
            return Ok(());
        }
        watched.builds += 1;
        line(format!("· building {}", manifest.display()));
        let built = build.run(|text| line(format!("  | {text}"))).await;
        watched.built = Some(look_at(manifest));
        built
    }

    /// Reads and deploys; `None` where the content is what was deployed last.
    async fn deploy(&mut self, manifest: &Path) -> Result<Option<String>, Failure> {
        let project = Project::read(manifest)?;
        let name = project.manifest.name.clone();
        self.check_name_is_free(manifest, &name)?;
        let content = content_of(&project);
        let same = |watched: &Watched| watched.deployed.as_ref() == Some(&(name.clone(), content));
        if self.functions.get(manifest).is_some_and(same) {
            return Ok(None);
        }
        let mut report = Report::of(&self.engine, &project).await;
        report.remarks = frozen::remarks(manifest, &project.manifest);
        let report = report.lines().join("\n");
        let deployed = deploy::deploy(&self.client, &project).await;
        let answer = deployed.map_err(|e| e.about(manifest.display()).with_details(&report))?;
        if let Some(watched) = self.functions.get_mut(manifest) {
            watched.deployed = Some((name, content));
        }
        Ok(Some(format!("{}\n{report}", deploy::summary(&answer, &project))))
    }

    /// Two folders with one name would take the function from each other for ever.
    fn check_name_is_free(&self, manifest: &Path, name: &FunctionName) -> Result<(), Failure> {
        let taken = self.functions.iter().find(|(file, watched)| {
            file.as_path() != manifest && watched.deployed.as_ref().is_some_and(|(deployed, _)| deployed == name)
        });
        match taken {
            Some((file, _)) => {
                Err(anyhow::anyhow!("{}: the name '{name}' is taken by {}", manifest.display(), file.display()).into())
            }
            None => Ok(()),
        }
    }
}

fn look_at(manifest: &Path) -> Look {
    let facts = |file: &Path| std::fs::metadata(file).ok().and_then(|meta| Some((meta.modified().ok()?, meta.len())));
    let mut files = project::files_of(manifest);
    if let Some(build) = project::read_manifest(manifest).ok().and_then(|read| Build::of(manifest, &read).ok()?) {
        files.extend(build.sources());
    }
    files.sort();
    files.dedup();
    files.into_iter().map(|file| (file.clone(), facts(&file))).collect()
}

/// One digest of all that a deploy would send.
fn content_of(project: &Project) -> Digest {
    let mut bytes = project.digest.as_bytes().to_vec();
    bytes.extend(serde_json::to_vec(&project.manifest).unwrap_or_default());
    Digest::of(&bytes)
}
