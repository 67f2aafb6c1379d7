//! `wasmill new`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde_json::json;
use wasmill_domain::manifest::Kind;

use crate::args::New;
use crate::exit::{Failure, Result};
use crate::output::{self, line};
use crate::templates::{self, Language, TEMPLATES};

pub(crate) fn run(args: New, json: bool) -> Result {
    let (Some(name), Some(language)) = (&args.name, args.lang) else {
        list(json);
        return Ok(());
    };
    let kind = Kind::from(args.kind);
    let Some(template) = templates::find(language, kind) else {
        return Err(Failure::NotFound(format!(
            "there is no project of kind {kind} in {}; there is: {}",
            language.as_str(),
            kinds_of(language).join(", ")
        )));
    };
    let folder = args.dir.unwrap_or_else(|| PathBuf::from(name.as_str()));
    let mut written = Vec::new();
    claim(&folder)?;
    for (path, text) in template.files(name.as_str()) {
        write(&folder.join(path), &text)?;
        written.push(path);
    }
    if json {
        output::json(
            &json!({"name": name, "folder": folder, "lang": language.as_str(), "kind": kind, "files": written}),
        );
        return Ok(());
    }
    line(format!(
        "{} holds a function of kind {kind} in {}. Next:",
        folder.display(),
        language.as_str()
    ));
    line(format!("  cd {}", folder.display()));
    let steps = ["wasmill build", "wasmill test", "wasmill dev ."];
    for step in language.preparation().into_iter().chain(steps) {
        line(format!("  {step}"));
    }
    Ok(())
}

/// Makes the folder, which must not hold anything yet.
fn claim(folder: &Path) -> Result {
    std::fs::create_dir_all(folder).with_context(|| format!("folder '{}'", folder.display()))?;
    let mut entries =
        std::fs::read_dir(folder).with_context(|| format!("folder '{}'", folder.display()))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => {
            Err(anyhow!("'{}' is not empty: choose another name, or --dir", folder.display())
                .into())
        }
    }
}

fn write(file: &Path, text: &str) -> Result {
    let about = || format!("'{}'", file.display());
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(about)?;
    }
    Ok(std::fs::write(file, text).with_context(about)?)
}

fn kinds_of(language: Language) -> Vec<String> {
    TEMPLATES
        .iter()
        .filter(|template| template.language == language)
        .map(|template| template.kind.to_string())
        .collect()
}

/// Shows every language with its kinds.
fn list(json: bool) {
    if json {
        let template = |template: &templates::Template| json!({"lang": template.language.as_str(), "kind": template.kind});
        output::json(&json!({"templates": TEMPLATES.iter().map(template).collect::<Vec<_>>()}));
        return;
    }
    let rows: Vec<Vec<String>> = <Language as clap::ValueEnum>::value_variants()
        .iter()
        .map(|&language| vec![language.as_str().to_owned(), kinds_of(language).join(", ")])
        .collect();
    output::table(&["lang", "kinds"], &rows);
}
