//! Text as PostgreSQL keeps it: any but NUL.
//!
//! Guests write NULs into their logs and senders into the ids of their events. Refused, one of them
//! would hold up everything that is recorded with it; cut out, the text would not be what was
//! written. So a NUL is kept as '␀', which is also what a reader of the tables expects to see, and
//! where the text has that character itself it is marked.

use std::borrow::Cow;

const NUL: char = '\0';

/// SYMBOL FOR NULL: stands for a NUL.
const SYMBOL: char = '\u{2400}';

/// Stands before a symbol or a mark that was in the text. Unicode gives no meaning to this
/// character and sets it aside for use inside of programs.
const MARK: char = '\u{fdd0}';

/// A text as a column holds it.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    // The first bytes of the three characters: few texts have them.
    if !text.bytes().any(|byte| matches!(byte, 0 | 0xe2 | 0xef)) {
        return Cow::Borrowed(text);
    }
    if !text.contains([NUL, SYMBOL, MARK]) {
        return Cow::Borrowed(text);
    }
    let mut marked = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            NUL => marked.push(SYMBOL),
            SYMBOL | MARK => marked.extend([MARK, character]),
            other => marked.push(other),
        }
    }
    Cow::Owned(marked)
}

/// The text of a column.
pub(super) fn loaded(column: &str) -> String {
    if !column.contains([SYMBOL, MARK]) {
        return column.to_owned();
    }
    let mut text = String::with_capacity(column.len());
    let mut characters = column.chars();
    while let Some(character) = characters.next() {
        match character {
            SYMBOL => text.push(NUL),
            MARK => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_is_kept_as_it_is() {
        for text in ["", "order 7", "ü 🦀 € ﬁ \u{feff}"] {
            assert!(matches!(stored(text), Cow::Borrowed(kept) if kept == text), "{text}");
        }
        assert_eq!(stored("a\0b"), "a␀b");
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "[\0\u{2400}\u{fdd0}aü\u{e000}]{0,12}") {
            let kept = stored(&text).into_owned();
            prop_assert!(!kept.contains('\0'));
            prop_assert_eq!(loaded(&kept), text);
        }
    }
}
