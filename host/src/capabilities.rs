//! What functions may use of the installation, where their manifests grant it.

use std::fmt;
use std::sync::Arc;

use wasmill_secrets::{NoSecrets, SecretSource};

use crate::imports::keyvalue::access::KeyvalueStore;

/// What an engine has to offer to its functions beyond computing. The default has nothing of it.
#[derive(Clone)]
pub struct Capabilities {
    /// Opens the secrets that manifests name. Default: none can be opened.
    pub secrets: Arc<dyn SecretSource>,
    /// Keeps their buckets. Default: nothing can be kept.
    pub keyvalue: Option<KeyvalueStore>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { secrets: Arc::new(NoSecrets), keyvalue: None }
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capabilities").finish_non_exhaustive()
    }
}
