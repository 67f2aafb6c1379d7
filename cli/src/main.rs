//! The `wasmill` binary: roles and client verbs. This file is its table of contents.

mod args;
mod client;
mod commands;
mod demo;
mod dev;
mod exit;
mod output;
mod project;
mod wiring;

use std::process::ExitCode;

use args::{Args, Command};
use clap::Parser as _;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = args.log.clone();
    let result = match args.command {
        Command::Dev(dev) => wiring::with_runtime(&filter, dev::run(dev, args.remote)),
        Command::Demo(demo) => wiring::with_runtime(&filter, demo::run(demo, args.remote.json)),
        Command::Deploy(deploy) => wiring::with_runtime(&filter, commands::deploy::run(deploy, args.remote)),
        Command::Functions(verb) => wiring::with_runtime(&filter, commands::functions::run(verb, args.remote)),
        Command::Schemas(verb) => wiring::with_runtime(&filter, commands::schemas::run(verb, args.remote)),
        Command::Executions(verb) => wiring::with_runtime(&filter, commands::executions::run(verb, args.remote)),
        Command::Logs(logs) => wiring::with_runtime(&filter, commands::logs::run(logs, args.remote)),
        Command::Invoke(invoke) => wiring::with_runtime(&filter, commands::invoke::run(invoke, args.remote)),
        Command::Keys(verb) => wiring::with_runtime(&filter, commands::keys::run(verb, args.remote)),
    };
    exit::report(result)
}
