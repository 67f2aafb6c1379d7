//! Counts the visits of pages and remembers their last visitors, in a bucket of `wasi:keyvalue`.
//!
//! `page.visited` counts a visit, `page.report` tells of all pages, `page.forgotten` forgets one. A
//! visit is counted when it is counted: when an attempt is made again, so is its count.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::exports::wasmill::function::handler::{Event, Failure, Guest, Output};
use crate::wasi::keyvalue::atomics::{Cas, CasError, increment, swap};
use crate::wasi::keyvalue::batch::{delete_many, get_many};
use crate::wasi::keyvalue::store::{Bucket, Error, open};
use crate::wasi::logging::logging::{Level, log};
use crate::wasmill::function::types::RetryAdvice;

wit_bindgen::generate!({ world: "samples:page-counter/page-counter", path: ["../../wit", "wit"], generate_all });

/// The bucket, as the manifest names it.
const BUCKET: &str = "visits";

/// What stands before a page's name in the key of its count.
const COUNT: &str = "count ";

/// The same of its last visitor.
const LAST: &str = "last ";

/// The data of a `page.visited` event.
#[derive(Deserialize)]
struct Visit {
    page: String,
    visitor: String,
}

/// The data of a `page.forgotten` event.
#[derive(Deserialize)]
struct Forgotten {
    page: String,
}

struct PageCounter;

impl Guest for PageCounter {
    fn handle(event: Event) -> Result<Output, Failure> {
        let data = event.data.unwrap_or_default();
        let bucket = open(BUCKET)?;
        let told = match event.type_.as_str() {
            "page.visited" => visited(&bucket, &read(&data)?)?,
            "page.report" => report(&bucket)?,
            "page.forgotten" => forget(&bucket, &read(&data)?)?,
            other => return Err(Failure::Reject(format!("there is nothing to do with '{other}'"))),
        };
        Ok(Output { content_type: None, data: told.to_string().into_bytes(), emit: Vec::new() })
    }
}

fn read<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(data).map_err(|error| Failure::Reject(error.to_string()))
}

fn visited(bucket: &Bucket, visit: &Visit) -> Result<Value, Failure> {
    let visits = increment(bucket, &format!("{COUNT}{}", visit.page), 1)?;
    let previous = remember(bucket, &format!("{LAST}{}", visit.page), &visit.visitor)?;
    log(Level::Info, &visit.page, &format!("visit {visits}"));
    Ok(json!({ "page": visit.page, "visits": visits, "previous": previous }))
}

/// Puts a visitor in the place of the last one, who is returned. Of two at once neither is left
/// out: one sees the other.
fn remember(bucket: &Bucket, key: &str, visitor: &str) -> Result<Option<String>, Failure> {
    let mut handle = Cas::new(bucket, key)?;
    loop {
        let previous = handle.current()?;
        match swap(handle, visitor.as_bytes()) {
            Ok(()) => return Ok(previous.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
            Err(CasError::CasFailed(latest)) => handle = latest,
            Err(CasError::StoreError(error)) => return Err(error.into()),
        }
    }
}

fn report(bucket: &Bucket) -> Result<Value, Failure> {
    let mut counts = Vec::new();
    let mut cursor = None;
    loop {
        let page = bucket.list_keys(cursor.as_deref())?;
        counts.extend(page.keys.into_iter().filter(|key| key.starts_with(COUNT)));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    let mut pages = serde_json::Map::new();
    for keys in counts.chunks(100) {
        for (key, visits) in get_many(bucket, keys)? {
            let visits =
                visits.and_then(|digits| String::from_utf8(digits).ok()?.parse::<i64>().ok());
            pages.insert(key[COUNT.len()..].to_owned(), json!(visits));
        }
    }
    Ok(json!({ "visits": pages }))
}

fn forget(bucket: &Bucket, forgotten: &Forgotten) -> Result<Value, Failure> {
    let count = format!("{COUNT}{}", forgotten.page);
    let known = bucket.exists(&count)?;
    delete_many(bucket, &[count, format!("{LAST}{}", forgotten.page)])?;
    Ok(json!({ "page": forgotten.page, "known": known }))
}

/// Where the manifest does not name the bucket, trying again does not help.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchStore => Self::Reject(format!("there is no bucket '{BUCKET}'")),
            Error::AccessDenied => {
                Self::Reject(format!("the bucket '{BUCKET}' is somebody else's"))
            }
            Error::Other(reason) => Self::Retry(RetryAdvice { reason, delay_ms: None }),
        }
    }
}

export!(PageCounter);
