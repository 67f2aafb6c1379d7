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
    let nearest = quoted
        .filter(|known| !known.is_empty())
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .filter(|(distance, known)| *distance <= known.len().max(unknown.len()) / 2)
        .min();
    match nearest {
        Some((_, known)) => format!("{message}; did you mean '{known}'?"),
        None => message.to_owned(),
    }
}
