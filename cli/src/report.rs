//! What a component is, and whether it could be deployed: `wasmill check`, and `wasmill dev` at
//! each change.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use wasmill_component::{Adapter, GrantStatus, InspectError, Inspection, Preflight as _, inspect};
use wasmill_domain::manifest::Kind;
use wasmill_domain::units::ByteSize;
use wasmill_domain::{Digest, Manifest, TenantName};
use wasmill_host::{Engine, Prepared};
use wasmill_schema::Schema;

use crate::output;
use crate::project::Project;

/// What there is to say of a component under a manifest.
#[derive(Serialize)]
pub(crate) struct Report {
    digest: Digest,
    size: u64,
    /// What it is; `None` where the bytes are no component of any kind.
    #[serde(flatten)]
    is: Option<Is>,
    /// What an instance costs, where it can be compiled.
    #[serde(flatten)]
    costs: Option<Costs>,
    /// The manifest's `limits.memory`.
    memory_limit: u64,
    /// How many files go with it, and how large they are together.
    files: u64,
    file_bytes: u64,
    /// What its sources show that its author may not expect.
    pub(crate) remarks: Vec<String>,
    /// Why it cannot be deployed; empty where it can be.
    pub(crate) problems: Vec<String>,
}

#[derive(Serialize)]
struct Is {
    /// What it would be run as.
    kind: Kind,
    /// Everything that it could be run as.
    kinds: Vec<Kind>,
    /// What makes a component of it, of a core module.
    adapter: Option<Adapter>,
    exports: Vec<String>,
    imports: Vec<Import>,
    /// Whether it is run as one for WASI 0.3, or would be.
    wasi_0_3: bool,
}

#[derive(Serialize)]
struct Import {
    name: String,
    /// `free`, `granted`, `not_granted` or `missing`.
    status: &'static str,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Clone, Copy, Serialize)]
struct Costs {
    /// The linear memory that an instance begins with, in bytes.
    memory_at_start: u64,
    /// Its machine code and data, which all instances share, in bytes.
    machine_code: u64,
}

impl Report {
    /// Looks at a function's component: reads it and compiles it. One that a deploy would not take,
    /// as it is larger than `largest` or holds too much, is not compiled for that.
    pub(crate) async fn of(engine: &Engine, project: &Project, largest: ByteSize) -> Self {
        let Project { manifest, component, digest, .. } = project;
        let mut report = Self {
            digest: *digest,
            size: component.len() as u64,
            is: None,
            costs: None,
            memory_limit: manifest.limits.memory.0,
            files: manifest.files.len() as u64,
            file_bytes: manifest.file_parts().map(|part| part.size).sum(),
            remarks: Vec::new(),
            problems: Vec::new(),
        };
        if report.size > largest.0 {
            report.problems.push(format!(
                "it has {} bytes, and an artifact has at most {largest} (gateway.max_artifact_bytes; --max-artifact-bytes \
                 here)",
                report.size
            ));
            return report;
        }
        let bytes = component.clone();
        // Validation of a large component takes a while.
        let inspected = tokio::task::spawn_blocking(move || inspect(&bytes)).await;
        let inspected = inspected.unwrap_or_else(|e| {
            Err(InspectError::Adapt(format!("the inspection broke down: {e}")))
        });
        match inspected {
            Err(error) => report.problems.push(error.to_string()),
            Ok(inspection) => {
                report.note(engine, &inspection, manifest);
                report.compile(engine, project, &inspection).await;
            }
        }
        report
    }

    /// Takes down what reading alone tells.
    fn note(&mut self, engine: &Engine, inspection: &Inspection, manifest: &Manifest) {
        let kind = inspection.kind(manifest.kind);
        let imports = inspection
            .grant_statuses(manifest)
            .into_iter()
            .map(|(name, status)| Import::of(name, status));
        self.is = Some(Is {
            kind: kind.as_ref().copied().unwrap_or(inspection.kinds[0]),
            kinds: inspection.kinds.clone(),
            adapter: inspection.adapter,
            exports: inspection.exports.clone(),
            imports: imports.collect(),
            wasi_0_3: inspection.is_run_by_wasi3(engine.runs_wasi_0_3()),
        });
        let refusals = [
            kind.map(drop),
            inspection.require_wasi(engine.runs_wasi_0_3()),
            inspection.require_imports(),
            inspection.require_grants(manifest),
        ];
        self.problems
            .extend(refusals.into_iter().filter_map(Result::err).map(|error| error.to_string()));
        if let Some(is) = &self.is {
            self.problems.extend(manifest.check_for(is.kind).err().map(|error| error.to_string()));
        }
    }

    async fn compile(&mut self, engine: &Engine, project: &Project, inspection: &Inspection) {
        let refused =
            inspection.require_wasi(engine.runs_wasi_0_3()).and(inspection.require_imports());
        if refused.is_err() {
            return;
        }
        let Project { component, digest, .. } = project;
        let artifact = component.clone();
        match engine.prepare(*digest, async { Ok(artifact) }).await {
            Ok(prepared) => self.costs = Some(Costs::of(&prepared)),
            Err(error) => self.problems.push(error.to_string()),
        }
    }

