//! Deploys the functions of a folder, and again whenever a file of theirs changes.
//!
//! The files are looked at a few times a second rather than subscribed to: it works on every file
//! system, sees files that are replaced as well as files that are written, and costs a few `stat`
//! calls. A change is deployed once the files have kept still for one interval, so that a component
//! is not read half-written, and only if the content differs from what was deployed, so that
//! `touch` or a rebuild to the same bytes does nothing. A function whose manifest has a build
//! command is built first where a source is newer than its component. A function whose name no
//! manifest has any more is told of, or deleted.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::Method;
use tokio_util::sync::CancellationToken;
use wasmill_domain::units::ByteSize;
use wasmill_domain::{Digest, FunctionName};
use wasmill_host::Engine;

use crate::building::Build;
use crate::client::{Client, Request};
use crate::commands::deploy;
use crate::exit::Failure;
use crate::frozen;
use crate::output::{self, Step, note};
use crate::project::{self, Project};
use crate::report::Report;

/// How often the files are looked at. A change is live after at most two intervals and the deploy
/// itself.
const INTERVAL: Duration = Duration::from_millis(200);

/// How often a function is built with no change but what its own build made. A second time, as
/// somebody may have written to a source meanwhile; not for ever, as a build that changes its
/// sources would be.
const BUILDS_IN_A_ROW: u32 = 2;

/// How many looks in a row must not find a function's name in any manifest before it counts as gone
/// from the folder: while files are moved or written anew, they are away for a moment.
const LOOKS_UNTIL_GONE: u32 = 10;

/// What a function's files look like from outside: path, time of change and length of each.
type Look = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// What is watched, and how.
pub(super) struct Options {
    pub(super) dir: PathBuf,
    /// Whether functions are deleted whose names no manifest has any more.
    pub(super) prune: bool,
    /// The largest artifact that the system takes.
    pub(super) max_artifact_bytes: ByteSize,
}

/// Watches one folder.
pub(super) struct Watcher {
    options: Options,
    client: Client,
    engine: Arc<Engine>,
    functions: HashMap<PathBuf, Watched>,
    released: Vec<Released>,
    folder_error: Option<String>,
}

/// A function that was deployed from a manifest which has its name no more.
struct Released {
    name: FunctionName,
    manifest: PathBuf,
    /// What the manifest calls its function now; `None` where the file is gone.
    renamed: Option<FunctionName>,
    /// How many looks in a row have not found the name anywhere.
    looks: u32,
}

/// What is known of the function of one manifest file.
#[derive(Default)]
struct Watched {
    /// The files at the last look.
    seen: Look,
    /// The files at the last attempt to deploy.
    tried: Option<Look>,
    /// The name that it cannot have while another manifest's function has it.
    waits_for: Option<FunctionName>,
    /// The digest of manifest and component that the server has taken.
    deployed: Option<(FunctionName, Digest)>,
    /// The files after the last build.
    built: Option<Look>,
    /// How many builds there were since anything else changed the files.
    builds: u32,
}

impl Watched {
    fn has_deployed(&self, name: &FunctionName) -> bool {
        self.deployed.as_ref().is_some_and(|(deployed, _)| deployed == name)
    }
}

impl Watcher {
    /// `engine` is the one that the system runs functions in: what is compiled for a report is
    /// compiled for the deploy.
    pub(super) fn new(options: Options, client: Client, engine: Arc<Engine>) -> Self {
        Self {
            options,
            client,
            engine,
            functions: HashMap::new(),
            released: Vec::new(),
            folder_error: None,
        }
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
        let manifests = match project::find_manifests(&self.options.dir) {
            Ok(manifests) => {
                self.folder_error = None;
                manifests
            }
            Err(error) => {
                let text = format!("{error:#}");
                if self.folder_error.as_ref() != Some(&text) {
                    note(format!("✗ {text}"));
                    self.folder_error = Some(text);
                }
                return;
            }
        };
        self.forget_all_but(&manifests);
        self.wake_for_free_names();
        for manifest in &manifests {
            self.consider(manifest).await;
        }
        self.let_go(&manifests).await;
    }

    fn forget_all_but(&mut self, manifests: &[PathBuf]) {
        let gone: Vec<PathBuf> =
            self.functions.keys().filter(|file| !manifests.contains(file)).cloned().collect();
        for file in gone {
            if let Some((name, _)) =
                self.functions.remove(&file).and_then(|watched| watched.deployed)
            {
                self.release(name, file, None);
            }
        }
    }

    /// Has those looked at again that waited for a name which is free now.
    fn wake_for_free_names(&mut self) {
        let waiting = |(file, watched): (&PathBuf, &Watched)| {
            Some((file.clone(), watched.waits_for.clone()?))
        };
        for (file, name) in self.functions.iter().filter_map(waiting).collect::<Vec<_>>() {
            if self.check_name_is_free(&file, &name).is_ok()
                && let Some(watched) = self.functions.get_mut(&file)
            {
                (watched.waits_for, watched.tried) = (None, None);
            }
        }
    }

    /// Notes that a manifest does not have a name any more.
    fn release(&mut self, name: FunctionName, manifest: PathBuf, renamed: Option<FunctionName>) {
        self.released.retain(|released| released.name != name);
        self.released.push(Released { name, manifest, renamed, looks: 0 });
    }

    /// Tells of functions that are gone from the folder, or deletes them.
    async fn let_go(&mut self, manifests: &[PathBuf]) {
        if self.released.is_empty() {
            return;
        }
        // A manifest that cannot be read now may be the one that has the name.
        let declared: Option<HashSet<FunctionName>> =
            manifests.iter().map(|file| Some(project::read_manifest(file).ok()?.name)).collect();
        for mut released in std::mem::take(&mut self.released) {
            if self.functions.values().any(|watched| watched.has_deployed(&released.name)) {
                continue;
            }
            let is_away = declared.as_ref().is_some_and(|names| !names.contains(&released.name));
            released.looks = if is_away { released.looks + 1 } else { 0 };
            if released.looks < LOOKS_UNTIL_GONE || !self.end(&released).await {
                self.released.push(released);
            }
        }
    }

