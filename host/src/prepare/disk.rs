//! Compiled components on disk: `DIR/ENGINE/DIGEST.cwasm`, each beside `DIGEST.sum`, which vouches
//! for it.

mod collect;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use wasmill_domain::Digest;
use wasmtime::component::Component;

/// Names the layout of what the checksum covers.
const SUM_VERSION: &str = "wasmill compiled component 1";

/// A folder of compiled components.
pub(super) struct Disk {
    root: PathBuf,
    /// The folder of this engine's: what another version or another setting of wasmtime compiled is
    /// elsewhere.
    folder: PathBuf,
    engine: Digest,
    most_bytes: u64,
    /// Taken while files are deleted, so that two threads do not count the same ones.
    sweeping: Mutex<()>,
    temporary: AtomicU64,
}

impl Disk {
    /// Opens the folder, made where it does not exist, for artifacts of the engine that `engine`
    /// identifies.
    ///
    /// # Errors
    /// Where it cannot be made, or where others than this process's user may write to it.
    pub(super) fn open(root: &Path, engine: Digest, most_bytes: u64) -> io::Result<Self> {
        let folder = root.join(&engine.to_hex()[..16]);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        for path in [root, &folder] {
            let metadata = fs::metadata(path)?;
            if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0
            {
                let message = format!(
                    "'{}' can be written to by others: machine code is not kept there",
                    path.display()
                );
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
            }
        }
        let temporary = AtomicU64::new(0);
        Ok(Self {
            root: root.to_owned(),
            folder,
            engine,
            most_bytes,
            sweeping: Mutex::new(()),
            temporary,
        })
    }

    /// The component compiled from the artifact `digest`, if a sound one is here. One that is not
    /// sound is deleted.
    pub(super) fn load(&self, wasmtime: &wasmtime::Engine, digest: Digest) -> Option<Component> {
        let (path, sum) = self.paths(digest);
        // A piece at a time: the file is as large as what was compiled.
        let content = Digest::of_reader(File::open(&path).ok()?).ok()?;
        if fs::read_to_string(&sum).ok().as_deref() != Some(&*self.sum(digest, content)) {
            tracing::warn!(path = %path.display(), "a compiled component is damaged; it is compiled again");
            self.delete(digest);
            return None;
        }
        // SAFETY: wasmtime trusts the file: it must be what `Component::serialize` made, unchanged,
        // for as long as the component lives. The checksum just compared says that these are the
        // bytes that `store` wrote, for this engine and this artifact: no torn write, no bad disk,
        // no file of another version. It is no defence against somebody who may write to the
        // folder, between the comparison and this line or later while the file is mapped. That is
        // why the folder is one that only this process's user may write to (checked in `open`), and
        // whoever acts as that user can change this process anyway. wasmill itself never changes
        // such a file in place: it is written beside and renamed, and deleting it leaves mappings
        // intact.
        let component = unsafe { Component::deserialize_file(wasmtime, &path) };
        match component {
            Ok(component) => {
                // The time of the last use, by which files are deleted. Losing it costs nothing but
                // a compilation.
                let _ = File::options()
                    .append(true)
                    .open(&sum)
                    .and_then(|file| file.set_modified(SystemTime::now()));
                Some(component)
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), error = format!("{error:#}"), "a compiled component is refused");
                self.delete(digest);
                None
            }
        }
    }

    /// Keeps a compiled component, and deletes the ones that were not used for longest until the
    /// bound holds.
    pub(super) fn store(&self, digest: Digest, compiled: &[u8]) -> io::Result<()> {
        let (path, sum) = self.paths(digest);
        self.write(&path, compiled)?;
        self.write(&sum, self.sum(digest, Digest::of(compiled)).as_bytes())?;
        self.sweep(&sum);
        Ok(())
    }

    fn paths(&self, digest: Digest) -> (PathBuf, PathBuf) {
        let name = digest.to_hex();
        (self.folder.join(format!("{name}.cwasm")), self.folder.join(format!("{name}.sum")))
    }

    /// Covers the content, the engine that it is for and the artifact that it was made from.
    fn sum(&self, digest: Digest, content: Digest) -> String {
        Digest::of(format!("{SUM_VERSION}\n{}\n{digest}\n{content}", self.engine).as_bytes())
            .to_hex()
    }

    /// Writes a file so that it is there whole or not at all. It need not survive a power cut: the
    /// checksum tells.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let unique = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.folder.join(format!(".{}-{unique}.tmp", std::process::id()));
        let result = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&temporary, path));
        if result.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        result
    }

    fn delete(&self, digest: Digest) {
        let (path, sum) = self.paths(digest);
        // The one that vouches first: without it the other is nothing.
        let _ = fs::remove_file(sum);
        let _ = fs::remove_file(path);
    }

    /// Deletes pairs, of this engine and of others, the least recently used first, until the rest
    /// is within the bound. `keep` names the one just written.
    fn sweep(&self, keep: &Path) {
        let _sweeping = self.sweeping.lock();
        let mut pairs: Vec<Pair> = self.files().into_iter().filter_map(Pair::of).collect();
        let mut total: u64 = pairs.iter().map(|pair| pair.bytes).sum();
        pairs.sort_unstable_by_key(|pair| pair.used);
        for pair in pairs {
            if total <= self.most_bytes {
                break;
            }
            if pair.sum != keep {
                total -= pair.bytes;
                pair.delete();
            }
        }
    }
}

