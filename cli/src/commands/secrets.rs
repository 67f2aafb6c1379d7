//! `wasmill secrets …`.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use reqwest::Method;
use wasmill_domain::SecretName;
use wasmill_domain::secret::LONGEST_SECRET;
use wasmill_secrets::Keyring;

use crate::args::{Remote, Secrets};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::output::{self, cell};

pub(crate) async fn run(verb: Secrets, remote: Remote) -> Result {
    // The one verb that no server has to do with.
    if let Secrets::Keygen { file } = &verb {
        return keygen(file, remote.json);
    }
    let client = Client::new(remote)?;
    match verb {
        Secrets::List => list(&client).await,
        Secrets::Set { name, value_file } => set(&client, &name, value_file.as_deref()).await,
        Secrets::Delete { name } => {
            client.send(Request::new(Method::DELETE, &["v1", "secrets", &name])).await?;
            if !client.prints_json() {
                output::line(format!(
                    "secret {name} is deleted; functions that name it fail from now on"
                ));
            }
            Ok(())
        }
        Secrets::Keygen { .. } => Ok(()),
    }
}

async fn list(client: &Client) -> Result {
    let answer = client.get(&["v1", "secrets"]).await?;
    if client.prints_json() {
        output::json(&answer);
        return Ok(());
    }
    let secrets = answer.get("secrets").items().into_iter();
    let columns = ["name", "version", "sealing_key", "created_at", "updated_at"];
    let rows: Vec<Vec<String>> =
        secrets.map(|s| columns.map(|column| cell(s.get(column))).to_vec()).collect();
    output::table(&["NAME", "VERSION", "SEALED BY", "CREATED", "UPDATED"], &rows);
    Ok(())
}

async fn set(client: &Client, name: &SecretName, file: Option<&Path>) -> Result {
    let value = match file {
        Some(file) => std::fs::read(file).with_context(|| format!("'{}'", file.display()))?,
        None => typed(name)?,
    };
    if value.is_empty() {
        return Err(anyhow!("the value is empty; nothing was set").into());
    }
    if value.len() > LONGEST_SECRET {
        return Err(anyhow!(
            "the value has {} bytes, and a secret has at most {LONGEST_SECRET}",
            value.len()
        )
        .into());
    }
    let request =
        Request::new(Method::PUT, &["v1", "secrets", name]).body("application/octet-stream", value);
    let answer = client.send(request).await?.body;
    if client.prints_json() {
        output::json(&answer);
    } else {
        output::line(format!("secret {name} is set (version {})", cell(answer.get("version"))));
    }
    Ok(())
}

/// The value from standard input: typed unseen, or what is piped in without the line end that
/// `echo` adds.
fn typed(name: &SecretName) -> Result<Vec<u8>> {
    if std::io::stdin().is_terminal() {
        let value = rpassword::prompt_password(format!("value of {name} (not shown): "));
        return Ok(value.context("the value cannot be read")?.into_bytes());
    }
    let mut value = Vec::new();
    // One more than is taken, so that a longer value is noticed.
    let most = LONGEST_SECRET as u64 + 3;
    std::io::stdin()
        .lock()
        .take(most)
        .read_to_end(&mut value)
        .context("the value cannot be read")?;
    let end =
        value.strip_suffix(b"\n").map(|value| value.strip_suffix(b"\r").unwrap_or(value).len());
    value.truncate(end.unwrap_or(value.len()));
    Ok(value)
}

fn keygen(file: &Path, json: bool) -> Result {
    let id = Keyring::create(file).map_err(anyhow::Error::from)?;
    if json {
        output::json(&serde_json::json!({"file": file, "sealing_key": id}));
    } else {
        output::line(format!(
            "'{}' has the new key {id}; keep a copy: without it, secrets are lost",
            file.display()
        ));
        output::line("gateways and hosts take it by secrets.key_file, or WASMILL_SECRETS_KEY_FILE");
    }
    Ok(())
}
