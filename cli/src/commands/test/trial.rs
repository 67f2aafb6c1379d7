//! Runs one function on single events, as a host would, and takes down what comes of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use wasmill_component::Preflight as _;
use wasmill_domain::event::is_json_media_type;
use wasmill_domain::event::json::DataMember;
use wasmill_domain::{Dispatch, Event, LogLine, Manifest, TenantName, Timestamp, TraceContext};
use wasmill_host::{Attempt, Emitted, Engine, EngineSettings, Files, Invocation, Prepared};
use wasmill_schema::{Formats, Schema, SchemaLimits};

use super::case::{Expected, REFUSED};
use crate::exit::Result;
use crate::json::Document;
use crate::project::Project;
use crate::wiring::offline;

/// A function, ready to be run.
pub(super) struct Bench {
    engine: Arc<Engine>,
    prepared: Arc<Prepared>,
    files: Option<Arc<Files>>,
    manifest: Arc<Manifest>,
    schemas: SchemaLimits,
    /// What the function keeps; gone with the run.
    _buckets: tempfile::TempDir,
}

/// What came of an event.
pub(super) struct Observed {
    pub(super) outcome: String,
    pub(super) message: Option<String>,
    pub(super) output: Option<Output>,
    /// In CloudEvents' JSON format, with what the function set.
    pub(super) emitted: Vec<Document>,
    pub(super) logs: Vec<String>,
    /// What it took to run it; nothing where it did not run.
    pub(super) cost: Option<Cost>,
}

/// What a run took.
pub(super) struct Cost {
    pub(super) run_time_ms: f64,
    pub(super) fuel: u64,
    /// The most memory, in bytes.
    pub(super) memory: u64,
}

/// A result.
pub(super) struct Output {
    pub(super) content_type: String,
    pub(super) content: Content,
}

/// A result's bytes, as they are best read.
pub(super) enum Content {
    /// JSON, or a text as a JSON string.
    Json(Document),
    /// Anything else.
    Base64(String),
}

impl Bench {
    /// Makes the function ready, and says what a deploy would have against it.
    pub(super) async fn new(
        project: Project,
        cache: &Path,
        engine: EngineSettings,
        formats: Formats,
    ) -> Result<Self> {
        let settings = EngineSettings {
            slots: 16,
            warm_instances: 0,
            cache_dir: Some(cache.to_owned()),
            ..engine
        };
        let buckets = tempfile::tempdir().context("a temporary folder")?;
        let capabilities = offline::capabilities(buckets.path()).await?;
        let engine =
            Engine::new(settings, capabilities).context("the WebAssembly engine cannot start")?;
        let (mut manifest, digest) = (project.manifest.clone(), project.digest);
        // Each event has an instance of its own, so that none sees what another left.
        manifest.instances.reuse = 1;
        let named = || manifest.name.to_string();
        engine
            .check(&TenantName::default(), digest, &project, &manifest)
            .await
            .with_context(named)?;
        let files = engine.files(&manifest, &project).await.with_context(named)?;
        let prepared =
            engine.prepare(digest, async { Ok(project.component) }).await.with_context(named)?;
        let schemas = SchemaLimits { formats, ..SchemaLimits::default() };
        Ok(Self {
            engine,
            prepared,
            files,
            manifest: Arc::new(manifest),
            schemas,
            _buckets: buckets,
        })
    }

    pub(super) fn function(&self) -> &str {
        self.manifest.name.as_str()
    }

    /// Runs the function on one event, once.
    pub(super) async fn run(&self, event: &Event) -> Observed {
        if let Err(why) = self.let_through(event) {
            return Observed::refused(why);
        }
        let now = Timestamp::now();
        let dispatch = Dispatch::new(
            TenantName::default(),
            self.manifest.name.clone(),
            TraceContext::new_root(),
            Arc::new(event.clone()),
        )
        .with_max_attempts(self.manifest.retry.max_attempts)
        .with_accepted_at(now);
        let (engine, prepared, manifest) =
            (Arc::clone(&self.engine), Arc::clone(&self.prepared), Arc::clone(&self.manifest));
        let files = self.files.clone();
        let running = self.engine.spawn(async move {
            let host = "wasmill test";
            let invocation = Invocation {
                prepared: &prepared,
                manifest: &manifest,
                dispatch: &dispatch,
                host,
                files,
            };
            engine.run(invocation).await
        });
        match running.await {
            Ok(attempt) => Observed::of(&attempt),
            Err(error) => Observed::refused(format!("the run broke down: {error}")),
        }
    }

