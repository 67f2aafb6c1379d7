//! `args`: what a command finds as its arguments.

use super::error::{ManifestError, out_of_bounds};
use super::{Kind, Manifest};

/// How many arguments there may be.
const MOST_ARGS: usize = 64;

/// The size of all arguments together, in bytes.
const MOST_BYTES: usize = 32 << 10;

impl Manifest {
    /// Checks the keys that only some kinds have, for a function of this kind: the manifest's, or
    /// that which its component is.
    ///
    /// # Errors
    /// Where a key is there that the kind has no use for.
    pub fn check_for(&self, kind: Kind) -> Result<(), ManifestError> {
        if kind != Kind::Command && !self.args.is_empty() {
            let message = format!(
                "only a command has arguments, and the function is of kind {kind}: take the key out"
            );
            return Err(out_of_bounds("args", &message));
        }
        Ok(())
    }

    /// Checks the arguments against their bounds.
    pub(super) fn check_args(&self) -> Result<(), ManifestError> {
        if self.args.len() > MOST_ARGS {
            return Err(out_of_bounds("args", "a command has at most 64 arguments"));
        }
        if self.args.iter().map(String::len).sum::<usize>() > MOST_BYTES {
            return Err(out_of_bounds("args", "the arguments must have at most 32KiB together"));
        }
        if let Some(at) = self.args.iter().position(|arg| arg.contains('\0')) {
            return Err(out_of_bounds(
                &format!("args[{at}]"),
                "must not hold NUL, which ends an argument",
            ));
        }
        self.kind.map_or(Ok(()), |kind| self.check_for(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Manifest, ManifestError> {
        Manifest::from_toml(&format!("name = 'x'\n{text}"))
    }

    #[test]
    fn arguments_are_read_and_written() {
        let manifest = read("args = ['-', '-c', '']").unwrap();
        assert_eq!(manifest.args, ["-", "-c", ""]);
        let json = serde_json::to_value(&manifest).unwrap();
        assert_eq!(json["args"], serde_json::json!(["-", "-c", ""]));
        assert_eq!(Manifest::from_json(json).unwrap(), manifest);
        // A manifest without them is what it was before there were any.
        assert!(serde_json::to_value(read("").unwrap()).unwrap().get("args").is_none());
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let many =
            |count: usize, arg: &str| format!("args = [{}]", format!("'{arg}',").repeat(count));
        for (text, key, word) in [
            (many(65, "a"), "args", "at most 64"),
            (many(33, &"a".repeat(1000)), "args", "32KiB"),
            ("args = ['a', \"b\\u0000\"]".to_owned(), "args[1]", "NUL"),
            ("kind = 'event'\nargs = ['a']".to_owned(), "args", "of kind event"),
            ("kind = 'http'\nargs = ['a']".to_owned(), "args", "only a command has arguments"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(
                matches!(&error, ManifestError::Value { key: named, .. } if named == key),
                "{text}: {error}"
            );
            assert!(error.to_string().contains(word), "{text}: {error}");
        }
        for text in [
            many(64, "a"),
            many(32, &"a".repeat(1024)),
            "kind = 'command'\nargs = ['a']".to_owned(),
        ] {
            read(&text).unwrap();
        }
    }

    #[test]
    fn the_kind_may_be_known_later() {
        let manifest = read("args = ['a']").unwrap();
        manifest.check_for(Kind::Command).unwrap();
        assert!(manifest.check_for(Kind::Http).is_err());
        read("").unwrap().check_for(Kind::Http).unwrap();
    }
}
