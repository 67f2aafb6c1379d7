//! The `wasmill` binary: roles and client verbs. This file is its table of contents.

mod args;
mod building;
mod client;
mod commands;
mod config;
mod demo;
mod dev;
mod ending;
mod exit;
mod frozen;
mod json;
mod output;
mod project;
mod report;
mod roles;
mod templates;
mod wiring;

use std::process::ExitCode;

use args::{Args, Command};
use clap::Parser as _;
use wasmill_background::take_short_slices;
use wiring::Run;

/// Every event is many small allocations on one thread that are freed on another: here the C
/// library's allocator costs a sixth of a gateway's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return ending::explained(&error),
    };
    let is_service =
        matches!(args.command, Command::Gateway(_) | Command::Host(_) | Command::Scheduler(_));
    if is_service || matches!(args.command, Command::Dev(_)) {
        take_short_slices();
    }
    // What lapin calls an error is told as a warning by whoever connects again.
    let filter = if is_service { "info,lapin=off,sqlx=warn" } else { "warn" };
    let filter = args.log.unwrap_or_else(|| filter.to_owned());
    let run = Run { filter, format: args.log_format };
    let remote = args.remote;
    let result = match args.command {
        // Whoever serves does so whether somebody reads it or not.
        Command::Dev(dev) => return ending::report(run.with(dev::run(dev, remote))),
        Command::Demo(demo) => run.with(demo::run(demo, remote.json)),
        Command::Gateway(role) => run.with(roles::gateway(role)),
        Command::Host(role) => run.with(roles::host(role)),
        Command::Scheduler(role) => run.with(roles::scheduler(role)),
        Command::Migrate(migrate) => run.with(roles::migrate(migrate, remote.json)),
        Command::Check(check) => run.with(commands::check::run(check, remote.json)),
        Command::New(new) => commands::new::run(new, remote.json),
        Command::Build(build) => run.with(commands::build::run(build, remote.json)),
        Command::Embed(embed) => commands::embed::run(&embed, remote.json),
        Command::Test(test) => run.with(commands::test::run(test, remote.json)),
        Command::Deploy(deploy) => run.with(commands::deploy::run(deploy, remote)),
        Command::Functions(verb) => run.with(commands::functions::run(verb, remote)),
        Command::Schemas(verb) => run.with(commands::schemas::run(verb, remote)),
        Command::Secrets(verb) => run.with(commands::secrets::run(verb, remote)),
        Command::Executions(verb) => run.with(commands::executions::run(verb, remote)),
        Command::Logs(logs) => run.with(commands::logs::run(logs, remote)),
        Command::Invoke(invoke) => run.with(commands::invoke::run(invoke, remote)),
        Command::Nodes => run.with(commands::nodes::run(remote)),
        Command::Ready => run.with(commands::ready::run(remote)),
        Command::Doctor(doctor) => run.with(commands::doctor::run(doctor, remote.json)),
        Command::Keyvalue(verb) => run.with(commands::keyvalue::run(verb, remote)),
        Command::Hostnames(verb) => run.with(commands::hostnames::run(verb, remote)),
        Command::DeadLetters(verb) => run.with(commands::dead_letters::run(verb, remote)),
        Command::Keys(verb) => run.with(commands::keys::run(verb, remote)),
        Command::Compile { job } => return wasmill_host::compile(&job),
    };
    ending::report(result.and_then(|()| output::printed()))
}
