use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::json;

use super::*;

/// What files are made of, counted when it is asked.
#[derive(Default)]
struct Source {
    contents: Vec<&'static [u8]>,
    asked: AtomicUsize,
}

#[async_trait]
impl FileSource for Source {
    async fn file(&self, digest: Digest) -> Result<Bytes, PreflightError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.contents.iter().find(|content| Digest::of(content) == digest);
        found
            .map(|content| Bytes::from_static(content))
            .ok_or_else(|| PreflightError::Unavailable("not there".into()))
    }
}

fn source(contents: &[&'static [u8]]) -> Source {
    Source { contents: contents.to_vec(), ..Source::default() }
}

fn manifest(files: &[(&str, &[u8])]) -> Manifest {
    let part = |(path, content): &(&str, &[u8])| json!({"path": path, "digest": Digest::of(content), "size": content.len()});
    let files: Vec<_> = files.iter().map(part).collect();
    Manifest::from_json(json!({"name": "x", "files": files})).unwrap()
}

fn folders(dir: &tempfile::TempDir, most_bytes: u64) -> Arc<Folders> {
    Arc::new(Folders::new(Some(dir.path().join("files")), most_bytes))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn files_are_written_once_and_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let folders = folders(&dir, 1 << 20);
    let manifest =
        manifest(&[("a.txt", b"one"), ("data/deep/b", b"two"), ("data/c", b"one"), ("empty", b"")]);
    let source = source(&[b"one", b"two", b""]);
    let files = folders.of(&manifest, &source).await.unwrap().unwrap();
    for (path, content) in
        [("a.txt", "one"), ("data/deep/b", "two"), ("data/c", "one"), ("empty", "")]
    {
        let path = files.folder().join(path);
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        assert_eq!(mode(&path), 0o400);
    }
    assert_eq!((mode(files.folder()), mode(&files.folder().join("data"))), (0o700, 0o700));
    assert_eq!(mode(files.folder().parent().unwrap()), 0o700);
    let again = folders.of(&manifest, &source).await.unwrap().unwrap();
    assert_eq!((again.folder(), source.asked.load(Ordering::SeqCst)), (files.folder(), 4));
    assert!(
        folders.of(&Manifest::from_toml("name = 'x'").unwrap(), &source).await.unwrap().is_none()
    );

    // Whatever is left goes with the process.
    drop((files, again, folders));
    assert_eq!(fs::read_dir(dir.path().join("files")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_damaged_or_missing_is_not_kept() {
    /// Gives the same for every digest.
    struct Wrong;

    #[async_trait]
    impl FileSource for Wrong {
        async fn file(&self, _: Digest) -> Result<Bytes, PreflightError> {
            Ok(Bytes::from_static(b"other"))
        }
    }

    let dir = tempfile::tempdir().unwrap();
    let folders = folders(&dir, 1 << 20);
    let manifest = manifest(&[("a", b"one")]);
    let damaged = folders.of(&manifest, &Wrong).await.unwrap_err();
    assert!(
        damaged.is_transient() && damaged.to_string().contains("what is kept as 'a' is damaged"),
        "{damaged}"
    );
    assert!(
        folders.of(&manifest, &source(&[])).await.unwrap_err().to_string().contains("not there")
    );
    assert_eq!(folders.kept().bytes, 0);
    let root = folders.kept().root.as_ref().unwrap().path().to_owned();
    assert_eq!(fs::read_dir(root).unwrap().count(), 0, "nothing is left of what was begun");
    folders.of(&manifest, &source(&[b"one"])).await.unwrap().unwrap();
}

#[tokio::test]
async fn room_is_bounded_and_what_is_used_stays() {
    let dir = tempfile::tempdir().unwrap();
    // Room for two.
    let folders = folders(&dir, 2 * (FILE + 3));
    let [one, two, three] =
        [b"one", b"two", b"six"].map(|content: &[u8; 3]| manifest(&[("a", content)]));
    let source = source(&[b"one", b"two", b"six"]);
    let first = folders.of(&one, &source).await.unwrap().unwrap();
    let second = folders.of(&two, &source).await.unwrap().unwrap();
    let refused = folders.of(&three, &source).await.unwrap_err();
    assert!(
        refused.is_transient() && refused.to_string().contains("functions that run now"),
        "{refused}"
    );
    // The one that nobody uses makes room.
    let path = first.folder().to_owned();
    drop(first);
    let third = folders.of(&three, &source).await.unwrap().unwrap();
    assert!(!path.exists() && second.folder().exists() && third.folder().exists());
    drop((second, third));
    folders.of(&two, &source).await.unwrap().unwrap();
    folders.of(&one, &source).await.unwrap().unwrap();
    // The least recently used went.
    assert_eq!(source.asked.load(Ordering::SeqCst), 4);
    folders.of(&two, &source).await.unwrap().unwrap();
    assert_eq!(source.asked.load(Ordering::SeqCst), 4);

    let large = manifest(&[("a", b"one"), ("b", b"one"), ("c", b"one")]);
    let refused = folders.of(&large, &source).await.unwrap_err().to_string();
    assert!(
        refused.starts_with("files: take ") && refused.contains("of all functions' files"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_a_killed_process_left_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("files");
    DirBuilder::new().mode(0o700).create(&base).unwrap();
    fs::create_dir_all(base.join("wasmill-files-old/x")).unwrap();
    fs::write(base.join("wasmill-files-old.lock"), b"").unwrap();
    // Another process's that lives.
    let other = Root::make(Some(&base)).unwrap();
    let folders = folders(&dir, 1 << 20);
    folders.of(&manifest(&[("a", b"one")]), &source(&[b"one"])).await.unwrap().unwrap();
    assert!(
        !base.join("wasmill-files-old").exists() && !base.join("wasmill-files-old.lock").exists()
    );
    assert!(other.path().is_dir());
}

#[tokio::test]
async fn a_folder_that_others_may_write_to_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("files");
    fs::create_dir(&base).unwrap();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o777)).unwrap();
    let said = folders(&dir, 1 << 20)
        .of(&manifest(&[("a", b"one")]), &source(&[b"one"]))
        .await
        .unwrap_err();
    assert!(said.to_string().contains("can be written to by others"), "{said}");
}

/// Blocks who drops it until it is let go.
struct SlowToDrop {
    dropping: tokio::sync::mpsc::UnboundedSender<()>,
    go: std::sync::mpsc::Receiver<()>,
}

impl AsRef<[u8]> for SlowToDrop {
    fn as_ref(&self) -> &[u8] {
        b"one"
    }
}

impl Drop for SlowToDrop {
    fn drop(&mut self) {
        let _ = self.dropping.send(());
        let _ = self.go.recv();
    }
}

/// Gives a content whose writing takes until it is let go.
struct SlowSource(Mutex<Option<SlowToDrop>>);

#[async_trait]
impl FileSource for SlowSource {
    async fn file(&self, _: Digest) -> Result<Bytes, PreflightError> {
        Ok(Bytes::from_owner(self.0.lock().unwrap().take().unwrap()))
    }
}

#[tokio::test]
async fn what_is_being_written_keeps_its_folder_and_its_room() {
    let dir = tempfile::tempdir().unwrap();
    let folders = folders(&dir, 1 << 20);
    let manifest = manifest(&[("a.txt", b"one")]);
    let (dropping, mut is_dropping) = tokio::sync::mpsc::unbounded_channel();
    let (go, gate) = std::sync::mpsc::channel();
    let slow = SlowSource(Mutex::new(Some(SlowToDrop { dropping, go: gate })));
    let making = {
        let (folders, manifest) = (Arc::clone(&folders), manifest.clone());
        tokio::spawn(async move { folders.of(&manifest, &slow).await.map(drop) })
    };
    is_dropping.recv().await.unwrap();
    making.abort();
    assert!(making.await.is_err());
    // Nobody waits for it any more, and a thread is still at it.
    let root = folders.kept().root.as_ref().unwrap().path().to_owned();
    assert_eq!(fs::read_to_string(root.join("begun-1/a.txt")).unwrap(), "one");
    assert!(folders.kept().bytes > 0, "its room is others'");
    let source = source(&[b"one"]);
    let mut again = Box::pin(folders.of(&manifest, &source));
    assert!(futures_util::poll!(again.as_mut()).is_pending());
    assert_eq!(source.asked.load(Ordering::SeqCst), 0, "it would be made twice");
    go.send(()).unwrap();
    let files = again.await.unwrap().unwrap();
    assert_eq!(fs::read_to_string(files.folder().join("a.txt")).unwrap(), "one");
    assert!(!root.join("begun-1").exists());
}