    /// Deletes a function that is gone from the folder, or says how; whether that is done.
    async fn end(&self, released: &Released) -> bool {
        let Released { name, manifest, renamed, .. } = released;
        let why = match renamed {
            Some(renamed) => format!("{} is {renamed} now", manifest.display()),
            None => format!("{} is gone", manifest.display()),
        };
        if !self.options.prune {
            note(format!(
                "· {why}; {name} still runs: `wasmill functions delete {name}` ends it, as `wasmill dev --prune` would"
            ));
            return true;
        }
        match self.client.send(Request::new(Method::DELETE, &["v1", "functions", name])).await {
            Ok(_) | Err(Failure::NotFound(_)) => note(format!("✓ {why}; {name} is deleted")),
            Err(Failure::Unreachable(_)) => return false,
            Err(failure) => note(format!("✗ {why}; {name} cannot be deleted: {failure}")),
        }
        true
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
                let kept = kept
                    .map(|(name, _)| format!("\n  {name} keeps running as it was"))
                    .unwrap_or_default();
                note(format!("✗ {failure}{kept}"));
                self.mark_tried(manifest, look);
            }
            Ok(report) => {
                if let Some(report) = report {
                    note(format!("✓ {report}"));
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

    async fn build_and_deploy(
        &mut self,
        manifest: &Path,
        look: &Look,
    ) -> Result<Option<String>, Failure> {
        self.build(manifest, look).await?;
        self.deploy(manifest).await
    }

    /// Builds the component if it is missing or older than its sources.
    async fn build(&mut self, manifest: &Path, look: &Look) -> Result<(), Failure> {
        let Some(build) = Build::of(manifest, &project::read_manifest(manifest)?)? else {
            return Ok(());
        };
        let Some(watched) = self.functions.get_mut(manifest) else { return Ok(()) };
        if watched.built.as_ref() != Some(look) {
            watched.builds = 0;
        }
        if watched.builds == BUILDS_IN_A_ROW || !build.is_stale() {
            return Ok(());
        }
        watched.builds += 1;
        note(format!("· building {}", manifest.display()));
        let built = build.run(|text| note(format!("  | {text}"))).await;
        watched.built = Some(look_at(manifest));
        built
    }

    /// Reads and deploys; `None` where the content is what was deployed last.
    async fn deploy(&mut self, manifest: &Path) -> Result<Option<String>, Failure> {
        let project = Project::read(manifest)?;
        let name = project.manifest.name.clone();
        let taken = self.check_name_is_free(manifest, &name);
        if let Some(watched) = self.functions.get_mut(manifest) {
            watched.waits_for = taken.is_err().then(|| name.clone());
        }
        taken?;
        let content = content_of(&project);
        let same = |watched: &Watched| watched.deployed.as_ref() == Some(&(name.clone(), content));
        if self.functions.get(manifest).is_some_and(same) {
            return Ok(None);
        }
        let step = Step::new("it is inspected");
        let deploying = async {
            let mut report =
                Report::of(&self.engine, &project, self.options.max_artifact_bytes).await;
            report.remarks = frozen::remarks(manifest, &project.manifest);
            (deploy::deploy(&self.client, &project, &step).await, report.lines().join("\n"))
        };
        let (deployed, report) =
            output::awaited(&format!("deploying {name}"), &step, deploying).await;
        let answer = deployed.map_err(|e| e.about(manifest.display()).with_details(&report))?;
        self.take_over(manifest, &name);
        let Some(watched) = self.functions.get_mut(manifest) else { return Ok(None) };
        let before = watched.deployed.replace((name.clone(), content));
        if let Some((before, _)) = before.filter(|(before, _)| *before != name) {
            self.release(before, manifest.to_owned(), Some(name));
        }
        Ok(Some(format!("{}\n{report}", deploy::summary(&answer, &project))))
    }

    /// What runs under the name is not what another manifest deployed, which has a name of its own
    /// now.
    fn take_over(&mut self, manifest: &Path, name: &FunctionName) {
        let others = self.functions.iter_mut().filter(|(file, _)| file.as_path() != manifest);
        for (_, watched) in others.filter(|(_, watched)| watched.has_deployed(name)) {
            watched.deployed = None;
        }
    }

    /// Two folders with one name would take the function from each other for ever. A name is taken
    /// while the manifest which deployed it declares it, or cannot be read: folders may swap their
    /// names.
    fn check_name_is_free(&self, manifest: &Path, name: &FunctionName) -> Result<(), Failure> {
        let declares =
            |file: &Path| project::read_manifest(file).map_or(true, |read| read.name == *name);
        let taken = self.functions.iter().find(|(file, watched)| {
            file.as_path() != manifest && watched.has_deployed(name) && declares(file)
        });
        match taken {
            Some((file, _)) => Err(anyhow::anyhow!(
                "{}: the name '{name}' is taken by {}",
                manifest.display(),
                file.display()
            )
            .into()),
            None => Ok(()),
        }
    }
}

fn look_at(manifest: &Path) -> Look {
    let facts = |file: &Path| {
        std::fs::metadata(file).ok().and_then(|meta| Some((meta.modified().ok()?, meta.len())))
    };
    let mut files = project::files_of(manifest);
    if let Some(build) =
        project::read_manifest(manifest).ok().and_then(|read| Build::of(manifest, &read).ok()?)
    {
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
