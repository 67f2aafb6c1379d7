//! `wasmill ready`.

use crate::args::Remote;
use crate::client::Client;
use crate::exit::Result;
use crate::output::{self, line};

pub(crate) async fn run(remote: Remote) -> Result {
    let client = Client::new(remote)?;
    let document = client.get(&["readyz"]).await?;
    if client.prints_json() {
        output::json(&document);
    } else {
        line(document.get("status").string().unwrap_or_else(|| "ok".into()));
    }
    Ok(())
}
