//! The file that says which installation the queues belong to: `installation` beside the log, with
//! the id as text.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use uuid::Uuid;

use crate::port::{BrokerError, Owner, Result};

/// What the file is called.
const FILE: &str = "installation";

/// Whether the queues in `dir` belong to installation `id`.
pub(super) fn owner(dir: &Path, id: Uuid) -> Result<Owner> {
    match fs::read_to_string(dir.join(FILE)) {
        Ok(text) if text.trim().parse() == Ok(id) => Ok(Owner::This),
        Ok(text) => Ok(Owner::Other(text.trim().chars().take(80).collect())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Owner::Nobody),
        Err(error) => Err(unavailable(dir, &error)),
    }
}

/// Says from now on that they belong to installation `id`.
pub(super) fn mark(dir: &Path, id: Uuid) -> Result<()> {
    let new = dir.join(format!("{FILE}.new"));
    let open = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new);
    let written = open.and_then(|mut file| {
        writeln!(file, "{id}")?;
        file.sync_all()?;
        fs::rename(&new, dir.join(FILE))?;
        File::open(dir)?.sync_all()
    });
    written.map_err(|error| unavailable(dir, &error))
}

fn unavailable(dir: &Path, error: &std::io::Error) -> BrokerError {
    BrokerError::Unavailable(format!("the file '{FILE}' in {}: {error}", dir.display()))
}
