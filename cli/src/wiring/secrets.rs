//! The operator's keys, and the store as what keeps secrets sealed: the one place where both are
//! known.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use tokio::runtime::Handle;
use wasmill_domain::{Revision, SealedSecret, SealingKeyId, SecretName, TenantName};
use wasmill_secrets::{
    Keyring, NoSecrets, SealedSecrets, SecretError, SecretSource, Unavailable, Vault, VaultSettings,
};
use wasmill_store::{RegistryWatch, Secrets, StoreError};

/// The keys in `file`, where the configuration names one.
pub(super) fn keyring(file: Option<&Path>) -> anyhow::Result<Option<Arc<Keyring>>> {
    let keyring = file.map(Keyring::read).transpose().context("secrets.key_file")?;
    Ok(keyring.map(Arc::new))
}

/// The keys of `wasmill dev`: those in `file`, which is made where there is none and nothing is
/// sealed yet.
///
/// # Errors
/// Where the file cannot be used, and where it is gone while `store` has secrets that its keys have
/// sealed: a new key in its place would open none of them.
pub(super) async fn own_keyring(store: &dyn Secrets, file: &Path) -> anyhow::Result<Arc<Keyring>> {
    if !file.exists() {
        let used = store.sealing_keys().await.context("the keys that secrets are sealed by")?;
        if !used.is_empty() {
            let count: u64 = used.iter().map(|used| used.secrets).sum();
            bail!(
                "the operator's key file '{0}' is gone, and {count} secret(s) in the database are sealed by its key ({1}): put \
                 the file back from a copy. Where it is lost for good, so are their values: `wasmill secrets keygen '{0}'` makes \
                 a new key, and every secret must be set again",
                file.display(),
                ids(used.iter().map(|used| &used.key)),
            );
        }
        Keyring::create(file)?;
    }
    Ok(Arc::new(Keyring::read(file)?))
}

/// A key that secrets are sealed by and this process cannot open them with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unopened {
    /// The key.
    pub(crate) key: SealingKeyId,
    /// How many secrets it has sealed.
    pub(crate) secrets: u64,
    /// What is wrong.
    pub(crate) why: String,
}

/// Finds the keys whose secrets cannot be opened here: one secret of each is tried.
pub(crate) async fn unopened(
    store: &dyn Secrets,
    keyring: Option<&Keyring>,
) -> Result<Vec<Unopened>, StoreError> {
    let mut unopened = Vec::new();
    for used in store.sealing_keys().await? {
        let opened = keyring
            .map_or(Err(SecretError::NoKey), |keyring| keyring.open(&used.example).map(drop));
        let why = match opened {
            Ok(()) => continue,
            Err(SecretError::NoKey) => "no key file is set (secrets.key_file)".to_owned(),
            Err(SecretError::UnknownKey { .. }) => "the key file does not have this key".to_owned(),
            Err(_) => {
                "the key file has another key of this id, or what is stored is damaged".to_owned()
            }
        };
        unopened.push(Unopened { key: used.key, secrets: used.secrets, why });
    }
    Ok(unopened)
}

/// Says in the log which secrets cannot be opened here: otherwise the first to hear of it is
/// whoever needs one.
pub(super) async fn warn_of_unopened(store: &dyn Secrets, keyring: Option<&Keyring>) {
    match unopened(store, keyring).await {
        Ok(all) => {
            for Unopened { key, secrets, why } in all {
                tracing::warn!(
                    %key,
                    secrets,
                    why,
                    "stored secrets cannot be opened here, and functions that need one will fail: put the key back into the key \
                     file, or set the secrets again"
                );
            }
        }
        Err(error) => {
            tracing::warn!(%error, "nobody knows whether the stored secrets can be opened here");
        }
    }
}

fn ids<'a>(keys: impl Iterator<Item = &'a SealingKeyId>) -> String {
    keys.map(SealingKeyId::as_str).collect::<Vec<_>>().join(", ")
}

/// What opens the secrets that are in `store`. To be called within the process's runtime.
pub(super) fn source(
    secrets: Arc<dyn Secrets>,
    registry: &RegistryWatch,
    keyring: Option<&Arc<Keyring>>,
) -> Arc<dyn SecretSource> {
    let Some(keyring) = keyring else { return Arc::new(NoSecrets) };
    let stored = StoredSecrets { secrets, registry: registry.clone(), runtime: Handle::current() };
    Arc::new(Vault::new(Arc::clone(keyring), Arc::new(stored), VaultSettings::default()))
}

