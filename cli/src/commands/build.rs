//! `wasmill build`.

use anyhow::Context as _;
use serde_json::json;
use wasmill_domain::manifest::Kind;

use crate::args::Build as Arguments;
use crate::building::{Build, no_command};
use crate::exit::Result;
use crate::output::{self, aside, line};
use crate::project;

pub(crate) async fn run(args: Arguments, json: bool) -> Result {
    let file = project::manifest_file(&args.path);
    let manifest = project::read_manifest(&args.path)?;
    let build = Build::of(&file, &manifest)?.ok_or_else(|| no_command(&file))?;
    build.run(aside).await?;
    let component = build.component();
    let about = || component.display().to_string();
    let bytes = std::fs::read(component).with_context(about)?;
    let inspection = wasmill_component::inspect(&bytes).with_context(about)?;
    let kind: Kind = inspection.kind(manifest.kind).with_context(|| file.display().to_string())?;
    if json {
        output::json(&json!({
            "name": manifest.name, "component": component, "bytes": bytes.len(), "digest": inspection.digest,
            "kind": kind, "adapter": inspection.adapter,
        }));
    } else {
        let size = output::bytes(bytes.len() as u64);
        line(format!("built {}: {} ({size}, kind {kind})", manifest.name, component.display()));
    }
    Ok(())
}