    /// Compiles the schemas of the manifest's triggers, as a deploy does.
    pub(crate) async fn check_schemas(&mut self, manifest: &Manifest) {
        let schemas = manifest.triggers.iter().enumerate();
        let schemas =
            schemas.filter_map(|(i, trigger)| Some((i, Arc::new(trigger.schema()?.clone()))));
        let schemas: Vec<_> = schemas.collect();
        // The patterns of a large schema take a while to compile.
        let compiling = tokio::task::spawn_blocking(move || {
            let refused = schemas
                .into_iter()
                .filter_map(|(i, schema)| Some((i, Schema::compile(schema).err()?)));
            refused.map(|(i, error)| format!("trigger[{i}].schema: {error}")).collect()
        });
        self.problems.extend(
            compiling
                .await
                .unwrap_or_else(|e| vec![format!("the check of the schemas broke down: {e}")]),
        );
    }

    /// Checks it as a deploy does, if nothing is known to be wrong with it: the limits, and whether
    /// an instance can be made.
    pub(crate) async fn try_out(&mut self, engine: &Engine, project: &Project) {
        if self.problems.is_empty() {
            let Project { manifest, digest, .. } = project;
            let checked = engine.check(&TenantName::default(), *digest, project, manifest).await;
            self.problems.extend(checked.err().map(|error| error.to_string()));
        }
    }

    /// The same as a JSON document.
    pub(crate) fn json(&self) -> serde_json::Value {
        // Names, numbers and texts always serialize.
        serde_json::to_value(self).unwrap_or_else(|e| json!({"error": e.to_string()}))
    }

    /// A few lines for people, without the problems.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = |label: &str, text: &dyn Display| {
            lines.push(format!("  {label:<9} {}", output::inline(&text.to_string())));
        };
        if let Some(is) = &self.is {
            line("kind", &is.kind_line());
            line("exports", &is.exports.join(", "));
            let status =
                is.imports.iter().filter(|import| import.status != "free").map(ToString::to_string);
            let mut imports: Vec<String> = is.free_imports().into_iter().chain(status).collect();
            if imports.is_empty() {
                imports.push("none".to_owned());
            }
            for (i, import) in imports.iter().enumerate() {
                line(if i == 0 { "imports" } else { "" }, import);
            }
            line("adapter", &is.adapter_line());
        }
        line("size", &format!("{}, {}", output::bytes(self.size), self.digest));
        if self.files > 0 {
            line(
                "files",
                &format!(
                    "{}, {} together, read-only below /",
                    self.files,
                    output::bytes(self.file_bytes)
                ),
            );
        }
        if let Some(costs) = self.costs {
            let [start, code] = [costs.memory_at_start, costs.machine_code].map(output::bytes);
            let limit = ByteSize(self.memory_limit);
            line(
                "memory",
                &format!("{start} of {limit} when it starts; {code} of machine code, shared"),
            );
        }
        for remark in &self.remarks {
            line("note", remark);
        }
        lines
    }
}

impl Is {
    fn kind_line(&self) -> String {
        let others: Vec<String> =
            self.kinds.iter().filter(|kind| **kind != self.kind).map(ToString::to_string).collect();
        let wasi = if self.wasi_0_3 { ", for WASI 0.3" } else { "" };
        if others.is_empty() {
            format!("{}{wasi}", self.kind)
        } else {
            format!(
                "{}{wasi} (the manifest's `kind` can make it {})",
                self.kind,
                others.join(" or ")
            )
        }
    }

    fn adapter_line(&self) -> &'static str {
        match self.adapter {
            None => "not needed: it is a component",
            Some(Adapter::Command) => {
                "command: a program for WASI preview 1, made a component at deploy"
            }
            Some(Adapter::Reactor) => {
                "reactor: a library for WASI preview 1, made a component at deploy"
            }
            Some(Adapter::Proxy) => {
                "proxy: an HTTP handler for WASI preview 1, made a component at deploy"
            }
            Some(Adapter::None) => {
                "none: a core module without WASI preview 1, made a component at deploy"
            }
        }
    }

    /// The imports that need no word each, a text for each package:
    /// `wasi:io/{error, streams}@0.2.6`.
    fn free_imports(&self) -> Vec<String> {
        let mut packages: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for import in self.imports.iter().filter(|import| import.status == "free") {
            // What the host has is named `package/interface@version`.
            let (path, version) = import.name.split_once('@').unwrap_or((&import.name, ""));
            let (package, interface) = path.split_once('/').unwrap_or((path, ""));
            packages.entry((package, version)).or_default().push(interface);
        }
        let text = |((package, version), interfaces): ((&str, &str), Vec<&str>)| match interfaces[..]
        {
            [interface] => format!("{package}/{interface}@{version}"),
            _ => format!("{package}/{{{}}}@{version}", interfaces.join(", ")),
        };
        packages.into_iter().map(text).collect()
    }
}

impl Import {
    fn of(name: &str, status: GrantStatus) -> Self {
        let (status, advice) = match status {
            GrantStatus::Free => ("free", None),
            GrantStatus::Granted => ("granted", None),
            GrantStatus::NotGranted { line } => {
                ("not_granted", Some(format!("add {line} to wasmill.toml")))
            }
            GrantStatus::Missing { hint } => ("missing", Some(hint)),
        };
        Self { name: name.to_owned(), status, advice }
    }
}

impl Display for Import {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.status.replace('_', " "))?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, " ({advice})"))
    }
}

impl Costs {
    fn of(prepared: &Prepared) -> Self {
        Self { memory_at_start: prepared.smallest_memory(), machine_code: prepared.size() }
    }
}
