//! PostgreSQL and RabbitMQ for pools: those of this machine, with a schema and queues apart, or
//! servers of a test's own.

use std::path::Path;
use std::process::Command;

use uuid::Uuid;
use wasmill_broker::rabbitmq::testing::{self, Node, Proxy as RabbitProxy};
use wasmill_broker::rabbitmq::{RabbitBroker, RabbitSettings};
use wasmill_broker::{QueueName, Queues as _};
use wasmill_domain::TenantName;
use wasmill_store::postgres::testing::{
    Proxy as PostgresProxy, Schema, Server, address_of, url_at,
};

use super::pool::Backends;
use super::{root, wasmill, wasmill_of};

/// The servers of this machine. The test's schema and queues are taken away when this is dropped.
pub(crate) struct SharedBackends {
    schema: Schema,
    backends: Backends,
}

impl SharedBackends {
    /// With a schema that is ready for the roles.
    pub(crate) async fn new() -> Self {
        let shared = Self::without_schema().await;
        shared.backends.migrate();
        shared
    }

    /// With nothing in the database yet.
    pub(crate) async fn without_schema() -> Self {
        let schema = Schema::make().await;
        let backends = Backends {
            database: schema.url(),
            broker: testing::address(),
            prefix: format!("wasmill-test.{}.", Uuid::new_v4()),
        };
        Self { schema, backends }
    }

    /// With what a dump has, whose schema is called `name` there.
    pub(crate) async fn of_dump(dump: &str, name: &str) -> Self {
        let shared = Self::without_schema().await;
        let statements = dump.replace(&format!("CREATE SCHEMA {name};"), "");
        shared.schema.load(&statements.replace(name, shared.schema.name())).await;
        shared
    }

    pub(crate) fn backends(&self) -> &Backends {
        &self.backends
    }
}

impl Drop for SharedBackends {
    fn drop(&mut self) {
        let backends = self.backends.clone();
        let delete = async move {
            let broker = backends.broker_client();
            for queue in sample_queues() {
                broker.delete(&queue).await.expect("the queue can be deleted");
            }
            broker.close().await;
        };
        // The test's own runtime is busy with this very drop. A test that has failed already says
        // why itself.
        std::thread::scope(|scope| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            scope.spawn(move || runtime.block_on(delete)).join().ok();
        });
    }
}

impl Backends {
    /// Brings the database's schema up to date, as operators do before they start the roles.
    pub(crate) fn migrate(&self) {
        self.migrate_with(wasmill());
    }

    /// The same by another binary, such as another release's.
    pub(crate) fn migrate_by(&self, binary: &Path) {
        self.migrate_with(wasmill_of(binary));
    }

    fn migrate_with(&self, mut wasmill: Command) {
        let migrated = wasmill.arg("migrate").env("WASMILL_DATABASE_URL", &self.database).output();
        let migrated = migrated.expect("the binary runs");
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    }

    /// A client of the broker that sees the pool's queues.
    pub(crate) fn broker_client(&self) -> RabbitBroker {
        let settings =
            RabbitSettings { queue_prefix: self.prefix.clone(), ..RabbitSettings::default() };
        RabbitBroker::connect(&self.broker, settings).expect("the URL is right")
    }
}

/// The queue of a function of the default tenant.
pub(crate) fn queue_of(function: &str) -> QueueName {
    QueueName::of_function(&TenantName::default(), &function.parse().expect("a function's name"))
}

fn sample_queues() -> impl Iterator<Item = QueueName> {
    let folders = std::fs::read_dir(root().join("functions")).expect("the samples are there");
    let names = folders.filter_map(|folder| folder.ok()?.file_name().into_string().ok());
    let queues = names.filter_map(|name| {
        Some(QueueName::of_function(&TenantName::default(), &name.parse().ok()?))
    });
    queues.chain([QueueName::installation()])
}

/// Servers of the test's own, which it may stop.
pub(crate) struct Private {
    pub(crate) postgres: Server,
    pub(crate) rabbit: Node,
}

impl Private {
    /// Starts both, with a schema that is ready for the roles.
    pub(crate) fn start() -> Self {
        let private = Self { postgres: Server::start(&[]), rabbit: Node::start("", |_| {}) };
        private.backends().migrate();
        private
    }

    /// The pool's way to both through proxies, which can fall silent.
    pub(crate) async fn behind_proxies(&self) -> (Backends, PostgresProxy, RabbitProxy) {
        let direct = self.backends();
        let to_postgres = PostgresProxy::before(address_of(&direct.database)).await;
        let to_rabbit = RabbitProxy::to(&direct.broker).await;
        let backends = Backends {
            database: url_at(&to_postgres.address(), &direct.database),
            broker: to_rabbit.instead_of(&direct.broker),
            ..direct
        };
        (backends, to_postgres, to_rabbit)
    }

    /// The pool's way to both.
    pub(crate) fn backends(&self) -> Backends {
        Backends {
            database: self.postgres.url(),
            broker: self.rabbit.address(),
            prefix: String::new(),
        }
    }
}
