//! What starts a function: events of some types, or HTTP requests on a route.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::manifest::http::{Cors, HttpTrigger, Method, Mode};
use crate::manifest::webhook::Webhook;
use crate::names::EventPattern;

/// Starts the function. In a manifest, a `[[trigger]]` with the key `event` or the key `http`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Keys", untagged)]
pub enum Trigger {
    /// On events.
    Event(EventTrigger),
    /// On HTTP requests.
    Http(HttpTrigger),
}

/// Starts the function on events.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventTrigger {
    /// The event type or pattern.
    pub event: EventPattern,
    /// What the data must satisfy: a file's name in a manifest file, the JSON Schema itself in the
    /// API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
}

impl Trigger {
    /// The schema that the data must satisfy.
    pub fn schema(&self) -> Option<&Value> {
        match self {
            Self::Event(trigger) => trigger.schema.as_ref(),
            Self::Http(trigger) => trigger.schema.as_ref(),
        }
    }

    /// Where the schema is kept.
    pub fn schema_mut(&mut self) -> &mut Option<Value> {
        match self {
            Self::Event(trigger) => &mut trigger.schema,
            Self::Http(trigger) => &mut trigger.schema,
        }
    }

    /// The trigger, if it is one on events.
    pub fn as_event(&self) -> Option<&EventTrigger> {
        if let Self::Event(trigger) = self { Some(trigger) } else { None }
    }

    /// The trigger, if it is one on HTTP requests.
    pub fn as_http(&self) -> Option<&HttpTrigger> {
        if let Self::Http(trigger) = self { Some(trigger) } else { None }
    }
}

/// All keys of both kinds, so that an unknown one is told from a misplaced one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    event: Option<EventPattern>,
    schema: Option<Value>,
    http: Option<crate::manifest::http::PathPattern>,
    methods: Option<Vec<Method>>,
    host: Option<crate::manifest::http::HostName>,
    mode: Option<Mode>,
    cors: Option<Cors>,
    webhook: Option<Box<Webhook>>,
}

impl TryFrom<Keys> for Trigger {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let Keys { event, schema, http, methods, host, mode, cors, webhook } = keys;
        match (event, http) {
            (Some(event), None) => {
                let misplaced = [
                    ("methods", methods.is_some()),
                    ("host", host.is_some()),
                    ("mode", mode.is_some()),
                    ("cors", cors.is_some()),
                    ("webhook", webhook.is_some()),
                ];
                match misplaced.iter().find(|(_, is_there)| *is_there) {
                    Some((key, _)) => Err(format!(
                        "the key '{key}' belongs to a trigger with 'http', not with 'event'"
                    )),
                    None => Ok(Self::Event(EventTrigger { event, schema })),
                }
            }
            (None, Some(http)) => Ok(Self::Http(HttpTrigger {
                http,
                methods: methods.unwrap_or_default(),
                host,
                mode: mode.unwrap_or_default(),
                cors,
                webhook,
                schema,
            })),
            (None, None) => {
                Err("a trigger needs the key 'event' (a type) or 'http' (a path)".into())
            }
            (Some(_), Some(_)) => {
                Err("a trigger has 'event' or 'http', not both: write a [[trigger]] for each"
                    .into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    fn error(trigger: &str) -> String {
        Manifest::from_toml(&format!("name = 'x'\n[[trigger]]\n{trigger}")).unwrap_err().to_string()
    }

    #[test]
    fn both_kinds_are_read_and_written() {
        let manifest = Manifest::from_toml(
            "name = 'x'\n[[trigger]]\nevent = 'a.*'\n[[trigger]]\nhttp = '/orders/{id}'\nmethods = ['GET']\nmode = 'async'",
        )
        .unwrap();
        assert!(manifest.triggers[0].as_event().is_some());
        assert_eq!(manifest.triggers[1].as_http().unwrap().mode, Mode::Async);
        let json = serde_json::to_value(&manifest).unwrap();
        assert_eq!(Manifest::from_json(json).unwrap(), manifest);
    }

    #[test]
    fn a_trigger_is_one_of_both() {
        assert!(error("event = 'a'\nhttp = '/a'").contains("not both"));
        assert!(error("schema = 's'").contains("needs the key 'event'"));
        assert!(error("event = 'a'\nmethods = ['GET']").contains("'methods' belongs"));
        assert!(error("evnt = 'a'").contains("did you mean 'event'?"));
    }
}
