//! What a well-behaved function's callers notice of hostile neighbours.
//!
//!     cargo build --release -p wasmill
//!     cargo run --release -p wasmill-bench --bin neighbours [guests|definitions [NAME]] [--check]
//!
//! Starts `wasmill dev`, invokes `hello` at a fixed rate (open loop: latency counts from the
//! intended time of sending, until the recorded result is back), alone and beside each neighbour by
//! turns, and prints a table: hostile guests ([`guests`], the default), or definitions, compiles
//! and clients of another tenant ([`definitions`]; a row's name measures that one). Only the ratios
//! of one run mean anything. With `--check` it ends with 1 where the row "all at once" of
//! `definitions` exceeds what is promised ([`promise`]).

mod definitions;
mod guests;
mod promise;
mod server;

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

#[tokio::main]
async fn main() -> Result<()> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the project's folder")?.to_owned();
    let binary = std::env::current_exe()?.with_file_name("wasmill");
    ensure!(binary.is_file(), "build it first: cargo build --release -p wasmill");
    // Whoever comes first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
    let (options, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let checks = match options.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--check"] => true,
        _ => bail!("there is the option '--check' and no other"),
    };
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["guests"] if checks => bail!("'--check' is of 'definitions'"),
        [] | ["guests"] => guests::run(&root, &binary, &http).await,
        ["definitions", ref only @ ..] => {
            let only = only.first().copied();
            let all_at_once = definitions::run(&root, &binary, &http, only).await?;
            match all_at_once {
                _ if !checks => Ok(()),
                Some(row) => promise::check(&row),
                None => bail!("'--check' is of the row 'all at once', which was not measured"),
            }
        }
        [other, ..] => bail!("'{other}' is neither 'guests' nor 'definitions'"),
    }
}
