use http::{HeaderName, Uri};
use proptest::prelude::*;
use serde_json::json;
use wasmill_domain::event::json::JsonFormat;
use wasmill_domain::http_message::RequestHead;
use wasmill_domain::routes::Found;
use wasmill_domain::{
    Batch, Definitions, Digest, FunctionDefinition, Manifest, Registry, Revision, TraceContext,
};
use wasmill_schema::Compiler;

use super::*;

/// A function of this kind that answers at `/{id}/{*rest}`.
fn registry(kind: Kind) -> Arc<Registry> {
    let mut manifest = Manifest::from_json(
        json!({"name": "f", "trigger": [{"http": "/{id}/{*rest}", "mode": "async"}]}),
    )
    .unwrap();
    manifest.kind = Some(kind);
    let function = FunctionDefinition {
        tenant: TenantName::default(),
        name: manifest.name.clone(),
        version: 1,
        digest: Digest::of(b""),
        manifest: Arc::new(manifest),
        deployed_at: Timestamp::now(),
    };
    let definitions =
        Definitions { revision: Revision(1), functions: vec![function], ..Definitions::default() };
    Arc::new(Registry::build(definitions, &Registry::new(Arc::new(Compiler::default()))))
}

/// The request as the route has it; none where nothing answers at its path.
fn routed(registry: &Arc<Registry>, path: &str) -> Option<Routed> {
    let tenant = TenantName::default();
    let Found::Route(route, parameters) = registry.routes(&tenant)?.find(None, "POST", path) else {
        return None;
    };
    Some(Routed {
        function: Arc::clone(&route.function),
        route: route.clone(),
        parameters: parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        registry: Arc::clone(registry),
        path: path.to_owned(),
        trace: TraceContext::new_root(),
        tenant,
    })
}

proptest! {
    /// Whatever HTTP lets through is an event that goes through every queue, every store and the
    /// API.
    #[test]
    fn any_request_is_an_event_that_can_be_read_back(
        target in "/[!-~]{0,30}(/(%[0-9a-f]{2}|[!-~]){0,60}){1,4}(\\?[!-~]{0,40})?", filler in 0_usize..12_000,
        content_type in proptest::option::of(proptest::collection::vec(prop_oneof![b' '..=b'~', 0x80..=0xff_u8], 0..80)),
        repeated in any::<bool>(), body in proptest::collection::vec(any::<u8>(), 0..40), is_http in any::<bool>(),
    ) {
        let target = format!("{target}{}", if repeated { "q".repeat(filler) } else { String::new() });
        let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
        let registry = registry(if is_http { Kind::Http } else { Kind::Event });
        let Some(routed) = routed(&registry, uri.path()) else { return Ok(()) };
        let (mut parts, ()) = http::Request::post(uri).body(()).unwrap().into_parts();
        if let Some(value) = &content_type {
            parts.headers.insert(HeaderName::from_static("content-type"), HeaderValue::from_bytes(value).unwrap());
        }
        let event = event_of(&routed, &parts, Bytes::from(body.clone())).unwrap();
        let batch = Batch::single(mint(&routed, event.clone(), 1));
        prop_assert_eq!(&Batch::decode(&batch.encode_as(2)).unwrap(), &batch);
        prop_assert_eq!(&Event::from_stored(&event.to_json()).unwrap(), &event);
        prop_assert_eq!(&Event::from_json(&event.to_json()).unwrap(), &event);
        let shown: serde_json::Value = serde_json::from_slice(&serde_json::to_vec(&JsonFormat(&event)).unwrap()).unwrap();
        prop_assert_eq!(shown["httpmethod"].as_str(), Some("POST"));
        if is_http {
            let (head, again) = RequestHead::from_message(event.data.as_ref().unwrap()).unwrap();
            prop_assert_eq!(head.target, request::head_of(&parts, &routed.path).target);
            prop_assert_eq!(again, Bytes::from(body));
        } else {
            prop_assert_eq!(event.data.as_deref(), Some(&body[..]).filter(|body| !body.is_empty()));
        }
    }
}