    /// Checks the event's data by the schemas of the triggers that it matches, as a gateway does.
    fn let_through(&self, event: &Event) -> Result<(), String> {
        for (i, trigger) in self.manifest.triggers.iter().enumerate() {
            let wasmill_domain::manifest::Trigger::Event(on) = trigger else { continue };
            let Some(source) =
                trigger.schema().filter(|_| on.event.matches(event.event_type.as_str()))
            else {
                continue;
            };
            let schema = Schema::compile_within(Arc::new(source.clone()), &self.schemas);
            let schema = schema.map_err(|e| format!("trigger[{i}].schema: {e}"))?;
            let data = event.data.as_deref().unwrap_or(b"null");
            if !event.has_json_data() {
                return Err(format!(
                    "a schema checks events of type '{}', so their data must be JSON",
                    event.event_type
                ));
            }
            let data = wasmill_domain::json::parse(data)
                .map_err(|e| format!("the data are not JSON: {e}"))?;
            schema.validate(&data).map_err(|violations| {
                let reported = violations
                    .iter()
                    .map(|violation| format!("{}: {}", violation.pointer, violation.message));
                reported.collect::<Vec<_>>().join("; ")
            })?;
        }
        Ok(())
    }
}

impl Observed {
    fn refused(why: String) -> Self {
        let message = Some(why);
        Self {
            outcome: REFUSED.into(),
            message,
            output: None,
            emitted: Vec::new(),
            logs: Vec::new(),
            cost: None,
        }
    }

    fn of(attempt: &Attempt) -> Self {
        let report = &attempt.report;
        Self {
            outcome: report.outcome.to_string(),
            message: report.message.clone(),
            output: report.output.as_ref().map(|output| Output {
                content_type: output.content_type.clone(),
                content: Content::of(&output.content_type, &output.data),
            }),
            emitted: attempt.emitted.iter().map(emitted).collect(),
            logs: attempt.logs.iter().map(log_line).collect(),
            cost: Some(Cost {
                run_time_ms: report.run_time.as_secs_f64() * 1000.0,
                fuel: report.fuel_used,
                memory: report.peak_memory,
            }),
        }
    }

    /// The same as an expectation that it satisfies.
    pub(super) fn as_expected(&self) -> Expected {
        let (output, output_base64) = match self.output.as_ref().map(|output| &output.content) {
            None => (None, None),
            Some(Content::Json(document)) => (Some(document.clone()), None),
            Some(Content::Base64(text)) => (None, Some(text.clone())),
        };
        Expected {
            outcome: self.outcome.clone(),
            message: self.message.clone(),
            content_type: self.output.as_ref().map(|output| output.content_type.clone()),
            output,
            output_base64,
            emitted: (!self.emitted.is_empty()).then(|| self.emitted.clone()),
        }
    }

    /// The same for programs.
    pub(super) fn document(&self) -> BTreeMap<String, Document> {
        let mut members: BTreeMap<String, Document> =
            serde_json::from_str(&self.as_expected().to_text()).unwrap_or_default();
        members.insert("outcome".into(), Document::of(&self.outcome));
        members
    }
}

impl Content {
    fn of(media_type: &str, data: &[u8]) -> Self {
        match DataMember::of(is_json_media_type(media_type), data) {
            DataMember::Json(raw) => Self::Json(Document::of(raw)),
            DataMember::Text(text) => Self::Json(Document::of(&text)),
            DataMember::Binary(text) => Self::Base64(text),
        }
    }
}

/// An emitted event in CloudEvents' JSON format.
fn emitted(event: &Emitted) -> Document {
    let mut members = BTreeMap::from([("type", Document::of(&event.event_type))]);
    for (name, value) in [
        ("source", &event.source),
        ("subject", &event.subject),
        ("datacontenttype", &event.datacontenttype),
    ] {
        members.extend(value.as_ref().map(|value| (name, Document::of(value))));
    }
    members
        .extend(event.extensions.iter().map(|(name, value)| (name.as_str(), Document::of(value))));
    if let Some(data) = &event.data {
        match Content::of(event.datacontenttype.as_deref().unwrap_or("application/json"), data) {
            Content::Json(document) => members.insert("data", document),
            Content::Base64(text) => members.insert("data_base64", Document::of(&text)),
        };
    }
    Document::of(&members)
}

fn log_line(line: &LogLine) -> String {
    let fields = line.fields.as_ref().map(|fields| format!(" {fields}")).unwrap_or_default();
    format!("{} {}{fields}", line.level, line.message)
}
