//! `wasmill test`: runs a function on its event files in this process, with no gateway and no
//! store.

mod case;
mod compare;
mod trial;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::anyhow;
use serde::Serialize;
use wasmill_host::EngineSettings;

use self::case::Case;
use self::compare::differences;
use self::trial::{Bench, Observed};
use crate::args::Test;
use crate::building::build_if_stale;
use crate::exit::{Failure, Result};
use crate::json::Document;
use crate::output::{self, line};
use crate::project::{self, Project};
use crate::wiring::engine_settings;

/// A case and what came of it.
struct Tried {
    case: Case,
    observed: Observed,
    /// What is not as it should be.
    differences: Vec<String>,
}

pub(crate) async fn run(args: Test, json: bool) -> Result {
    build_if_stale(&args.path, args.build, output::aside).await?;
    let project = Project::read(&args.path)?;
    let folder = project::folder_of(&project::manifest_file(&args.path)).join("events");
    let cases = chosen(&args.events, &folder)?;
    let engine =
        EngineSettings { wasi_0_3: args.wasi.wasi_0_3, ..engine_settings(args.compilation) };
    let bench =
        Bench::new(project, &args.data.join("compiled"), engine, args.schemas.formats).await?;
    let mut all = Vec::new();
    let mut unchecked = 0;
    for case in cases {
        if case.expected.is_none() && !args.update {
            unchecked += 1;
            if !json {
                line(format!("– {}: nothing is expected of it, so it is not run", case.name));
            }
            continue;
        }
        let observed = bench.run(&case.event).await;
        if args.update {
            case.write_expectation(&observed.as_expected())?;
        }
        let differences = match &case.expected {
            Some(expected) if !args.update => differences(expected, &observed),
            _ => Vec::new(),
        };
        let tried = Tried { case, observed, differences };
        if !json {
            tried.show(args.update);
        }
        all.push(tried);
    }
    let failed = all.iter().filter(|tried| !tried.differences.is_empty()).count();
    if json {
        output::json(&document(&bench, &all, unchecked));
    }
    if all.is_empty() {
        return Err(anyhow!(
            "nothing is expected of any event in '{}': `wasmill test --update` writes down what comes of them as NAME.expected.json",
            folder.display()
        )
        .into());
    }
    if !json {
        let passed = all.len() - failed;
        line(if args.update {
            format!("{passed} written")
        } else {
            format!("{passed} passed, {failed} failed")
        });
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::Unsuccessful(format!("{failed} of {} events failed", all.len())))
    }
}

/// The cases with these names; all of them where there are none. The files of others are not read.
fn chosen(names: &[String], folder: &Path) -> Result<Vec<Case>> {
    let mut all = Case::names(folder)?;
    if let Some(name) = names.iter().find(|name| !all.contains(name)) {
        return Err(Failure::NotFound(format!(
            "there is no '{}'",
            folder.join(format!("{name}.json")).display()
        )));
    }
    all.retain(|name| names.is_empty() || names.contains(name));
    let cases: anyhow::Result<Vec<Case>> =
        all.into_iter().map(|name| Case::read(folder, name)).collect();
    Ok(cases?)
}

impl Tried {
    /// Prints a line, and what is not as it should be.
    fn show(&self, written: bool) {
        let Observed { outcome, message, cost, logs, .. } = &self.observed;
        let mark = match (written, self.differences.is_empty()) {
            (true, _) => '·',
            (false, true) => '✓',
            (false, false) => '✗',
        };
        let cost = cost.as_ref().map(|cost| {
            let fuel = output::count(cost.fuel);
            format!(
                " ({}, {fuel} fuel, {})",
                output::millis(cost.run_time_ms),
                output::bytes(cost.memory)
            )
        });
        let name = &self.case.name;
        line(format!("{mark} {name}: {outcome}{}", cost.unwrap_or_default()));
        if self.differences.is_empty() {
            return;
        }
        for difference in &self.differences {
            line(format!("    {difference}"));
        }
        if let Some(message) = message {
            line(format!("    it said: {}", output::indented(message, 6)));
        }
        for log in logs {
            line(format!("    log: {}", output::indented(log, 6)));
        }
    }

    fn document(&self) -> TriedDocument<'_> {
        let Observed { logs, cost, .. } = &self.observed;
        TriedDocument {
            name: &self.case.name,
            passed: self.differences.is_empty(),
            differences: &self.differences,
            observed: self.observed.document(),
            logs,
            run_time_ms: cost.as_ref().map(|cost| cost.run_time_ms),
            fuel: cost.as_ref().map(|cost| cost.fuel),
            peak_memory: cost.as_ref().map(|cost| cost.memory),
        }
    }
}

/// The report for programs.
#[derive(Serialize)]
struct ReportDocument<'a> {
    function: &'a str,
    passed: usize,
    failed: usize,
    unchecked: usize,
    events: Vec<TriedDocument<'a>>,
}

/// What came of one event, for programs.
#[derive(Serialize)]
struct TriedDocument<'a> {
    name: &'a str,
    passed: bool,
    differences: &'a [String],
    observed: BTreeMap<String, Document>,
    logs: &'a [String],
    run_time_ms: Option<f64>,
    fuel: Option<u64>,
    peak_memory: Option<u64>,
}

fn document<'a>(bench: &'a Bench, all: &'a [Tried], unchecked: usize) -> ReportDocument<'a> {
    let failed = all.iter().filter(|tried| !tried.differences.is_empty()).count();
    ReportDocument {
        function: bench.function(),
        passed: all.len() - failed,
        failed,
        unchecked,
        events: all.iter().map(Tried::document).collect(),
    }
}
