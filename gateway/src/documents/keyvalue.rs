//! What functions keep.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wasmill_domain::FunctionName;
use wasmill_store::BucketSummary;

/// Which buckets to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListBuckets {
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
    /// How many at most: 1 to 500. Default: 500.
    #[param(minimum = 1, maximum = 500, default = 500)]
    pub(crate) limit: Option<u32>,
}

/// A page of buckets.
#[derive(Serialize, ToSchema)]
pub(crate) struct BucketPage {
    /// The buckets, by name, a shared one before those of functions.
    pub(crate) buckets: Vec<BucketDocument>,
    /// The cursor of the next page; null on the last.
    #[schema(required = true)]
    pub(crate) next: Option<String>,
}

/// A bucket.
#[derive(Serialize, ToSchema)]
#[schema(as = Bucket)]
pub(crate) struct BucketDocument {
    /// Its name.
    name: String,
    /// The function whose own it is; null for one that the tenant's functions share.
    #[schema(required = true)]
    function: Option<String>,
    /// How many keys it has.
    keys: u64,
    /// Keys and values together, in bytes.
    bytes: u64,
}

/// Which keys to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListBucketKeys {
    /// The function whose own bucket it is. Default: the bucket that the tenant's functions share.
    #[param(value_type = Option<String>)]
    pub(crate) function: Option<FunctionName>,
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
    /// How many at most: 1 to 500. Default: 500.
    #[param(minimum = 1, maximum = 500, default = 500)]
    pub(crate) limit: Option<u32>,
}

/// A page of a bucket's keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct BucketKeyPage {
    /// The keys, in the order in which they were set first.
    pub(crate) keys: Vec<String>,
    /// The cursor of the next page; null on the last.
    #[schema(required = true)]
    pub(crate) next: Option<String>,
}

/// Which value.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichValue {
    /// The key: 1 to 512 bytes.
    pub(crate) key: String,
    /// The function whose own bucket it is. Default: the bucket that the tenant's functions share.
    #[param(value_type = Option<String>)]
    pub(crate) function: Option<FunctionName>,
}

impl From<BucketSummary> for BucketDocument {
    fn from(summary: BucketSummary) -> Self {
        let BucketSummary { bucket, keys, bytes } = summary;
        Self {
            name: bucket.name.to_string(),
            function: bucket.function.map(|name| name.to_string()),
            keys,
            bytes,
        }
    }
}
