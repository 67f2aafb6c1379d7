//! The data folder of `wasmill dev`: events, results and the operator's key are in it, so nobody
//! but its owner can read it.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};

/// The rights of everybody but the owner.
const OTHERS: u32 = 0o077;

/// How deep the folder is looked through: deeper than anything that is kept in it.
const DEPTH: u32 = 4;

/// Makes the folder for its owner alone where there is none, whatever the umask says. One that
/// others can get at, with what is in it, is its owner's alone from then on, and a warning says so.
///
/// # Errors
/// Where it cannot be made, is not a folder, belongs to another user, or keeps rights of others all
/// the same.
pub(super) fn open(folder: &Path) -> anyhow::Result<()> {
    make(folder).with_context(|| format!("the data folder '{}'", folder.display()))?;
    // A link to it is the user's way of saying where it is: its own rights mean nothing.
    let folder = &fs::canonicalize(folder)?;
    let tightened = tighten(folder, &fs::metadata(folder)?, DEPTH)?;
    if tightened > 0 {
        tracing::warn!(
            folder = %folder.display(),
            tightened,
            "others could read or write the data folder or files in it: from now on its owner alone can"
        );
    }
    Ok(())
}

fn make(folder: &Path) -> anyhow::Result<()> {
    // What leads to it is nobody's secret.
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let metadata = fs::metadata(folder)?;
    if !metadata.is_dir() {
        bail!("it is not a folder: --data takes another one");
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        bail!(
            "it belongs to user {} and this process runs as user {user}: chown it, or --data takes another one",
            metadata.uid()
        );
    }
    Ok(())
}

/// Takes away the rights of others, of this and of all that is below it, and gives how many had
/// some.
fn tighten(path: &Path, metadata: &Metadata, depth: u32) -> anyhow::Result<u32> {
    let mut tightened = 0;
    let mode = metadata.permissions().mode();
    if mode & OTHERS != 0 {
        let refused = || {
            anyhow!(
                "'{}' can be used by others: chmod go= it, or --data takes another",
                path.display()
            )
        };
        fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS)).with_context(refused)?;
        // Some file systems know no rights, and say nothing.
        if fs::symlink_metadata(path)?.permissions().mode() & OTHERS != 0 {
            return Err(refused());
        }
        tightened += 1;
    }
    if metadata.is_dir() && depth > 0 {
        let entries = fs::read_dir(path).with_context(|| format!("'{}'", path.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("'{}'", path.display()))?.path();
            // What a link leads to is elsewhere. What is gone meanwhile is no matter.
            match fs::symlink_metadata(&entry) {
                Ok(metadata) if !metadata.is_symlink() => {
                    tightened += tighten(&entry, &metadata, depth - 1)?;
                }
                _ => {}
            }
        }
    }
    Ok(tightened)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_folder_is_its_owners_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        open(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700);
        open(&folder).unwrap();
    }

    #[test]
    fn what_others_could_read_is_tightened() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, outside) = (parent.path().join("data"), parent.path().join("outside"));
        let queue = folder.join("queue");
        fs::create_dir_all(&queue).unwrap();
        let files =
            [folder.join("wasmill.sqlite"), folder.join("wasmill.sqlite-wal"), queue.join("1.log")];
        for file in files.iter().chain([&outside]) {
            fs::write(file, "").unwrap();
            fs::set_permissions(file, Permissions::from_mode(0o664)).unwrap();
        }
        for folder in [&folder, &queue] {
            fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::symlink(&outside, folder.join("link")).unwrap();
        open(&folder).unwrap();
        assert_eq!([&folder, &queue].map(|folder| mode(folder)), [0o700; 2]);
        assert_eq!(files.each_ref().map(|file| mode(file)), [0o600; 3]);
        assert_eq!(mode(&outside), 0o664, "a link is not followed");
    }

    #[test]
    fn a_folder_may_be_linked_to() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, link) = (parent.path().join("data"), parent.path().join("link"));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        open(&link).unwrap();
        assert_eq!(mode(&folder), 0o700);
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let error = format!("{:#}", open(&file).unwrap_err());
        assert!(error.contains("not a folder") && error.contains("--data"), "{error}");
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (user, other) = (rustix::process::geteuid(), 4_321);
        // Only the superuser can give files away; whoever is not finds the root folder to be
        // another's.
        let of_another = if user.is_root() {
            std::os::unix::fs::chown(folder.path(), Some(other), None).unwrap();
            folder.path()
        } else {
            Path::new("/")
        };
        let error = format!("{:#}", open(of_another).unwrap_err());
        assert!(error.contains("belongs to user"), "{error}");
    }
}