/// A compiled component's file and the one that vouches for it.
struct Pair {
    compiled: PathBuf,
    sum: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Pair {
    /// `None` for a file of another kind, or one that is gone meanwhile.
    fn of(compiled: PathBuf) -> Option<Self> {
        if compiled.extension()? != "cwasm" {
            return None;
        }
        let sum = compiled.with_extension("sum");
        let metadata = fs::metadata(&compiled).ok()?;
        // Without a checksum it is of no use: the oldest of all.
        let used = fs::metadata(&sum).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        Some(Self { compiled, sum, bytes: metadata.len(), used })
    }

    fn delete(&self) {
        let _ = fs::remove_file(&self.sum);
        let _ = fs::remove_file(&self.compiled);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct DiskCacheFixture {
        dir: tempfile::TempDir,
        wasmtime: wasmtime::Engine,
        compiled: Vec<u8>,
        digest: Digest,
    }

    impl DiskCacheFixture {
        fn new() -> Self {
            let wasmtime = wasmtime::Engine::default();
            let compiled =
                wasmtime.precompile_component(&wat::parse_str("(component)").unwrap()).unwrap();
            Self {
                dir: tempfile::tempdir().unwrap(),
                wasmtime,
                compiled,
                digest: Digest::of(b"source"),
            }
        }

        fn disk(&self, engine: &[u8], most_bytes: u64) -> Disk {
            Disk::open(&self.dir.path().join("cache"), Digest::of(engine), most_bytes).unwrap()
        }

        fn loads(&self, disk: &Disk) -> bool {
            disk.load(&self.wasmtime, self.digest).is_some()
        }
    }

    #[test]
    fn what_was_stored_is_loaded_and_private() {
        let fixture = DiskCacheFixture::new();
        let disk = fixture.disk(b"engine", 1 << 30);
        assert!(!fixture.loads(&disk));
        disk.store(fixture.digest, &fixture.compiled).unwrap();
        assert!(fixture.loads(&disk));
        let (path, sum) = disk.paths(fixture.digest);
        for file in [path, sum] {
            assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&disk.folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&disk.folder).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn damaged_files_are_refused_and_deleted() {
        let fixture = DiskCacheFixture::new();
        let disk = fixture.disk(b"engine", 1 << 30);
        let (path, sum) = disk.paths(fixture.digest);
        let damage: [(&str, &dyn Fn()); 5] = [
            ("a flipped bit", &|| {
                let mut bytes = fixture.compiled.clone();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&path, bytes).unwrap();
            }),
            ("a cut", &|| {
                fs::write(&path, &fixture.compiled[..fixture.compiled.len() / 2]).unwrap();
            }),
            ("nothing", &|| fs::write(&path, b"").unwrap()),
            ("no checksum", &|| fs::remove_file(&sum).unwrap()),
            ("another checksum", &|| {
                fs::write(&sum, Digest::of(&fixture.compiled).to_hex()).unwrap();
            }),
        ];
        for (what, damage) in damage {
            disk.store(fixture.digest, &fixture.compiled).unwrap();
            damage();
            assert!(!fixture.loads(&disk), "{what}");
            assert!(!path.exists() && !sum.exists(), "{what}");
        }
    }

    #[test]
    fn files_of_another_engine_or_artifact_are_refused() {
        let fixture = DiskCacheFixture::new();
        let disk = fixture.disk(b"engine", 1 << 30);
        disk.store(fixture.digest, &fixture.compiled).unwrap();
        let other = fixture.disk(b"other engine", 1 << 30);
        assert!(!fixture.loads(&other));
        let copy = |from: (PathBuf, PathBuf), to: (PathBuf, PathBuf)| {
            fs::copy(from.0, to.0).unwrap();
            fs::copy(from.1, to.1).unwrap();
        };
        copy(disk.paths(fixture.digest), other.paths(fixture.digest));
        assert!(!fixture.loads(&other));
        let foreign = Digest::of(b"another artifact");
        copy(disk.paths(fixture.digest), disk.paths(foreign));
        assert!(disk.load(&fixture.wasmtime, foreign).is_none());
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let fixture = DiskCacheFixture::new();
        let size = fixture.compiled.len() as u64;
        let disk = fixture.disk(b"engine", 2 * size);
        let digest = |i: u64| Digest::of(&i.to_le_bytes());
        for i in 0..2 {
            disk.store(digest(i), &fixture.compiled).unwrap();
            let used = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(i + 1);
            File::options()
                .append(true)
                .open(disk.paths(digest(i)).1)
                .unwrap()
                .set_modified(used)
                .unwrap();
        }
        // Loading makes the older one the younger.
        assert!(disk.load(&fixture.wasmtime, digest(0)).is_some());
        disk.store(digest(2), &fixture.compiled).unwrap();
        assert!(disk.load(&fixture.wasmtime, digest(0)).is_some());
        assert!(disk.load(&fixture.wasmtime, digest(1)).is_none());
        assert!(disk.load(&fixture.wasmtime, digest(2)).is_some());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let fixture = DiskCacheFixture::new();
        let root = fixture.dir.path().join("open");
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        let error = Disk::open(&root, Digest::of(b"engine"), 1).err().unwrap();
        assert!(error.to_string().contains("can be written to by others"), "{error}");
    }
}
