//! The words of public names: those that a user or another crate meets. Each thing is called by the
//! field's standard term, and by one only; ARCHITECTURE.md has the glossary.

use std::fs;
use std::path::{Path, PathBuf};

/// Words that no public name has in it, and what the thing is called instead.
const BANNED: [(&str, &str); 52] = [
    ("aside", "dead letter"),
    ("broken", "failed, or unreadable"),
    ("considerate", "throttled"),
    ("deserted", "expired"),
    ("flight", "in_flight, or publish channel"),
    ("frame", "batch"),
    ("given", "granted"),
    ("handler", "event, http or command"),
    ("heard", "received, or notified"),
    ("hear", "receive"),
    ("held", "reserved, or unacked"),
    ("holding", "reserved, or unacked"),
    ("home", "segment"),
    ("hung", "closed, or disconnected"),
    ("illegal", "not allowed"),
    ("landed", "confirmed"),
    ("lane", "batcher, or publish channel"),
    ("later", "wasi3, or retry"),
    ("legal", "allowed"),
    ("letter", "control message, or dead_letter"),
    ("letters", "control messages, or dead_letters"),
    ("listener", "receiver"),
    ("mailbox", "reply queue"),
    ("move", "transition"),
    ("moved", "transition"),
    ("moves", "transitions"),
    ("news", "notification"),
    ("parcel", "record"),
    ("patience", "timeout"),
    ("patient", "timeout"),
    ("place", "permit, location, offset or index"),
    ("places", "permits, locations, offsets or indices"),
    ("ringing", "dialing"),
    ("room", "reservation, permit or quota; crate or module"),
    ("rooms", "reservations, permits; crates or modules"),
    ("said", "message"),
    ("say", "send"),
    ("scheduled", "delayed"),
    ("silence", "idle"),
    ("silent", "idle"),
    ("speaker", "sender"),
    ("standing", "current state, or grant status"),
    ("standings", "current states, or grant statuses"),
    ("told", "resolved"),
    ("trouble", "error"),
    ("turn", "permit"),
    ("turns", "fair queue"),
    ("unheard", "no subscriber"),
    ("wall", "dependency rule"),
    ("walls", "dependency rules"),
    ("lanes", "batchers, or publish channels"),
    ("frames", "batches"),
];

/// Names that have such a word all the same, and why.
const ALLOWED: [(&str, &str); 6] = [
    ("in_flight", "the field's term for what is sent and not yet confirmed"),
    ("dead_letter", "the field's term for a message that nobody can process"),
    ("held_by", "a column of the executions: who suspended one"),
    ("place", "a column of the triggers in a released schema; a contract step may rename it"),
    ("listener", "what TCP has: a socket that accepts connections"),
    ("lane", "a column of the executions that comes with priorities"),
];

/// The parts of a name, in lower case: of `FairQueue`, `fair_queue` and `/fair-queue` alike.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before = '_';
    for c in name.chars() {
        let begins = c.is_ascii_uppercase() && !before.is_ascii_uppercase();
        if begins || !c.is_ascii_alphanumeric() {
            parts.push(String::new());
        }
        if c.is_ascii_alphanumeric() {
            parts.last_mut().expect("there is one").push(c.to_ascii_lowercase());
        }
        before = c;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Whether `parts` are an allowed name, or hold one of several words that has `word` in it.
fn is_allowed(parts: &[String], word: &str) -> bool {
    let is = |part: &str, allowed: &str| part == allowed || part.strip_suffix('s') == Some(allowed);
    ALLOWED.iter().any(|(allowed, _)| {
        let allowed: Vec<&str> = allowed.split('_').collect();
        if allowed.len() == 1 {
            return parts.len() == 1 && is(&parts[0], allowed[0]);
        }
        parts.windows(allowed.len()).any(|window| {
            window.iter().zip(&allowed).all(|(part, allowed)| is(part, allowed))
                && window.iter().any(|part| part == word)
        })
    })
}

/// What is wrong with a name, where it has a banned word that is not allowed in it.
fn objection(name: &str) -> Option<String> {
    let parts = parts(name);
    let banned = BANNED
        .iter()
        .find(|(word, _)| parts.iter().any(|part| part == word) && !is_allowed(&parts, word));
    banned.map(|(word, instead)| format!("'{name}' has '{word}' in it: say {instead}"))
}

/// The files below a folder whose names end so.
pub(super) fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found
}

