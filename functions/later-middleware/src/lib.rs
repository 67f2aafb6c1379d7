//! Middleware for WASI 0.3, with nothing of wasmill in it: it passes each request on to the handler
//! behind it, which for wasmill is the network, and passes the response back. It has no
//! wasmill.toml, as hosts refuse it unless they are let run WASI 0.3; the tests write one.
//!
//! `…/to/AUTHORITY/REST` is passed on to `http://AUTHORITY/REST`; any other path is not found. The
//! request's body goes there while it comes in, and the response's comes back while it is made.
//! The response says in `via` who passed it on.

use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::wit_future;

use crate::wasi::http::handler;

// The import only: what `wasip3` has for handlers is what exports this one.
wasip3::wit_bindgen::generate!({
    world: "samples:later-middleware/later-middleware",
    path: "wit",
    runtime_path: "wasip3::wit_bindgen::rt",
    with: {
        "wasi:clocks/types@0.3.0": wasip3::clocks::types,
        "wasi:http/types@0.3.0": wasip3::http::types,
        "wasi:http/handler@0.3.0": generate,
    },
});

struct LaterMiddleware;

wasip3::http::service::export!(LaterMiddleware);

impl wasip3::exports::http::handler::Guest for LaterMiddleware {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let Some((_, onward)) = target.split_once("/to/") else {
            return Ok(not_found());
        };
        let (authority, rest) = onward.split_once('/').unwrap_or((onward, ""));
        let rest = format!("/{rest}");
        let set = request
            .set_scheme(Some(&Scheme::Http))
            .and_then(|()| request.set_authority(Some(authority)))
            .and_then(|()| request.set_path_with_query(Some(&rest)));
        set.map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
        Ok(marked(handler::handle(request).await?))
    }
}

fn not_found() -> Response {
    let (done, trailers) = wit_future::new(|| Ok(None));
    drop(done);
    let response = Response::new(Fields::new(), None, trailers).0;
    // It is a status.
    let _ = response.set_status_code(404);
    response
}

/// The same response, with a header more: those of one that was received cannot be changed.
fn marked(received: Response) -> Response {
    let status = received.get_status_code();
    let headers = received.get_headers().clone();
    // It may be set.
    let _ = headers.append("via", b"1.1 later-middleware");
    let (done, result) = wit_future::new(|| Ok(()));
    drop(done);
    let (body, trailers) = Response::consume_body(received, result);
    let response = Response::new(headers, Some(body), trailers).0;
    let _ = response.set_status_code(status);
    response
}
