//! `wasmill gateway`, `host`, `scheduler` and `migrate`: the roles of a pool, each a process of its
//! own.

use serde_json::json;
use wasmill_domain::ApiKey;

use crate::args::{Migrate, Role};
use crate::config::{self, Config};
use crate::exit::Result;
use crate::output::{self, line};
use crate::wiring::pool;
use crate::wiring::shutdown_on_signal;

pub(crate) async fn gateway(role: Role) -> Result {
    pool::gateway(configuration(&role)?, shutdown_on_signal()?).await
}

pub(crate) async fn host(role: Role) -> Result {
    pool::host(configuration(&role)?, shutdown_on_signal()?).await
}

pub(crate) async fn scheduler(role: Role) -> Result {
    pool::scheduler(configuration(&role)?, shutdown_on_signal()?).await
}

pub(crate) async fn migrate(args: Migrate, json: bool) -> Result {
    let key = pool::migrate(&configuration(&args.role)?, args.first_key).await?;
    if json {
        output::json(&json!({"up_to_date": true, "first_key": key.as_ref().map(ApiKey::reveal)}));
        return Ok(());
    }
    line("the database is up to date");
    match key {
        Some(key) => line(format!("API key  {}  (an operator's; not shown again)", key.reveal())),
        None if args.first_key => line("there are API keys already; none was made"),
        None => {}
    }
    Ok(())
}

fn configuration(role: &Role) -> anyhow::Result<Config> {
    config::load(role.config.as_deref(), std::env::vars())
}
