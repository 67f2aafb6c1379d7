//! `wasmill check`.

use wasmill_host::{Capabilities, Engine, EngineSettings};

use crate::args::Check;
use crate::exit::{Failure, Result};
use crate::frozen;
use crate::output::{self, Step};
use crate::project::Project;
use crate::report::Report;
use crate::wiring::engine_settings;

pub(crate) async fn run(args: Check, json: bool) -> Result {
    let project = Project::read_any(&args.path)?;
    let settings =
        EngineSettings { wasi_0_3: args.wasi.wasi_0_3, ..engine_settings(args.compilation) };
    let engine = Engine::new(settings, Capabilities::default()).map_err(anyhow::Error::from)?;
    let what = format!("checking {}", args.path.display());
    let looking = async {
        let mut report = Report::of(&engine, &project, args.artifacts.max_artifact_bytes).await;
        report.check_schemas(&project.manifest).await;
        report.try_out(&engine, &project).await;
        report.remarks = frozen::remarks(&args.path, &project.manifest);
        report
    };
    let report = output::awaited(&what, &Step::new("it is inspected and compiled"), looking).await;
    if json {
        output::json(&report.json());
    } else {
        output::line(args.path.display().to_string());
        report.lines().into_iter().for_each(output::line);
    }
    if report.problems.is_empty() {
        if !json {
            output::line("✓ it can be deployed");
        }
        return Ok(());
    }
    Err(Failure::Failed(anyhow::anyhow!(
        "it cannot be deployed\n  {}",
        report.problems.join("\n  ")
    )))
}
