//! Golden bytes: what a version of a format looks like, kept in files that never change.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The lines of a golden file: a name, and bytes in hexadecimal digits.
pub(crate) struct Golden {
    lines: BTreeMap<String, Vec<u8>>,
    used: RefCell<BTreeSet<String>>,
}

impl Golden {
    pub(crate) fn read(text: &str) -> Self {
        let line = |line: &str| {
            let (name, hex) = line.split_once(' ').expect("a name and bytes");
            let byte =
                |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
            (name.to_owned(), (0..hex.len()).step_by(2).map(byte).collect())
        };
        Self { lines: text.lines().map(line).collect(), used: RefCell::default() }
    }

    /// The bytes of this name.
    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        self.used.borrow_mut().insert(name.to_owned());
        self.lines.get(name).unwrap_or_else(|| panic!("there are no golden bytes of '{name}'"))
    }

    /// Whether `bytes` are the ones of this name.
    pub(crate) fn check(&self, name: &str, bytes: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(bytes),
            hex(self.bytes(name)),
            "the bytes of '{name}' have changed: that needs a new version"
        );
    }

    /// Every line was looked at.
    pub(crate) fn check_all_used(&self) {
        assert!(
            self.lines.keys().eq(self.used.borrow().iter()),
            "some golden bytes are not checked"
        );
    }
}
