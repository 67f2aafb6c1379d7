//! What a well-behaved function's callers notice of hostile neighbours.
//!
//!     cargo build --release -p wasmill
//!     cargo run --release -p wasmill-bench --bin neighbours [guests|definitions [NAME]]
//!
//! Starts `wasmill dev`, invokes `hello` at a fixed rate (open loop: latency counts from the
//! intended time of sending, until the recorded result is back), alone and beside each neighbour by
//! turns, and prints a table: hostile guests ([`guests`], the default), or definitions, compiles
//! and clients of another tenant ([`definitions`]; a row's name measures that one). Only the ratios of one run mean anything.

mod definitions;
mod guests;
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
    match std::env::args().nth(1).as_deref() {
        None | Some("guests") => guests::run(&root, &binary, &http).await,
        Some("definitions") => {
            definitions::run(&root, &binary, &http, std::env::args().nth(2).as_deref()).await
        }
        Some(other) => bail!("'{other}' is neither 'guests' nor 'definitions'"),
    }
}
