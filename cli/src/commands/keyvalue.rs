//! `wasmill keyvalue …`.

use anyhow::Context as _;
use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::{Keyvalue, Remote, WhichBucket};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::output::{self, bytes, cell, count};

pub(crate) async fn run(verb: Keyvalue, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    match verb {
        Keyvalue::Buckets => buckets(&client).await,
        Keyvalue::List { bucket } => list(&client, &bucket).await,
        Keyvalue::Get { bucket, key } => get(&client, &bucket, &key).await,
        Keyvalue::Set { bucket, key, value } => {
            let value = match value.strip_prefix('@') {
                Some(file) => Bytes::from(std::fs::read(file).with_context(|| format!("'{file}'"))?),
                None => Bytes::from(value),
            };
            let request = about(Method::PUT, &bucket, &key).body("application/octet-stream", value);
            client.send(request).await?;
            tell(&client, format!("'{key}' is set"));
            Ok(())
        }
        Keyvalue::Delete { bucket, key } => {
            client.send(about(Method::DELETE, &bucket, &key)).await?;
            tell(&client, format!("'{key}' is deleted"));
            Ok(())
        }
    }
}

fn tell(client: &Client, what: String) {
    if !client.prints_json() {
        output::line(what);
    }
}

/// A request about one value.
fn about<'a>(method: Method, bucket: &WhichBucket, key: &str) -> Request<'a> {
    let request = Request::new(method, &["v1", "keyvalue", &bucket.bucket, "value"]);
    request.query("key", Some(key)).query("function", bucket.function.as_ref())
}

async fn buckets(client: &Client) -> Result {
    let buckets = all(client, &["v1", "keyvalue"], None, "buckets").await?;
    if client.prints_json() {
        output::json(&json!({ "buckets": buckets }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = buckets
        .iter()
        .map(|b| vec![cell(&b["name"]), cell(&b["function"]), count(&b["keys"]), bytes(&b["bytes"])])
        .collect();
    output::table(&["BUCKET", "FUNCTION", "KEYS", "SIZE"], &rows);
    Ok(())
}

async fn list(client: &Client, bucket: &WhichBucket) -> Result {
    let keys = all(client, &["v1", "keyvalue", &bucket.bucket], Some(bucket), "keys").await?;
    if client.prints_json() {
        output::json(&json!({ "keys": keys }));
    } else {
        keys.iter().for_each(|key| output::line(key.as_str().unwrap_or_default()));
    }
    Ok(())
}

/// What all pages of a list hold.
async fn all(client: &Client, path: &[&str], bucket: Option<&WhichBucket>, list: &str) -> Result<Vec<Value>> {
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let function = bucket.and_then(|bucket| bucket.function.as_ref());
        let request = Request::get(path).query("function", function).query("cursor", cursor);
        let mut page = client.send(request).await?.body;
        if let Value::Array(mut more) = page[list].take() {
            items.append(&mut more);
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(items);
        }
    }
}

async fn get(client: &Client, bucket: &WhichBucket, key: &str) -> Result {
    let (_, value) = client.fetch(about(Method::GET, bucket, key)).await?;
    if client.prints_json() {
        output::json(&json!({ "key": key, "bytes": value.len(), "text": std::str::from_utf8(&value).ok() }));
    } else {
        output::raw(&value);
    }
    Ok(())
}
