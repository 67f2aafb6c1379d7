//! Reads records of any version that this release reads.

use super::record::{Item, RecordError};
use super::v1;

/// Reads the records of a batch one by one, and ends after the first error.
pub(crate) struct Reader<'a> {
    version: u32,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `records`, which are of `version`.
    pub(crate) fn new(version: u32, records: &'a [u8]) -> Self {
        Self { version, rest: records }
    }

    fn read(&mut self) -> Result<Option<Item>, RecordError> {
        while !self.rest.is_empty() {
            let (read, rest) = match self.version {
                1 => v1::read(self.rest)?,
                other => return Err(RecordError::Damaged(format!("it is of version {other}"))),
            };
            self.rest = rest;
            // An extra that is not known is skipped.
            if let Some(item) = read {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Item, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        read.transpose()
    }
}
