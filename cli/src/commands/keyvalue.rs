//! `wasmill keyvalue …`.

use anyhow::Context as _;
use bytes::Bytes;
use reqwest::Method;
use serde::Serialize;
use serde_json::json;

use crate::args::{Keyvalue, Remote, WhichBucket};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::json::{Document, Json};
use crate::output::{self, bytes, cell, count, inline};

pub(crate) async fn run(verb: Keyvalue, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    match verb {
        Keyvalue::Buckets => buckets(&client).await,
        Keyvalue::List { bucket } => list(&client, &bucket).await,
        Keyvalue::Get { bucket, entry } => get(&client, &bucket, &entry).await,
        Keyvalue::Set { bucket, entry: key, value } => {
            let value = match value.strip_prefix('@') {
                Some(file) => {
                    Bytes::from(std::fs::read(file).with_context(|| format!("'{file}'"))?)
                }
                None => Bytes::from(value),
            };
            let request = about(Method::PUT, &bucket, &key).body("application/octet-stream", value);
            client.send(request).await?;
            tell(&client, format!("'{key}' is set"));
            Ok(())
        }
        Keyvalue::Delete { bucket, entry: key } => {
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

/// A list of buckets as the API has it.
#[derive(Serialize)]
struct Buckets {
    buckets: Vec<Document>,
}

/// A list of keys as the API has it.
#[derive(Serialize)]
struct Keys {
    keys: Vec<Document>,
}

async fn buckets(client: &Client) -> Result {
    let buckets = all(client, &["v1", "keyvalue"], None, "buckets").await?;
    if client.prints_json() {
        output::json(&Buckets { buckets });
        return Ok(());
    }
    let rows: Vec<Vec<String>> = buckets
        .iter()
        .map(|b| {
            let [name, function] = ["name", "function"].map(|column| cell(b.get(column)));
            vec![name, function, count(b.get("keys").as_u64()), bytes(b.get("bytes").as_u64())]
        })
        .collect();
    output::table(&["BUCKET", "FUNCTION", "KEYS", "SIZE"], &rows);
    Ok(())
}

async fn list(client: &Client, bucket: &WhichBucket) -> Result {
    let keys = all(client, &["v1", "keyvalue", &bucket.bucket], Some(bucket), "keys").await?;
    if client.prints_json() {
        output::json(&Keys { keys });
    } else {
        keys.iter().for_each(|key| output::line(inline(&key.json().string().unwrap_or_default())));
    }
    Ok(())
}

/// What all pages of a list hold.
async fn all(
    client: &Client,
    path: &[&str],
    bucket: Option<&WhichBucket>,
    list: &str,
) -> Result<Vec<Document>> {
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let function = bucket.and_then(|bucket| bucket.function.as_ref());
        let request = Request::get(path).query("function", function).query("cursor", cursor);
        let page = client.send(request).await?.body;
        items.extend(page.get(list).items().into_iter().map(Json::to_document));
        cursor = page.get("next").string();
        if cursor.is_none() {
            return Ok(items);
        }
    }
}

async fn get(client: &Client, bucket: &WhichBucket, key: &str) -> Result {
    let (_, value) = client.fetch(about(Method::GET, bucket, key)).await?;
    if client.prints_json() {
        output::json(
            &json!({ "key": key, "bytes": value.len(), "text": std::str::from_utf8(&value).ok() }),
        );
    } else {
        output::raw(&value);
    }
    Ok(())
}
