//! For tests, of this crate and of others: where the RabbitMQ for tests is, a virtual host of a
//! test's own on it, a whole RabbitMQ of a test's own that may be stopped and killed, and a proxy
//! that loses or stalls connections.

// Whoever calls these is a test, which fails by panicking.
#![allow(clippy::unwrap_used)]

mod node;
mod proxy;

use std::path::Path;
use std::process::Command;

use lapin::uri::AMQPUri;
use uuid::Uuid;

pub use self::node::Node;
pub use self::proxy::Proxy;

/// The URL of the RabbitMQ for tests: `AMQP_URL`, or the one on this machine.
pub fn address() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".into())
}

/// A virtual host of a test's own on the RabbitMQ for tests. It is deleted with this, with all
/// queues and connections.
///
/// AMQP cannot make virtual hosts: `rabbitmqctl` does, which must be there and may be run, so
/// RabbitMQ must be on this machine. Tests that must do with any RabbitMQ take a
/// [`queue_prefix`](super::RabbitSettings::queue_prefix) of their own instead.
pub struct Vhost {
    name: String,
    url: String,
}

impl Vhost {
    /// Makes one. Blocks for some seconds, as `rabbitmqctl` is slow.
    ///
    /// # Panics
    /// Where the RabbitMQ for tests is on another machine, or `rabbitmqctl` does not do it.
    pub fn make() -> Self {
        let base = address();
        let uri: AMQPUri =
            base.parse().unwrap_or_else(|error| panic!("AMQP_URL is not an address: {error}"));
        let host = &uri.authority.host;
        assert!(
            ["127.0.0.1", "localhost"].contains(&host.as_str()),
            "this test needs a virtual host of its own, which rabbitmqctl cannot make on {host}: have AMQP_URL name a \
             RabbitMQ on this machine"
        );
        let name = format!("wasmill-test-{}", Uuid::new_v4());
        let end = base.find("://").map_or(0, |at| at + 3);
        let authority = base[end..].split(['/', '?']).next().unwrap_or_default();
        let url = format!("{}{authority}/{name}", &base[..end]);
        control(&["add_vhost", &name]);
        let vhost = Self { name, url };
        control(&[
            "set_permissions",
            "-p",
            &vhost.name,
            &uri.authority.userinfo.username,
            ".*",
            ".*",
            ".*",
        ]);
        vhost
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        // Where it fails, the test has failed of that before.
        let _ = run(&["delete_vhost", &self.name]);
    }
}

fn control(arguments: &[&str]) {
    run(arguments).unwrap_or_else(|error| panic!("rabbitmqctl {}: {error}", arguments.join(" ")));
}

/// Runs the `rabbitmqctl` of the RabbitMQ that is installed.
fn run(arguments: &[&str]) -> Result<(), String> {
    let beside = node::scripts().map(|scripts| scripts.join("rabbitmqctl"));
    // The one in the path may be a wrapper that knows which user the server is.
    let programs = [Some(Path::new("rabbitmqctl")), beside.as_deref()];
    let mut missing = "it is not installed".to_owned();
    for program in programs.into_iter().flatten() {
        match Command::new(program).args(["--quiet"]).args(arguments).output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => missing = error.to_string(),
        }
    }
    Err(missing)
}
