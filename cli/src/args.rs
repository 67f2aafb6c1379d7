//! The command line.

mod shared;
mod verbs;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use ipnet::IpNet;
use wasmill_domain::manifest::Kind;
use wasmill_domain::units::Span;
use wasmill_domain::{FunctionName, HostnamePattern, TenantName};

use crate::config::Compilation;
use crate::templates::Language;
pub(crate) use shared::{Artifacts, SchemaFormats, Wasi};
pub(crate) use verbs::*;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it was tried and did not work
  2  the command line is wrong
  3  what was named does not exist
  4  the server cannot be reached or is not ready
  5  the function ran and did not succeed (invoke, demo, test)
  6  an API key is missing, unknown or not allowed to do this

Start here:
  wasmill dev functions/                 the whole system, watching a folder of functions
  wasmill demo                           the same, once, with the sample functions and events
  wasmill new greeter --lang rust        a function of your own; `wasmill new --list` lists the languages";

/// Runs WebAssembly functions on events: a gateway, hosts and a scheduler in one binary.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) remote: Remote,

    /// What to log on standard error: a level, or a filter such as `warn,wasmill_host=debug`.
    /// Default: warn; info for gateway, host and scheduler
    #[arg(long, global = true, env = "WASMILL_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,

    /// How to write the log
    #[arg(long, global = true, env = "WASMILL_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How the log is written.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON document a line
    Json,
}

/// Which server the client verbs speak to, and how they answer.
#[derive(clap::Args, Clone)]
pub(crate) struct Remote {
    /// The gateway's URL
    #[arg(
        long,
        global = true,
        env = "WASMILL_URL",
        default_value = "http://127.0.0.1:7070",
        value_name = "URL"
    )]
    pub(crate) url: String,

    /// Certificates to trust besides the system's, in PEM, for a URL with https
    #[arg(long, global = true, env = "WASMILL_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// The API key, where the server asks for one
    #[arg(long, global = true, env = "WASMILL_KEY", hide_env_values = true, value_name = "KEY")]
    pub(crate) key: Option<String>,

    /// The tenant to act for, with an operator's key
    #[arg(long, global = true, env = "WASMILL_TENANT", value_name = "NAME")]
    pub(crate) tenant: Option<TenantName>,

    /// Print JSON, as the API answers it
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the whole system in one process, on SQLite and the embedded queue
    Dev(Dev),
    /// Run the sample functions on their sample events and show what became of them
    Demo(Demo),
    /// Serve HTTP for a pool that shares PostgreSQL and RabbitMQ
    Gateway(Role),
    /// Run functions for a pool that shares PostgreSQL and RabbitMQ
    Host(Role),
    /// See to retries, the outbox and retention for a pool that shares PostgreSQL and RabbitMQ
    Scheduler(Role),
    /// Bring the schema of a pool's PostgreSQL database up to date, before its roles are started or
    /// upgraded
    Migrate(Migrate),
    /// Say what a component is, what it imports, and whether it could be deployed
    Check(Check),
    /// Write a new function's project
    New(New),
    /// Build the function in a folder by its manifest's command
    Build(Build),
    /// Make a module of a folder of Lua files: what the manifest's command does in projects in Lua
    Embed(Embed),
    /// Run the function in a folder on its event files, without a server, and compare what comes of
    /// them with what should
    Test(Test),
    /// Deploy the function in a folder
    Deploy(Deploy),
    /// List, show, roll back and delete functions
    #[command(subcommand)]
    Functions(Functions),
    /// List, show, set and delete the JSON Schemas of event types
    #[command(subcommand)]
    Schemas(Schemas),
    /// Set, list and delete secrets, and make the operator's key that seals them
    #[command(subcommand)]
    Secrets(Secrets),
    /// List, show, cancel, suspend and resume executions
    #[command(subcommand)]
    Executions(Executions),
    /// Show the log of an execution
    Logs(Logs),
    /// Run a function on one event and wait for its result
    Invoke(Invoke),
    /// List the processes of the installation that are alive
    Nodes,
    /// Tell whether the gateway, host or scheduler at --url can do its work; exit code 4 if it
    /// cannot
    Ready,
    /// Look at an installation on its own machine: its backends, whether they belong together, lost
    /// queues, secrets, file limits
    Doctor(Doctor),
    /// List, show, set and delete what functions keep in their buckets (wasi:keyvalue)
    #[command(subcommand)]
    Keyvalue(Keyvalue),
    /// List, grant and revoke host names for a tenant's HTTP triggers (--tenant says whose)
    #[command(subcommand)]
    Hostnames(Hostnames),
    /// List, export, send again and delete messages that no process could read (with an operator's
    /// key)
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Create, list and delete API keys
    #[command(subcommand)]
    Keys(Keys),
    /// Compile one component: what the other verbs start as a process of its own
    #[command(name = COMPILE, hide = true)]
    Compile {
        /// What is to be done, as JSON
        job: String,
    },
}

