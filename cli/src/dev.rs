//! `wasmill dev`: the whole system in one process, and a watched folder of functions.

mod watch;

use tokio_util::sync::CancellationToken;
use wasmill_schema::SchemaLimits;

use crate::args::{Dev, Remote};
use crate::client::Client;
use crate::exit::Result;
use crate::output::note;
use crate::wiring::embedded::{Options, System};
use crate::wiring::shutdown_on_signal;

pub(crate) async fn run(args: Dev, remote: Remote) -> Result {
    let shutdown = shutdown_on_signal()?;
    for hostname in &args.hostname {
        hostname.check_claimable().map_err(|why| {
            anyhow::anyhow!("--hostname {hostname}: no function can have it: {why}")
        })?;
    }
    let options = Options {
        listen: args.listen,
        data: args.data.clone(),
        retention: args.retention.0,
        allowed_networks: args.allow_network,
        hostnames: args.hostname,
        tls: args.tls_certificate.clone().zip(args.tls_key),
        wasi_0_3: args.wasi.wasi_0_3,
        max_artifact_bytes: args.artifacts.max_artifact_bytes,
        compilation: args.compilation,
        schemas: SchemaLimits { formats: args.schemas.formats, ..SchemaLimits::default() },
    };
    let system = System::open(&options).await?;
    let url = system.url()?;
    let first_key = system.first_key().await?;
    note(format!("wasmill {} is at {url}", env!("CARGO_PKG_VERSION")));
    note(format!("  events    POST {url}/v1/events/TYPE"));
    note(format!("  API       {url}/openapi.json"));
    note(format!("  data      {} (SQLite, embedded queue)", args.data.display()));
    if let Some(key) = &first_key {
        note(format!("  API key   {}  (an operator's; not shown again)", key.reveal()));
    }
    // A key that was given says only whose functions they are: it may be another server's.
    let tenant = remote.tenant.clone().or_else(|| system.tenant_of(remote.key.as_deref()?));
    let watcher = args.dir.map(|dir| {
        note(format!("  watching  {}", dir.display()));
        // A certificate of one's own vouches for itself.
        let ca_file = remote.ca_file.clone().or(args.tls_certificate);
        let remote = Remote { url, key: Some(system.own_key()), ca_file, tenant, ..remote };
        let options = watch::Options {
            dir,
            prune: args.prune,
            max_artifact_bytes: args.artifacts.max_artifact_bytes,
        };
        Client::new(remote).map(|client| watch::Watcher::new(options, client, system.engine()))
    });
    note("stop with Ctrl-C; a second Ctrl-C stops at once");
    let watching = watcher.transpose()?.map(|watcher| tokio::spawn(watcher.run(shutdown.clone())));
    let served = system.run(shutdown.clone()).await;
    stop_watching(watching, &shutdown).await;
    served
}

async fn stop_watching(
    watching: Option<tokio::task::JoinHandle<()>>,
    shutdown: &CancellationToken,
) {
    shutdown.cancel();
    if let Some(task) = watching
        && let Err(error) = task.await
    {
        tracing::error!(%error, "the watcher ended badly");
    }
}
