//! The format of stored definitions.
//!
//! Users' manifests are read strictly: a key that is not known is refused, and the nearest known
//! one named. What is stored may be a later release's, so it says two numbers: `format`, which
//! rises with every key or word that is added, and `min_reader`, the lowest format of a release
//! that may read it. A release of format F
//!
//! - reads what is of format F or lower as its own: a key that it does not know is a fault;
//! - reads what is of a higher format with `min_reader` ≤ F, and ignores what it does not know;
//! - takes everything else for unreadable, with a reason that names the release that wrote it.
//!
//! Whoever adds a key that older releases may ignore (a description, say) raises [`FORMAT`] alone.
//! One that they must not ignore (a limit, a right) gets its definition, where it is used, that
//! format as `min_reader` too. Rows whose columns are their keys (schemas, API keys, secrets, host
//! names) have the column `min_reader` alone.

use std::fmt;

/// The format of what this release stores. 1 is that of v0.1.0.
pub(crate) const FORMAT: u32 = 1;

/// Refuses a row whose `min_reader` is beyond this release.
pub(crate) fn check_reader(min_reader: i64) -> Result<(), TooNew> {
    if min_reader <= i64::from(FORMAT) {
        return Ok(());
    }
    Err(TooNew { min_reader, release: None })
}

/// A definition that only later releases can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TooNew {
    /// The lowest format that reads it.
    pub(crate) min_reader: i64,
    /// The release that wrote it, where it says so.
    pub(crate) release: Option<String>,
}

impl fmt::Display for TooNew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min_reader, release } = self;
        let here = env!("CARGO_PKG_VERSION");
        write!(
            f,
            "only releases that read format {min_reader} can use it, and this one ({here}) reads format {FORMAT}"
        )?;
        match release {
            Some(release) => write!(f, "; it was stored by release {release}, which can"),
            None => f.write_str("; the release that stored it can"),
        }
    }
}
