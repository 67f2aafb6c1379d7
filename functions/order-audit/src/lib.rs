//! Keeps an audit trail of orders: one log line and one record for every event whose type begins
//! with `order.`.

use serde_json::{Value, json};

use crate::exports::wasmill::function::handler::{Event, Failure, Guest, Output};
use crate::wasmill::function::context;
use crate::wasmill::function::log::{Level, log};

wit_bindgen::generate!({ world: "function", path: "../../wit" });

struct OrderAudit;

impl Guest for OrderAudit {
    fn handle(event: Event) -> Result<Output, Failure> {
        let level = if event.type_ == "order.flagged" { Level::Warn } else { Level::Info };
        let fields = [
            ("type".into(), json!(event.type_).to_string()),
            ("order".into(), json!(event.subject).to_string()),
            ("event".into(), json!(event.id).to_string()),
        ];
        log(level, "order event", &fields);

        let record = record(&context::current().id, &event);
        Ok(Output { content_type: None, data: record.to_string().into_bytes(), emit: Vec::new() })
    }
}

/// The trail's record of one event. Data that is not JSON is left out.
fn record(execution: &str, event: &Event) -> Value {
    let data = event.data.as_deref().and_then(|data| serde_json::from_slice::<Value>(data).ok());
    json!({
        "execution": execution,
        "event": event.id,
        "source": event.source,
        "type": event.type_,
        "order": event.subject,
        "time": event.time,
        "data": data,
    })
}

export!(OrderAudit);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Event, record};

    fn event(data: Option<&[u8]>) -> Event {
        Event {
            id: "e1".into(),
            source: "/shop".into(),
            type_: "order.created".into(),
            subject: Some("order-1".into()),
            time: None,
            dataschema: None,
            extensions: Vec::new(),
            datacontenttype: None,
            data: data.map(Into::into),
        }
    }

    #[test]
    fn a_record_holds_the_data() {
        let record = record("x1", &event(Some(br#"{"total_cents": 5}"#)));
        assert_eq!(record["order"], "order-1");
        assert_eq!(record["data"], json!({ "total_cents": 5 }));
    }

    #[test]
    fn data_that_is_not_json_is_left_out() {
        assert_eq!(record("x1", &event(Some(b"\x89PNG")))["data"], Value::Null);
        assert_eq!(record("x1", &event(None))["data"], Value::Null);
    }
}
