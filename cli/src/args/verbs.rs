//! The verbs that speak to a server's API, and what each of them takes.

use std::path::PathBuf;

use clap::Subcommand;
use wasmill_domain::units::Span;
use wasmill_domain::{
    BucketName, EventType, ExecutionId, FunctionName, HostnamePattern, KeyRole, Outcome,
    SecretName, State,
};

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
    /// Cancel an execution, whether it is delayed, queued, suspended or running
    Cancel(Operated),
    /// Hold an execution until it is resumed or cancelled; an attempt that runs is interrupted
    Suspend(Operated),
    /// Let a suspended execution go on; an attempt that was interrupted is made again
    Resume(Operated),
}

/// Which execution is moved, and why.
#[derive(clap::Args)]
pub(crate) struct Operated {
    /// Which
    pub(crate) id: ExecutionId,
    /// Why; `executions show` tells it from then on
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct ListExecutions {
    /// Of this function
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<FunctionName>,
    /// In this state: delayed, queued, running, suspended, succeeded, failed or cancelled
    #[arg(long)]
    pub(crate) state: Option<State>,
    /// Whose last attempt had this outcome: success, rejected, error, trap, out_of_fuel,
    /// out_of_memory, timed_out, …
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
        #[arg(value_name = "KEY")]
        entry: String,
    },
    /// Set a value
    Set {
        #[command(flatten)]
        bucket: WhichBucket,
        /// The key
        #[arg(value_name = "KEY")]
        entry: String,
        /// The value, or @FILE
        value: String,
    },
    /// Delete a key with its value
    Delete {
        #[command(flatten)]
        bucket: WhichBucket,
        /// The key
        #[arg(value_name = "KEY")]
        entry: String,
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
    /// Take a host name back; triggers under it do not answer any more, unless another grant covers
    /// it
    Revoke {
        /// As it was granted
        hostname: HostnamePattern,
    },
}

#[derive(Subcommand)]
pub(crate) enum DeadLetters {
    /// List the messages that no process could read, the newest first
    List {
        /// At most so many
        #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Write a message's bytes to a file, or to standard output
    Export {
        /// Its id, as `dead-letters list` shows it
        id: uuid::Uuid,
        /// The file
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Put a message in its queue again; the executions that failed by it wait again
    Redrive {
        /// Its id
        id: uuid::Uuid,
    },
    /// Delete a message; its executions stay as they are
    Delete {
        /// Its id
        id: uuid::Uuid,
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