struct StoredSecrets {
    secrets: Arc<dyn Secrets>,
    registry: RegistryWatch,
    /// Where the store's connections live: guests' threads, on which secrets are asked for, have no
    /// sockets.
    runtime: Handle,
}

#[async_trait]
impl SealedSecrets for StoredSecrets {
    fn changed_at(&self, tenant: &TenantName) -> Revision {
        let registry = self.registry.current();
        registry.changed_at(tenant).unwrap_or(registry.revision())
    }

    async fn sealed(
        &self,
        tenant: &TenantName,
        name: &SecretName,
    ) -> Result<Option<SealedSecret>, Unavailable> {
        let (store, tenant, name) = (Arc::clone(&self.secrets), tenant.clone(), name.clone());
        let asked = self.runtime.spawn(async move { store.secret(&tenant, &name).await }).await;
        let sealed =
            asked.map_err(|error| Unavailable(format!("the store was not asked: {error}")))?;
        sealed.map_err(|error| Unavailable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;
    use wasmill_domain::Timestamp;
    use wasmill_store::sqlite::{SqliteSettings, SqliteStore};
    use wasmill_store::{Catalog, Change};

    use super::*;

    async fn store(folder: &TempDir) -> SqliteStore {
        SqliteStore::open(&folder.path().join("store.sqlite"), SqliteSettings::default())
            .await
            .unwrap()
    }

    async fn set(store: &dyn Catalog, keyring: &Keyring, name: &str) {
        let (tenant, name) = (TenantName::default(), name.parse().unwrap());
        let sealed = keyring.seal(&tenant, &name, 1, b"value", Timestamp::now()).unwrap();
        store.define(&Change::PutSecret(sealed)).await.unwrap();
    }

    #[tokio::test]
    async fn a_key_is_made_once_and_never_in_place_of_a_lost_one() {
        let folder = tempfile::tempdir().unwrap();
        let (store, file) = (store(&folder).await, folder.path().join("secrets.key"));
        let keyring = own_keyring(&store, &file).await.unwrap();
        // Nothing is sealed: a new one costs nothing.
        fs::remove_file(&file).unwrap();
        let second = own_keyring(&store, &file).await.unwrap();
        assert_ne!(keyring.sealing_key(), second.sealing_key());
        set(&store, &second, "token").await;
        assert_eq!(own_keyring(&store, &file).await.unwrap().sealing_key(), second.sealing_key());
        let copy = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let error = own_keyring(&store, &file).await.unwrap_err().to_string();
        for part in [
            "secrets.key' is gone",
            "1 secret(s)",
            second.sealing_key(),
            "from a copy",
            "keygen",
            "set again",
        ] {
            assert!(error.contains(part), "{error} lacks {part}");
        }
        assert!(!file.exists(), "no key is made in silence");
        Keyring::create(&file).unwrap();
        fs::write(&file, copy).unwrap();
        assert_eq!(own_keyring(&store, &file).await.unwrap().sealing_key(), second.sealing_key());
    }

    #[tokio::test]
    async fn keys_that_open_nothing_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let files = ["one", "two"].map(|name| folder.path().join(name));
        let [one, two] = files.each_ref().map(|file| {
            Keyring::create(file).unwrap();
            Keyring::read(file).unwrap()
        });
        assert_eq!(unopened(&store, None).await.unwrap(), []);
        set(&store, &one, "a").await;
        set(&store, &one, "b").await;
        set(&store, &two, "c").await;
        let first =
            |why: &str| Unopened { key: one.sealing_key().clone(), secrets: 2, why: why.into() };
        assert_eq!(
            unopened(&store, Some(&two)).await.unwrap(),
            [first("the key file does not have this key")]
        );
        assert_eq!(unopened(&store, None).await.unwrap().len(), 2);
        // Another key under the same id: only trying tells.
        let lines = files.each_ref().map(|file| fs::read_to_string(file).unwrap());
        let swapped = lines[1].replace(two.sealing_key().as_str(), one.sealing_key());
        fs::write(&files[0], lines[1].clone() + &swapped).unwrap();
        let mixed = Keyring::read(&files[0]).unwrap();
        let why = "the key file has another key of this id, or what is stored is damaged";
        assert_eq!(unopened(&store, Some(&mixed)).await.unwrap(), [first(why)]);
        fs::write(&files[0], lines.concat()).unwrap();
        assert_eq!(unopened(&store, Some(&Keyring::read(&files[0]).unwrap())).await.unwrap(), []);
    }
}