/// The verb that compiles one component.
pub(crate) const COMPILE: &str = "compile-component";

#[derive(clap::Args)]
pub(crate) struct Dev {
    /// Deploy the function in this folder, or in each folder that is in it, and deploy it again
    /// when its component, manifest or schema changes
    pub(crate) dir: Option<PathBuf>,

    /// Where to listen. Beyond loopback, every request needs an API key; the first one is printed
    /// at the first start
    #[arg(
        long,
        env = "WASMILL_LISTEN",
        default_value = "127.0.0.1:7070",
        value_name = "ADDRESS",
        overrides_with = "listen"
    )]
    pub(crate) listen: SocketAddr,

    /// Where the database, the queue and the compiled components are kept
    #[arg(long, env = "WASMILL_DATA", default_value = ".wasmill", value_name = "DIR")]
    pub(crate) data: PathBuf,

    /// How long ended executions are kept
    #[arg(long, env = "WASMILL_RETENTION", default_value = "7d", value_name = "DURATION")]
    pub(crate) retention: Span,

    /// A network beyond the public internet that functions may send HTTP requests to, where their
    /// allowed_hosts let them, such as 127.0.0.0/8; may be given several times
    #[arg(long, env = "WASMILL_ALLOW_NETWORK", value_delimiter = ',', value_name = "CIDR")]
    pub(crate) allow_network: Vec<IpNet>,

    /// A host name that functions may have HTTP triggers under, or '*.' and a name for all below
    /// it; may be given several times
    #[arg(long, env = "WASMILL_HOSTNAME", value_delimiter = ',', value_name = "NAME")]
    pub(crate) hostname: Vec<HostnamePattern>,

    /// The listener's certificate, in PEM: it speaks HTTPS then. Read again when the file changes
    #[arg(long, env = "WASMILL_TLS_CERTIFICATE", requires = "tls_key", value_name = "FILE")]
    pub(crate) tls_certificate: Option<PathBuf>,

    /// The certificate's private key, in PEM
    #[arg(long, env = "WASMILL_TLS_KEY", requires = "tls_certificate", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) wasi: Wasi,

    #[command(flatten)]
    pub(crate) compilation: Compilation,

    #[command(flatten)]
    pub(crate) artifacts: Artifacts,

    #[command(flatten)]
    pub(crate) schemas: SchemaFormats,

    /// Delete functions that this process deployed from the folder, once no manifest in it has
    /// their names any more
    #[arg(long, requires = "dir")]
    pub(crate) prune: bool,
}

#[derive(clap::Args)]
pub(crate) struct Role {
    /// The configuration file (TOML); each of its keys can be set by a variable too, such as
    /// WASMILL_HOST_GRACE for host.grace
    #[arg(long, env = "WASMILL_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    pub(crate) role: Role,

    /// Make an operator's API key and print it, if there is no key yet
    #[arg(long)]
    pub(crate) first_key: bool,
}

#[derive(clap::Args)]
pub(crate) struct Doctor {
    /// The configuration file of a pool; without it and without --data, what the variables name,
    /// else the folder .wasmill
    #[arg(long, env = "WASMILL_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The data folder of a `wasmill dev`, instead of a pool
    #[arg(long, env = "WASMILL_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Mark the broker as this installation's from now on, whatever it carries
    #[arg(long)]
    pub(crate) accept_broker: bool,
}

