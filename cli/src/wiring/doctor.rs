//! The backends as `wasmill doctor` opens them: nothing is brought up to date, and nothing is
//! waited for.

use std::path::Path;
use std::sync::Arc;

use wasmill_broker::Control as _;
use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings, OpenError};
use wasmill_broker::rabbitmq::RabbitBroker;
use wasmill_http::ServerSettings;
use wasmill_secrets::Keyring;
use wasmill_store::SchemaMode;
use wasmill_store::postgres::PostgresStore;
use wasmill_store::sqlite::{SqliteSettings, SqliteStore};

use super::consistency::{InspectedBroker, InspectedStore};
use super::{pool, secrets};
use crate::config::Config;

/// An installation, as far as it can be opened. What cannot says why.
pub(crate) struct Opened {
    /// What is looked at.
    pub(crate) name: String,
    pub(crate) store: Result<InspectedStore, String>,
    /// What is wrong with artifacts' files; nothing where they are in the database.
    pub(crate) lost_artifacts: Option<Result<Vec<String>, String>>,
    pub(crate) broker: Result<InspectedBroker, Closed>,
    pub(crate) keyring: Result<Option<Arc<Keyring>>, String>,
    /// How many connections its gateway takes.
    pub(crate) connections: usize,
}

/// Why a broker is not looked at.
pub(crate) enum Closed {
    /// A process that runs has it, which is as it should be.
    InUse,
    /// It does not work.
    Failed(String),
}

/// The PostgreSQL and RabbitMQ that `config` names.
pub(crate) async fn open_pool(config: &Config) -> Opened {
    let store = match &config.database.url {
        None => Err(pool::NO_DATABASE.to_owned()),
        Some(url) => {
            let mut settings = pool::postgres_settings(config);
            settings.schema = SchemaMode::Inspect;
            let connected = PostgresStore::connect(url, settings).await;
            connected.map(|store| InspectedStore::of(&Arc::new(store))).map_err(|e| e.to_string())
        }
    };
    let broker = match &config.broker.url {
        None => Err("broker.url is missing: set it in the file, or AMQP_URL".to_owned()),
        Some(url) => match RabbitBroker::connect(url, pool::rabbit_settings(config, "doctor")) {
            Ok(broker) => broker
                .ping()
                .await
                .map(|()| InspectedBroker::of(&Arc::new(broker)))
                .map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        },
    };
    Opened {
        name: "the pool of PostgreSQL and RabbitMQ".into(),
        store,
        lost_artifacts: None,
        broker: broker.map_err(Closed::Failed),
        keyring: secrets::keyring(config.secrets.key_file.as_deref()).map_err(|e| format!("{e:#}")),
        connections: config.gateway.max_connections,
    }
}

/// The data folder of a `wasmill dev`.
pub(crate) async fn open_data(data: &Path) -> Opened {
    let settings = SqliteSettings { schema: SchemaMode::Inspect, ..SqliteSettings::default() };
    let store = SqliteStore::open(&data.join("wasmill.sqlite"), settings).await;
    let lost_artifacts = match &store {
        Ok(store) => Some(store.lost_artifacts().await.map_err(|e| e.to_string())),
        Err(_) => None,
    };
    let queue = data.join("queue");
    let broker = if queue.is_dir() {
        match EmbeddedBroker::open(&queue, EmbeddedSettings::default()) {
            Ok(broker) => Ok(InspectedBroker::of(&Arc::new(broker))),
            Err(OpenError::InUse { .. }) => Err(Closed::InUse),
            Err(error) => Err(Closed::Failed(error.to_string())),
        }
    } else {
        Err(Closed::Failed(format!("there is no folder '{}'", queue.display())))
    };
    let key_file = data.join("secrets.key");
    let key_file = key_file.exists().then_some(key_file.as_path());
    Opened {
        name: format!("the data folder '{}'", data.display()),
        store: store.map(|store| InspectedStore::of(&Arc::new(store))).map_err(|e| e.to_string()),
        lost_artifacts,
        broker,
        keyring: secrets::keyring(key_file).map_err(|e| format!("{e:#}")),
        connections: ServerSettings::default().max_connections,
    }
}