/// The identifier that a text begins with.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The name that a line of Rust makes public: an item's, or a field's.
fn public_name<'a>(line: &'a str, visibility: &str) -> Option<&'a str> {
    let mut rest = line.trim_start().strip_prefix(visibility)?;
    for modifier in ["async ", "const ", "unsafe "] {
        // `pub const NAME` is an item, `pub const fn name` is not called `fn`.
        if rest.strip_prefix(modifier).is_some_and(|after| after.starts_with("fn ")) {
            rest = &rest[modifier.len()..];
        }
    }
    let items =
        ["fn ", "struct ", "enum ", "trait ", "type ", "const ", "static ", "mod ", "union "];
    let item = items.iter().find_map(|item| rest.strip_prefix(item));
    let name = identifier(item.unwrap_or(rest));
    let is_field = item.is_none() && rest[name.len()..].starts_with(':');
    (item.is_some() || is_field).then_some(name).filter(|name| !name.is_empty())
}

/// The texts in quotes of a source.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// Objections to names, each with its file.
fn objections<'a>(file: &Path, names: impl Iterator<Item = &'a str>, all: &mut Vec<String>) {
    all.extend(names.filter_map(objection).map(|why| format!("{}: {why}", file.display())));
}

#[test]
fn public_names_have_the_fields_words() {
    let root = super::super::support::root();
    let mut all = Vec::new();
    for (name, _) in super::MAY_IMPORT.iter().filter(|(name, _)| *name != "bench") {
        for file in files(&root.join(name).join("src"), ".rs") {
            let text = fs::read_to_string(&file).expect("a source");
            objections(&file, text.lines().filter_map(|line| public_name(line, "pub ")), &mut all);
        }
    }
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn api_and_command_line_have_the_fields_words() {
    let root = super::super::support::root();
    let mut all = Vec::new();
    let (mut paths, mut keys, mut flags) = (0, 0, 0);
    for file in files(&root.join("gateway/src"), ".rs") {
        let text = fs::read_to_string(&file).expect("a source");
        let routes: Vec<_> = quoted(&text).filter(|text| text.starts_with("/v1/")).collect();
        paths += routes.len();
        objections(&file, routes.into_iter(), &mut all);
        if file.starts_with(root.join("gateway/src/documents")) {
            let fields = text.lines().filter_map(|line| public_name(line, "pub(crate) "));
            let fields: Vec<_> = fields.collect();
            keys += fields.len();
            objections(&file, fields.into_iter(), &mut all);
        }
    }
    // Verbs are variants, flags and settings are fields.
    let settings =
        ["cli/src/args", "cli/src/config"].map(|folder| files(&root.join(folder), ".rs"));
    let alone = ["cli/src/args.rs", "cli/src/config.rs"].map(|file| root.join(file));
    for file in settings.into_iter().flatten().chain(alone) {
        let text = fs::read_to_string(&file).expect("a source");
        let fields = text.lines().filter_map(|line| public_name(line, "pub(crate) "));
        let variants = text.lines().map(str::trim_start).map(identifier);
        let variants = variants.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()));
        let names: Vec<_> = fields.chain(variants).collect();
        flags += names.len();
        objections(&file, names.into_iter(), &mut all);
    }
    assert!(all.is_empty(), "{all:#?}");
    assert!(
        paths > 20 && keys > 50 && flags > 50,
        "found {paths} paths, {keys} keys, {flags} flags"
    );
}

/// Words in quotes are values of columns, which are not names.
#[test]
fn tables_have_the_fields_words() {
    let root = super::super::support::root();
    let mut all = Vec::new();
    for file in files(&root.join("migrations"), ".sql") {
        let text = fs::read_to_string(&file).expect("a step");
        let lines = text.lines().map(|line| line.split("--").next().unwrap_or_default());
        let statements = lines.collect::<Vec<_>>().join("\n");
        let outside: String = statements.split('\'').step_by(2).collect();
        let names = outside.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        objections(
            &file,
            names.filter(|name| name.chars().any(|c| c.is_ascii_lowercase())),
            &mut all,
        );
    }
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn a_banned_word_is_found_in_every_spelling() {
    for name in ["room", "FreeRooms", "HELD_BYTES", "/v1/turns/{id}", "some-place", "patience_ms"] {
        assert!(objection(name).is_some(), "{name}");
    }
    for name in ["DeadLetters", "/v1/dead-letters", "max_in_flight_bytes", "held_by", "remove"] {
        assert_eq!(objection(name), None);
    }
    assert_eq!(public_name("    pub async fn a_turn(", "pub "), Some("a_turn"));
    assert_eq!(public_name("    pub held: bool,", "pub "), Some("held"));
    assert_eq!(public_name("    pub(crate) held: bool,", "pub "), None);
    assert_eq!(public_name("pub use held::Held;", "pub "), None);
}