#[derive(clap::Args)]
pub(crate) struct Demo {
    /// The folder of the sample functions
    #[arg(long, default_value = "functions", value_name = "DIR")]
    pub(crate) functions: PathBuf,
}

/// What a function is for.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum KindName {
    /// It takes events
    Event,
    /// It answers HTTP requests
    Http,
    /// It is a program: standard input, standard output, exit status
    Command,
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::Event => Self::Event,
            KindName::Http => Self::Http,
            KindName::Command => Self::Command,
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct New {
    /// The function's name
    #[arg(required_unless_present = "list")]
    pub(crate) name: Option<FunctionName>,

    /// The language to write it in
    #[arg(
        long,
        required_unless_present = "list",
        value_enum,
        hide_possible_values = true,
        value_name = "LANG"
    )]
    pub(crate) lang: Option<Language>,

    /// What it is for: event, http or command
    #[arg(long, value_enum, default_value_t = KindName::Event, hide_possible_values = true, value_name = "KIND")]
    pub(crate) kind: KindName,

    /// The folder to write, which must be empty; without it, the name
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// List the languages and what can be written in each
    #[arg(long, conflicts_with_all = ["name", "lang", "dir"])]
    pub(crate) list: bool,
}

#[derive(clap::Args)]
pub(crate) struct Build {
    /// The folder that holds wasmill.toml, or that file
    #[arg(default_value = ".", hide_default_value = true)]
    pub(crate) path: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct Embed {
    /// The folder; its handler.lua makes a function of kind event, its main.lua one of kind command
    pub(crate) folder: PathBuf,

    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct Test {
    /// The folder that holds wasmill.toml, or that file
    #[arg(default_value = ".", hide_default_value = true)]
    pub(crate) path: PathBuf,

    /// Run only these events: the names of their files without `.json`
    #[arg(long = "event", value_name = "NAME")]
    pub(crate) events: Vec<String>,

    /// Write down what comes of the events as what should come of them
    #[arg(long)]
    pub(crate) update: bool,

    /// Build first, even if the component is newer than its sources
    #[arg(long)]
    pub(crate) build: bool,

    /// Where compiled components are kept, in its folder `compiled`; `wasmill dev` uses the same
    /// one
    #[arg(long, env = "WASMILL_DATA", default_value = ".wasmill", value_name = "DIR")]
    pub(crate) data: PathBuf,

    #[command(flatten)]
    pub(crate) wasi: Wasi,

    #[command(flatten)]
    pub(crate) compilation: Compilation,

    #[command(flatten)]
    pub(crate) schemas: SchemaFormats,
}

#[derive(clap::Args)]
pub(crate) struct Check {
    /// A .wasm, or the folder of a function. Without a wasmill.toml beside it that names it,
    /// nothing is granted to it
    pub(crate) path: PathBuf,

    #[command(flatten)]
    pub(crate) wasi: Wasi,

    #[command(flatten)]
    pub(crate) compilation: Compilation,

    #[command(flatten)]
    pub(crate) artifacts: Artifacts,
}

#[derive(clap::Args)]
pub(crate) struct Deploy {
    /// The folder that holds wasmill.toml, or that file
    pub(crate) path: PathBuf,

    /// Build first, even if the component is newer than its sources
    #[arg(long)]
    pub(crate) build: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// An argument of a verb that is called as one for all verbs would be taken for both: a key of
    /// a bucket was sent as the API key.
    #[test]
    fn no_verb_has_an_argument_of_all_verbs() {
        fn look(command: &clap::Command, of_all: &[String]) {
            let id = |argument: &clap::Arg| argument.get_id().to_string();
            let (global, own): (Vec<_>, Vec<_>) =
                command.get_arguments().partition(|argument| argument.is_global_set());
            for argument in own.iter().chain(&global) {
                assert!(
                    !of_all.contains(&id(argument)),
                    "{} of {}",
                    id(argument),
                    command.get_name()
                );
            }
            let of_all: Vec<String> =
                of_all.iter().cloned().chain(global.into_iter().map(id)).collect();
            command.get_subcommands().for_each(|verb| look(verb, &of_all));
        }
        look(&Args::command(), &[]);
        Args::command().debug_assert();
    }
}
