//! Greets whoever the path names: GET …/Ada

use std::io::Write as _;

use serde_json::json;
use wasip2::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Handler;

wasip2::http::proxy::export!(Handler);

impl wasip2::exports::http::incoming_handler::Guest for Handler {
    fn handle(request: IncomingRequest, outparam: ResponseOutparam) {
        respond(request, outparam);
        // What was printed belongs to this request; the instance may answer another one.
        let _ = std::io::stdout().flush();
    }
}

fn respond(request: IncomingRequest, outparam: ResponseOutparam) {
    if !matches!(request.method(), Method::Get) {
        return answer(outparam, 405, &[("allow", "GET")], "only GET is answered\n");
    }
    let target = request.path_with_query().unwrap_or_default();
    let greeting = json!({ "greeting": greet(&target) }).to_string();
    answer(outparam, 200, &[("content-type", "application/json")], &greeting);
}

/// The greeting for the last segment of a path.
fn greet(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    match path.rsplit('/').next() {
        None | Some("") => "Hello!".into(),
        Some(name) => format!("Hello, {name}!"),
    }
}

fn answer(outparam: ResponseOutparam, status: u16, headers: &[(&str, &str)], content: &str) {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).expect("a header that may be set");
    }
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status).expect("a status");
    let body = response.body().expect("the first body");
    ResponseOutparam::set(outparam, Ok(response));
    let stream = body.write().expect("the first stream");
    // What one write may hold, by WASI.
    for chunk in content.as_bytes().chunks(4096) {
        stream.blocking_write_and_flush(chunk).expect("a body that is read");
    }
    drop(stream);
    OutgoingBody::finish(body, None).expect("a whole body");
}

#[cfg(test)]
mod tests {
    use super::greet;

    #[test]
    fn the_path_names_somebody() {
        assert_eq!(greet("/greet/Ada?loud=1"), "Hello, Ada!");
        assert_eq!(greet("/greet/"), "Hello!");
    }
}
