//! The data folder of `wasmill dev`: who can read it, and what becomes of a lost key.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::support::{Dev, sample, wasmill};

/// A `wasmill dev` that was started where every file may be read and written by everybody. Killed
/// when dropped.
struct Careless {
    child: Child,
    url: String,
}

impl Careless {
    fn start(data: &Path) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", "umask 000; exec \"$0\" \"$@\""])
            .arg(wasmill().get_program())
            .args(["dev", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let first = lines.find(|line| line.contains(" is at http")).expect("it says where it is");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: first.split_whitespace().last().unwrap().to_owned() }
    }
}

impl Drop for Careless {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything below a folder, and itself, with its mode.
fn modes(path: &Path) -> Vec<(PathBuf, u32)> {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mut all = vec![(path.to_owned(), metadata.permissions().mode() & 0o777)];
    if metadata.is_dir() {
        all.extend(fs::read_dir(path).unwrap().flat_map(|entry| modes(&entry.unwrap().path())));
    }
    all
}

#[test]
fn what_is_kept_is_its_owners_alone_whatever_the_umask_says() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let dev = Careless::start(&data);
    let deployed =
        wasmill().args(["--url", &dev.url, "deploy"]).arg(sample("hello")).output().unwrap();
    assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
    let all = modes(&data);
    for (path, mode) in &all {
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
    let names: Vec<String> =
        all.iter().map(|(path, _)| path.file_name().unwrap().to_string_lossy().into()).collect();
    for expected in
        ["wasmill.sqlite", "wasmill.sqlite-wal", "wasmill.sqlite-shm", "secrets.key", "lock"]
    {
        assert!(names.iter().any(|name| name == expected), "{names:?} lacks {expected}");
    }
    for ending in [".log", ".cwasm", ".sum"] {
        assert!(
            names.iter().any(|name| name.ends_with(ending)),
            "{names:?} has nothing like {ending}"
        );
    }
}

#[test]
fn a_folder_that_others_can_read_is_tightened() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    drop(Careless::start(&data));
    for (path, _) in modes(&data) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let _dev = Careless::start(&data);
    for (path, mode) in modes(&data) {
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
}

#[test]
fn a_lost_key_is_not_replaced_in_silence() {
    let mut dev = Dev::start();
    let mut setting = wasmill()
        .args(["--url", &dev.url, "secrets", "set", "api-token"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    setting.stdin.take().unwrap().write_all(b"value").unwrap();
    assert!(setting.wait().unwrap().success());
    assert!(dev.terminate());
    let key = dev.data().join("secrets.key");
    let copy = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let refused = wasmill()
        .args(["dev", "--listen", "127.0.0.1:0", "--data"])
        .arg(dev.data())
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    for part in ["secrets.key' is gone", "1 secret(s)", "from a copy", "wasmill secrets keygen"] {
        assert!(said.contains(part), "{said} lacks {part}");
    }
    assert!(!key.exists());
    fs::write(&key, copy).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    dev.restart();
    assert_eq!(dev.cli_json(&["secrets", "list"])["secrets"][0]["name"], "api-token");
}
