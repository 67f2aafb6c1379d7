//! "Did you mean …?" for unknown keys.

/// Adds the nearest known key to an error that names an unknown one.
///
/// It reads the sentence that serde writes for every format: "unknown field `a`, expected one of
/// `b`, `c`".
pub fn with_hint(message: &str) -> String {
    let Some((_, sentence)) = message.split_once("unknown field `") else {
        return message.to_owned();
    };
    let mut quoted = sentence.split('`').step_by(2);
    let Some(unknown) = quoted.next() else { return message.to_owned() };
    match nearest(unknown, quoted, |length| length / 2) {
        Some(known) => format!("{message}; did you mean '{known}'?"),
        None => message.to_owned(),
    }
}

/// The known name that an unknown one is most like, if it differs in no more letters than
/// `most_of` says for the longer of both.
pub fn nearest<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str>,
    most_of: impl Fn(usize) -> usize,
) -> Option<&'a str> {
    let known = known.into_iter().filter(|known| !known.is_empty());
    let nearest = known
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .filter(|(distance, known)| *distance <= most_of(known.len().max(unknown.len())))
        .min();
    nearest.map(|(_, known)| known)
}
