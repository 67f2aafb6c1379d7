//! What changed of the definitions since a revision. The same for every database.
//!
//! The tables note by which revision each definition changed last (migrations/sqlite/0009), whoever
//! writes them. Notes are kept for a while; whoever knows an older revision reads everything.

use wasmill_domain::{DefinitionId, DefinitionKind, Revision};

/// For how many revisions notes are kept. Of more changes than this, most processes would read
/// nearly as much as there is.
const KEPT: i64 = 10_000;

/// How many revisions apart older notes are deleted.
const SWEPT_EVERY: i64 = 256;

/// How many notes are deleted at once, so that no change waits for long.
pub(crate) const SWEPT_AT_ONCE: i64 = 4 * SWEPT_EVERY;

/// The words for what changed.
const KINDS: [(&str, DefinitionKind); 6] = [
    ("function", DefinitionKind::Function),
    ("schema", DefinitionKind::Schema),
    ("key", DefinitionKind::Key),
    ("hostname", DefinitionKind::Hostname),
    ("deleted_function", DefinitionKind::DeletedFunction),
    ("secret", DefinitionKind::Secret),
];

/// What somebody is to read who knows a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Nothing: it is the current one.
    Nothing,
    /// What is noted since.
    Changes,
    /// All there is: notes do not go back as far, or there never was such a revision of this
    /// database.
    Everything,
}

impl Extent {
    /// For whoever knows `known`. Notes go back to `changes_from`.
    pub(crate) fn since(known: Revision, current: i64, changes_from: i64) -> Self {
        match known.0 {
            known if known == current => Self::Nothing,
            known if known < changes_from || known > current => Self::Everything,
            _ => Self::Changes,
        }
    }
}

/// The revision from which on notes are to be kept; none where it is not time to delete any.
pub(crate) fn sweep(revision: i64) -> Option<i64> {
    let oldest = revision.saturating_sub(KEPT);
    (revision % SWEPT_EVERY == 0 && oldest > 0).then_some(oldest)
}

/// What a note says. A later release may note what this one knows nothing of.
pub(crate) fn id(kind: &str, tenant: String, name: String) -> Option<DefinitionId> {
    let (_, kind) = KINDS.iter().find(|(word, _)| *word == kind)?;
    Some(DefinitionId { kind: *kind, tenant, name })
}

/// The tenants and the names of the changes of one kind.
pub(crate) fn of_kind(
    changes: &[DefinitionId],
    kind: DefinitionKind,
) -> impl Iterator<Item = (&str, &str)> {
    let of_kind = changes.iter().filter(move |change| change.kind == kind);
    of_kind.map(|change| (change.tenant.as_str(), change.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_cannot_be_told_what_changed_reads_everything() {
        let since = |known| Extent::since(Revision(known), 100, 40);
        assert_eq!(since(100), Extent::Nothing);
        assert_eq!([99, 40].map(since), [Extent::Changes; 2]);
        assert_eq!([39, -1, 101].map(since), [Extent::Everything; 3]);
    }

    #[test]
    fn notes_are_swept_now_and_then() {
        assert_eq!(sweep(KEPT), None);
        let at = (KEPT / SWEPT_EVERY + 1) * SWEPT_EVERY;
        assert_eq!((sweep(at - 1), sweep(at)), (None, Some(at - KEPT)));
    }
}
