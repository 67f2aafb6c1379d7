//! Tells its secret wherever it can: in every kind of log line, and at the end in whichever way the
//! event asks for. What is kept of it should have stars where the secret was.

use serde::Deserialize;
use serde_json::json;

use crate::exports::wasmill::function::handler::{Event, Failure, Guest, Output};
use crate::wasi::config::store;
use crate::wasmill::function::log::{Level, log};
use crate::wasmill::function::secrets;
use crate::wasmill::function::types::{EmittedEvent, RetryAdvice};

wit_bindgen::generate!({
    world: "samples:secret-teller/secret-teller",
    path: ["../../../wit", "wit"],
    generate_all,
});

/// The name that the manifest's `[secrets]` gives it.
const TOKEN: &str = "API_TOKEN";

/// The event's data.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Request {
    /// How to end: `retry`, `reject`, `panic`, `content-type`, `event-type`, or with a success.
    end: String,
}

struct SecretTeller;

impl Guest for SecretTeller {
    fn handle(event: Event) -> Result<Output, Failure> {
        let request: Request =
            serde_json::from_slice(&event.data.unwrap_or_default()).unwrap_or_default();
        let secret = secrets::get(TOKEN).expect("it is in [secrets]");
        let revealed = String::from_utf8(secret.reveal()).expect("it is text");
        let configured = store::get(TOKEN).expect("it can be had").expect("it is in [secrets]");
        let all = store::get_all().expect("they can be had");
        let unknown = secrets::get("NO_SUCH").is_err()
            && store::get("NO_SUCH").is_ok_and(|value| value.is_none());
        tell(&revealed);
        let said = format!("it is {configured}");
        match request.end.as_str() {
            "retry" => return Err(Failure::Retry(RetryAdvice { reason: said, delay_ms: None })),
            "reject" => return Err(Failure::Reject(said)),
            "panic" => panic!("{said}"),
            "content-type" => return Ok(output(Some(said), Vec::new(), Vec::new())),
            "event-type" => return Ok(output(None, b"1".to_vec(), vec![emitted(said)])),
            _ => {}
        }
        // A result is the function's own: this one has no more than the secret's length.
        let keys: Vec<&str> = all.iter().map(|(key, _)| key.as_str()).collect();
        let alike = revealed == configured
            && all.iter().any(|(key, value)| key == TOKEN && *value == revealed);
        let data = json!({
            "length": revealed.len(), "alike": alike, "unknown": unknown, "keys": keys, "region": store::get("region").ok().flatten(),
        });
        Ok(output(None, data.to_string().into_bytes(), Vec::new()))
    }
}

/// Writes it into the log in every way there is.
fn tell(secret: &str) {
    let basic = format!("Basic {}", base64(format!("user:{secret}").as_bytes()));
    let fields = [
        ("plain".into(), json!(secret).to_string()),
        ("nested".into(), json!({"headers": [["authorization", basic]], secret: true}).to_string()),
        ("text".into(), format!("not JSON: {secret}")),
    ];
    log(Level::Info, &format!("the token is {secret}"), &fields);
    println!("on standard output: {secret}");
    eprintln!("on standard error: {secret:?} and {basic}");
}

fn output(content_type: Option<String>, data: Vec<u8>, emit: Vec<EmittedEvent>) -> Output {
    Output { content_type, data, emit }
}

fn emitted(type_: String) -> EmittedEvent {
    EmittedEvent {
        type_,
        source: None,
        subject: None,
        extensions: Vec::new(),
        datacontenttype: None,
        data: None,
    }
}

/// RFC 4648, without padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let three = |chunk: &[u8]| {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digits =
            [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize]));
        digits.into_iter().take(chunk.len() + 1).collect::<String>()
    };
    bytes.chunks(3).map(three).collect()
}

export!(SecretTeller);
