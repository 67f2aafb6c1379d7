//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use ipnet::IpNet;
use wasmill_domain::units::Span;
use wasmill_domain::{EventType, ExecutionId, FunctionName, KeyRole, Outcome, State, TenantName};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it was tried and did not work
  2  the command line is wrong
  3  what was named does not exist
  4  the server cannot be reached or is not ready
  5  the function ran and did not succeed (invoke, demo)
  6  an API key is missing, unknown or not allowed to do this

Start here:
  wasmill dev functions/                 the whole system, watching a folder of functions
  wasmill demo                           the same, once, with the sample functions and events";

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
    /// Deploy the function in a folder
    Deploy(Deploy),
    /// List, show, roll back and delete functions
    #[command(subcommand)]
    Functions(Functions),
    /// List, show, set and delete the JSON Schemas of event types
    #[command(subcommand)]
    Schemas(Schemas),
    /// List and show executions
    #[command(subcommand)]
    Executions(Executions),
    /// Show the log of an execution
    Logs(Logs),
    /// Run a function on one event and wait for its result
    Invoke(Invoke),
    /// Tell whether the gateway, host or scheduler at --url can do its work; exit code 4 if it cannot
    Ready,
    /// Create, list and delete API keys
    #[command(subcommand)]
    Keys(Keys),
}

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
pub(crate) struct Demo {
    /// The folder of the sample functions
    #[arg(long, default_value = "functions", value_name = "DIR")]
    pub(crate) functions: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct Deploy {
    /// The folder that holds wasmill.toml, or that file
    pub(crate) path: PathBuf,
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
