//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use ipnet::IpNet;
use wasmill_domain::manifest::Kind;
use wasmill_domain::units::Span;
use wasmill_domain::{
    BucketName, EventType, ExecutionId, FunctionName, HostnamePattern, KeyRole, Outcome, SecretName, State, TenantName,
};

use crate::templates::Language;

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

    /// What to log on standard error: a level, or a filter such as `warn,wasmill_host=debug`. Default: warn; info for gateway,
    /// host and scheduler
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
    #[arg(long, global = true, env = "WASMILL_URL", default_value = "http://127.0.0.1:7070", value_name = "URL")]
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
    /// Bring a PostgreSQL database up to date; every role does so too when it starts
    Migrate(Migrate),
    /// Say what a component is, what it imports, and whether it could be deployed
    Check(Check),
    /// Write a new function's project
    New(New),
    /// Build the function in a folder by its manifest's command
    Build(Build),
    /// Run the function in a folder on its event files, without a server, and compare what comes of them with what should
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
    /// List and show executions
    #[command(subcommand)]
    Executions(Executions),
    /// Show the log of an execution
    Logs(Logs),
    /// Run a function on one event and wait for its result
    Invoke(Invoke),
    /// Tell whether the gateway, host or scheduler at --url can do its work; exit code 4 if it cannot
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
    /// Deploy every function below this folder, and deploy it again when its component, manifest or schema changes
    pub(crate) dir: Option<PathBuf>,

    /// Where to listen. Beyond loopback, every request needs an API key; the first one is printed at the first start
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

    /// A network beyond the public internet that functions may send HTTP requests to, where their allowed_hosts let them, such
    /// as 127.0.0.0/8; may be given several times
    #[arg(long, env = "WASMILL_ALLOW_NETWORK", value_delimiter = ',', value_name = "CIDR")]
    pub(crate) allow_network: Vec<IpNet>,

    /// A host name that functions may have HTTP triggers under, or '*.' and a name for all below it; may be given several times
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
}

/// Which WASI functions may be made for.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Wasi {
    /// Run components for WASI 0.3 as well. What there is of it is experimental and gets no security fixes
    #[arg(long, env = "WASMILL_WASI_0_3")]
    pub(crate) wasi_0_3: bool,
}

#[derive(clap::Args)]
pub(crate) struct Role {
    /// The configuration file (TOML); each of its keys can be set by a variable too, such as WASMILL_HOST_GRACE for host.grace
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
    #[arg(long, required_unless_present = "list", value_enum, hide_possible_values = true, value_name = "LANG")]
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

    /// Where compiled components are kept, in its folder `compiled`; `wasmill dev` uses the same one
    #[arg(long, env = "WASMILL_DATA", default_value = ".wasmill", value_name = "DIR")]
    pub(crate) data: PathBuf,

    #[command(flatten)]
    pub(crate) wasi: Wasi,
}

#[derive(clap::Args)]
pub(crate) struct Check {
    /// A .wasm, or the folder of a function. Without a wasmill.toml beside it that names it, nothing is granted to it
    pub(crate) path: PathBuf,

    #[command(flatten)]
    pub(crate) wasi: Wasi,
}

#[derive(clap::Args)]
pub(crate) struct Deploy {
    /// The folder that holds wasmill.toml, or that file
    pub(crate) path: PathBuf,

    /// Build first, even if the component is newer than its sources
    #[arg(long)]
    pub(crate) build: bool,
}

#[derive(Subcommand)]
pub(crate) enum Functions {
    /// List the tenant's functions
    List,
    /// Show a function: its versions, triggers, limits and backlog
    Show {
        /// Which
        name: FunctionName,
    },
    /// Make an older version current again
    Rollback {
        /// Which
        name: FunctionName,
        /// The version's number; without it, the one before the current
        #[arg(long, value_name = "VERSION")]
        to: Option<u32>,
    },
    /// Delete a function with its versions; its executions stay
    Delete {
        /// Which
        name: FunctionName,
    },
}

