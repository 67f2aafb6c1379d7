use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use wasmill_domain::Timestamp;

use super::*;

/// Keeps sealed secrets in memory, and counts who asks.
#[derive(Default)]
struct Kept {
    /// When the default tenant's definitions changed; all others' never do.
    changed_at: AtomicI64,
    asked: AtomicUsize,
    away: std::sync::atomic::AtomicBool,
    secrets: Mutex<HashMap<(TenantName, SecretName), SealedSecret>>,
}

#[async_trait]
impl SealedSecrets for Kept {
    fn changed_at(&self, tenant: &TenantName) -> Revision {
        let is_default = *tenant == TenantName::default();
        Revision(if is_default { self.changed_at.load(Ordering::SeqCst) } else { 0 })
    }

    async fn sealed(
        &self,
        tenant: &TenantName,
        name: &SecretName,
    ) -> Result<Option<SealedSecret>, Unavailable> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(Unavailable("the database is away".into()));
        }
        Ok(self.secrets.lock().unwrap().get(&(tenant.clone(), name.clone())).cloned())
    }
}

struct VaultFixture {
    kept: Arc<Kept>,
    keyring: Arc<Keyring>,
    vault: Vault,
}

impl VaultFixture {
    fn new(settings: VaultSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Keyring::create(&folder.path().join("keys")).unwrap();
        let keyring = Arc::new(Keyring::read(&folder.path().join("keys")).unwrap());
        let kept = Arc::new(Kept::default());
        let vault = Vault::new(Arc::clone(&keyring), Arc::clone(&kept) as _, settings);
        Self { kept, keyring, vault }
    }

    /// Sets a secret, as the gateway of another process would: nobody here has heard of it yet.
    fn set(&self, name: &str, version: u32, value: &str) {
        let (tenant, name) = (TenantName::default(), name.parse::<SecretName>().unwrap());
        let sealed =
            self.keyring.seal(&tenant, &name, version, value.as_bytes(), Timestamp::now()).unwrap();
        self.kept.secrets.lock().unwrap().insert((tenant, name), sealed);
    }

    async fn reveal(&self, name: &str) -> Option<String> {
        let secret =
            self.vault.reveal(&TenantName::default(), &name.parse().unwrap()).await.unwrap();
        secret.map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap())
    }

    fn asked(&self) -> usize {
        self.kept.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_secret_is_remembered_until_its_tenant_changes() {
    let fixture = VaultFixture::new(VaultSettings {
        remember_for: Duration::from_secs(3600),
        ..VaultSettings::default()
    });
    assert_eq!(fixture.reveal("token").await, None);
    // Neither is it looked for again that there is none, until something changes.
    fixture.set("token", 1, "one");
    assert_eq!((fixture.reveal("token").await, fixture.asked()), (None, 1));
    fixture.kept.changed_at.store(1, Ordering::SeqCst);
    assert_eq!(fixture.reveal("token").await.as_deref(), Some("one"));
    assert_eq!((fixture.reveal("token").await.as_deref(), fixture.asked()), (Some("one"), 2));
    fixture.set("token", 2, "two");
    assert_eq!((fixture.reveal("token").await.as_deref(), fixture.asked()), (Some("one"), 2));
    fixture.kept.changed_at.store(2, Ordering::SeqCst);
    assert_eq!((fixture.reveal("token").await.as_deref(), fixture.asked()), (Some("two"), 3));
    // What is in memory is good while the store is away.
    fixture.kept.away.store(true, Ordering::SeqCst);
    assert_eq!(fixture.reveal("token").await.as_deref(), Some("two"));
    let other = fixture.vault.reveal(&TenantName::default(), &"other".parse().unwrap()).await;
    assert_eq!(other.unwrap_err(), SecretError::Unavailable("the database is away".into()));
}

#[tokio::test]
async fn a_change_of_another_tenant_forgets_nothing() {
    let fixture = VaultFixture::new(VaultSettings {
        remember_for: Duration::from_secs(3600),
        ..VaultSettings::default()
    });
    let (other, token): (TenantName, SecretName) =
        ("other".parse().unwrap(), "token".parse().unwrap());
    let sealed = fixture.keyring.seal(&other, &token, 1, b"theirs", Timestamp::now()).unwrap();
    fixture.kept.secrets.lock().unwrap().insert((other.clone(), token.clone()), sealed);
    fixture.set("token", 1, "ours");
    for _ in 0..2 {
        let theirs = fixture.vault.reveal(&other, &token).await.unwrap().unwrap();
        assert_eq!(theirs.expose(), b"theirs");
        assert_eq!(fixture.reveal("token").await.as_deref(), Some("ours"));
    }
    assert_eq!(fixture.asked(), 2);
    fixture.kept.changed_at.store(1, Ordering::SeqCst);
    fixture.vault.reveal(&other, &token).await.unwrap();
    assert_eq!((fixture.reveal("token").await.as_deref(), fixture.asked()), (Some("ours"), 3));
}

#[tokio::test]
async fn a_secret_is_remembered_for_its_time_only() {
    let fixture = VaultFixture::new(VaultSettings {
        remember_for: Duration::ZERO,
        ..VaultSettings::default()
    });
    fixture.set("token", 1, "one");
    fixture.reveal("token").await;
    fixture.set("token", 2, "two");
    assert_eq!(fixture.reveal("token").await.as_deref(), Some("two"));
}

#[tokio::test]
async fn so_many_are_remembered_and_no_more() {
    let fixture =
        VaultFixture::new(VaultSettings { remembered: 1, remember_for: Duration::from_secs(3600) });
    fixture.set("a", 1, "a");
    fixture.set("b", 1, "b");
    for _ in 0..3 {
        assert_eq!(
            (fixture.reveal("a").await.as_deref(), fixture.reveal("b").await.as_deref()),
            (Some("a"), Some("b"))
        );
    }
    assert_eq!(fixture.asked(), 1 + 3);
}

/// Whoever can write to the database cannot give one tenant another one's secret.
#[tokio::test]
async fn a_moved_row_is_not_opened() {
    let fixture = VaultFixture::new(VaultSettings::default());
    fixture.set("token", 1, "one");
    let other: TenantName = "other".parse().unwrap();
    {
        let mut secrets = fixture.kept.secrets.lock().unwrap();
        let stolen = secrets.values().next().unwrap().clone();
        secrets.insert((other.clone(), "token".parse().unwrap()), stolen);
    }
    let error = fixture.vault.reveal(&other, &"token".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, SecretError::Damaged { .. }), "{error}");
}
