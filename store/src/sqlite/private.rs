//! Files for their owner alone.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Makes the file for its owner alone where there is none. SQLite would go by the umask; the files
/// that it puts beside this one (`-wal`, `-shm`) get the rights that this one has.
pub(super) fn make_private(path: &Path) {
    // Where this fails, the file is there already, or SQLite says better what is wrong.
    let _ = File::options().write(true).create_new(true).mode(0o600).open(path);
}