#[derive(Subcommand)]
pub(crate) enum Schemas {
    /// List the event types that have a schema
    List,
    /// Show the schema of an event type
    Show {
        /// Which
        event_type: EventType,
    },
    /// Set the schema of an event type; events of this type are checked against it from then on
    Put {
        /// Which
        event_type: EventType,
        /// The JSON Schema's file
        file: PathBuf,
    },
    /// Delete the schema of an event type
    Delete {
        /// Which
        event_type: EventType,
    },
}

#[derive(Subcommand)]
pub(crate) enum Secrets {
    /// Set a secret; its value comes from standard input, or is asked for without being shown
    Set {
        /// Which
        name: SecretName,
        /// The value's file, taken byte for byte
        #[arg(long, value_name = "FILE")]
        value_file: Option<PathBuf>,
    },
    /// List the tenant's secrets, without their values
    List,
    /// Delete a secret; functions that name it fail from then on
    Delete {
        /// Which
        name: SecretName,
    },
    /// Make a file with a new operator's key, which seals secrets
    Keygen {
        /// The new file; none that exists is overwritten
        file: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum Executions {
    /// List executions, the newest first
    List(ListExecutions),
    /// Show an execution: its event, result and attempts
    Show {
        /// Which
        id: ExecutionId,
    },
}

#[derive(clap::Args)]
pub(crate) struct ListExecutions {
    /// Of this function
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<FunctionName>,
    /// In this state: scheduled, queued, running, suspended, succeeded, failed or cancelled
    #[arg(long)]
    pub(crate) state: Option<State>,
    /// Whose last attempt had this outcome: success, rejected, error, trap, out_of_fuel, out_of_memory, timed_out, …
    #[arg(long)]
    pub(crate) outcome: Option<Outcome>,
    /// Of this event type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<EventType>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}

#[derive(clap::Args)]
pub(crate) struct Logs {
    /// The execution
    pub(crate) id: ExecutionId,
}

#[derive(clap::Args)]
pub(crate) struct Invoke {
    /// The function
    pub(crate) name: FunctionName,
    /// The event's data as JSON text, or @FILE: a CloudEvent in the JSON format, or the data itself
    #[arg(long, value_name = "JSON|@FILE")]
    pub(crate) data: Option<String>,
    /// The event's type, where the data is not a CloudEvent
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<EventType>,
    /// The data's media type; without it, by the file's name, else JSON
    #[arg(long, value_name = "MEDIA TYPE")]
    pub(crate) content_type: Option<String>,
    /// How long to wait for the result
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub(crate) wait: Span,
}

#[derive(Subcommand)]
pub(crate) enum Keyvalue {
    /// List the tenant's buckets
    Buckets,
    /// List the keys of a bucket
    List {
        #[command(flatten)]
        bucket: WhichBucket,
    },
    /// Print a value's bytes
    Get {
        #[command(flatten)]
        bucket: WhichBucket,
        /// The key
        key: String,
    },
    /// Set a value
    Set {
        #[command(flatten)]
        bucket: WhichBucket,
        /// The key
        key: String,
        /// The value, or @FILE
        value: String,
    },
    /// Delete a key with its value
    Delete {
        #[command(flatten)]
        bucket: WhichBucket,
        /// The key
        key: String,
    },
}

/// Which bucket is meant.
#[derive(clap::Args)]
pub(crate) struct WhichBucket {
    /// The bucket
    pub(crate) bucket: BucketName,
    /// The function whose own bucket it is; without it, the one that the tenant's functions share
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<FunctionName>,
}

#[derive(Subcommand)]
pub(crate) enum Hostnames {
    /// List the host names that are granted, with an operator's key those of every tenant
    List,
    /// Let the tenant's functions have HTTP triggers under a host name
    Grant {
        /// A name, or '*.' and a name: every name below it
        hostname: HostnamePattern,
    },
    /// Take a host name back; triggers under it do not answer any more
    Revoke {
        /// As it was granted
        hostname: HostnamePattern,
    },
}

#[derive(Subcommand)]
pub(crate) enum Keys {
    /// List the API keys
    List,
    /// Create an API key and print it, this once
    Create {
        /// A note of what it is for
        label: String,
        /// operator: everything; tenant: one tenant
        #[arg(long, default_value = "tenant")]
        role: KeyRole,
    },
    /// Delete an API key
    Delete {
        /// Its id, as `keys list` shows it
        id: uuid::Uuid,
    },
}
