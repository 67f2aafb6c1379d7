//! `wasmill embed`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde_json::json;
use wasmill_domain::manifest::Kind;

use crate::args::Embed;
use crate::exit::{Failure, Result};
use crate::output::{self, line};

/// What runs `handler.lua`, and what runs `main.lua`: built by scripts/build-lua.
const EVENT: &[u8] = include_bytes!("../../../functions/sdk/lua/event.wasm");
const COMMAND: &[u8] = include_bytes!("../../../functions/sdk/lua/command.wasm");

pub(crate) fn run(args: &Embed, json: bool) -> Result {
    let mut files = Vec::new();
    collect(&args.folder, "", &mut files)?;
    let has = |name: &str| files.iter().any(|(file, _)| file == name);
    let folder = args.folder.display();
    let (kind, runtime) = match (has("handler.lua"), has("main.lua")) {
        (true, false) => (Kind::Event, EVENT),
        (false, true) => (Kind::Command, COMMAND),
        (false, false) => {
            return Err(Failure::NotFound(format!(
                "'{folder}' has neither handler.lua (for a function of kind event) nor main.lua (for a command)"
            )));
        }
        (true, true) => {
            return Err(anyhow!(
                "'{folder}' has both handler.lua (for a function of kind event) and main.lua (for a command): rename one"
            )
            .into());
        }
    };
    let module =
        wasmill_component::embed(runtime, &files).with_context(|| format!("'{folder}'"))?;
    std::fs::write(&args.out, &module).with_context(|| format!("'{}'", args.out.display()))?;
    if json {
        let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
        output::json(
            &json!({"kind": kind, "module": args.out, "size": module.len(), "files": names}),
        );
    } else {
        line(format!(
            "{} holds {} files of {folder}, for kind {kind}",
            args.out.display(),
            files.len()
        ));
    }
    Ok(())
}

/// The files below a folder, in the order of their names, which begin with `prefix`. What is hidden
/// is left out.
fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) -> Result {
    let about = || format!("folder '{}'", folder.display());
    let entries = std::fs::read_dir(folder)
        .with_context(about)?
        .collect::<Result<Vec<_>, _>>()
        .with_context(about)?;
    let mut paths: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(anyhow!("'{}': the name of a file must be UTF-8", path.display()).into());
        };
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        // Links are not followed: they may lead in circles.
        let kind =
            path.symlink_metadata().with_context(|| format!("'{}'", path.display()))?.file_type();
        if kind.is_dir() {
            collect(&path, &format!("{name}/"), files)?;
        } else if kind.is_file() {
            files.push((
                name,
                std::fs::read(&path).with_context(|| format!("'{}'", path.display()))?,
            ));
        }
    }
    Ok(())
}
