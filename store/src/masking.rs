//! API keys that earlier releases kept in history: an `Authorization` that an operator's client
//! sent to a function's host name became part of the event. They are overwritten once, when the
//! database is brought up to date.

use wasmill_domain::mask_keys;

use crate::convert;

/// What a row of history has of guests' and senders' text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts {
    /// Of executions; attempts have none.
    pub(crate) event: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) backtrace: Option<String>,
    pub(crate) logs: Option<String>,
    pub(crate) output: Option<Vec<u8>>,
}

impl Texts {
    /// Overwrites the keys in all of it, and says whether there was one.
    pub(crate) fn mask(&mut self) -> bool {
        let mut is_masked = self.event.as_mut().is_some_and(mask_data);
        for text in [&mut self.event, &mut self.message, &mut self.backtrace, &mut self.logs]
            .into_iter()
            .flatten()
        {
            is_masked |= mask(text);
        }
        self.output.as_mut().is_some_and(|output| mask_keys(output)) | is_masked
    }
}

fn mask(text: &mut String) -> bool {
    let mut bytes = std::mem::take(text).into_bytes();
    let is_masked = mask_keys(&mut bytes);
    // Of ASCII only stars were made.
    *text = String::from_utf8_lossy(&bytes).into_owned();
    is_masked
}

/// Overwrites the keys in an event's data where that is not text, and so in base64.
fn mask_data(text: &mut String) -> bool {
    if !text.contains("\"data_base64\"") {
        return false;
    }
    // What cannot be read is left as it is.
    let Ok(event) = convert::event(text) else { return false };
    let mut parts = event.into_parts();
    let Some(mut data) = parts.data.take().map(Vec::from) else { return false };
    let is_masked = mask_keys(&mut data);
    parts.data = Some(data.into());
    match convert::from_event(&parts) {
        Ok(masked) if is_masked => *text = masked,
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_domain::{ApiKey, EventParts};

    #[test]
    fn keys_are_found_in_every_text() {
        let key = ApiKey::generate().unwrap();
        let key = key.reveal();
        let request = format!("GET / HTTP/1.1\r\nauthorization: Bearer {key}\r\n\r\n");
        let event = |data: Vec<u8>| {
            let mut parts = EventParts::new("1", "/", "wasmill.http.request".parse().unwrap());
            parts.data = Some(data.into());
            parts.datacontenttype = Some("application/http".into());
            convert::from_event(&parts.check().unwrap()).unwrap()
        };
        let text = event(request.clone().into_bytes());
        let binary = event([request.as_bytes(), b"\xff\0"].concat());
        assert!(text.contains(key) && !binary.contains(key) && binary.contains("data_base64"));
        for event in [text, binary] {
            let mut texts = Texts { event: Some(event.clone()), ..Texts::default() };
            assert!(texts.mask());
            let (before, after) =
                (convert::event(&event).unwrap(), convert::event(&texts.event.unwrap()).unwrap());
            let (before, after) = (before.data.clone().unwrap(), after.data.clone().unwrap());
            let expected = before.to_vec().iter().map(|b| *b as char).collect::<String>();
            let expected = expected.replace(key, &format!("wm_{}", "*".repeat(43)));
            assert_eq!(after.iter().map(|b| *b as char).collect::<String>(), expected);
        }
        let mut others = Texts {
            message: Some(format!("it said {key}")),
            logs: Some(format!("[\"{key}\"]")),
            output: Some(key.as_bytes().to_vec()),
            ..Texts::default()
        };
        assert!(others.mask() && !others.mask());
        assert!(!format!("{others:?}").contains(key));
    }
}
