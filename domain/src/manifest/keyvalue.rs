//! The table `[keyvalue]`: which buckets a function may open with `wasi:keyvalue`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketScope {
    /// The function's own: no other function sees it.
    Function,
    /// The tenant's: every function of the tenant that names it so shares it.
    Tenant,
}

impl fmt::Display for BucketScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Function => "function",
            Self::Tenant => "tenant",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Manifest, ManifestError};

    fn read(text: &str) -> Result<Manifest, ManifestError> {
        Manifest::from_toml(&format!("name = 'x'\n{text}"))
    }

    #[test]
    fn buckets_have_scopes() {
        let manifest = read("[keyvalue]\ndefault = 'function'\nshared_one = 'tenant'").unwrap();
        let buckets: Vec<_> =
            manifest.keyvalue.iter().flatten().map(|(name, scope)| (&**name, *scope)).collect();
        assert_eq!(
            buckets,
            [("default", BucketScope::Function), ("shared_one", BucketScope::Tenant)]
        );
        let json = serde_json::to_value(&manifest).unwrap();
        assert_eq!(
            json["keyvalue"],
            serde_json::json!({"default": "function", "shared_one": "tenant"})
        );
        assert_eq!(Manifest::from_json(json).unwrap(), manifest);
        // An empty table is one: toolchains import what nobody calls.
        assert_eq!(read("[keyvalue]").unwrap().keyvalue.map(|buckets| buckets.len()), Some(0));
        assert_eq!(read("").unwrap().keyvalue, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let said = |text: &str| read(text).unwrap_err().to_string();
        assert!(said("[keyvalue]\ndefault = 'mine'").contains("expected `function` or `tenant`"));
        assert!(said("[keyvalue]\n'a b' = 'tenant'").contains("is not a bucket's name"));
        let many: String = (0..17).map(|i| format!("b{i} = 'tenant'\n")).collect();
        assert_eq!(
            said(&format!("[keyvalue]\n{many}")),
            "keyvalue: a function names at most 16 buckets"
        );
    }
}
