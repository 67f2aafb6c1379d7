use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Event, Invalid> {
    Event::from_json(text.as_bytes())
}

#[test]
fn data_by_media_type() {
    let json =
        read(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a": 1}}"#).unwrap();
    assert_eq!(json.data.as_deref(), Some(br#"{"a": 1}"#.as_slice()));
    let text =
        read(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/plain","data":"a\nb"}"#)
            .unwrap();
    assert_eq!(text.data.as_deref(), Some(b"a\nb".as_slice()));
    let binary = read(
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"image/png","data_base64":"/wA="}"#,
    )
    .unwrap();
    assert_eq!(binary.data.as_deref(), Some([0xff, 0].as_slice()));
    for event in [json, text, binary] {
        assert_eq!(Event::from_json(&event.to_json()).unwrap(), event);
    }
}

#[test]
fn errors_point() {
    let pointer = |text: &str| read(text).unwrap_err().pointer;
    assert_eq!(pointer("[]"), "");
    assert_eq!(pointer(r#"{"specversion":"1.0","id":"1","source":"/s"}"#), "/type");
    assert_eq!(pointer(r#"{"specversion":"1.0","id":7,"source":"/s","type":"t"}"#), "/id");
    assert_eq!(
        pointer(r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#),
        "/specversion"
    );
    assert_eq!(
        pointer(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","ext":{}}"#),
        "/ext"
    );
    assert_eq!(
        pointer(
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":""}"#
        ),
        "/data_base64"
    );
}

#[test]
fn lone_surrogates_are_named() {
    let read = |name: &str, value: &str| {
        let others = [
            ("specversion", "1.0"),
            ("id", "1"),
            ("source", "/s"),
            ("type", "t"),
            ("datacontenttype", "a/b"),
        ];
        let others = others.into_iter().filter(|(other, _)| *other != name);
        let mut members: Vec<String> =
            others.map(|(name, value)| format!(r#""{name}":"{value}""#)).collect();
        members.push(format!(r#""{name}":"{value}""#));
        read(&format!("{{{}}}", members.join(",")))
    };
    for name in [
        "id",
        "source",
        "type",
        "specversion",
        "subject",
        "datacontenttype",
        "ext",
        "data",
        "data_base64",
    ] {
        for (value, lone) in [
            (r"\ud800", r"\ud800"),
            (r"\\é\ud83d\ude00\n\uDC00", r"\uDC00"),
            (r"\ud83dx\ude00", r"\ud83d"),
            (r"\ud83d\u0041", r"\ud83d"),
        ] {
            let wrong = read(name, value).unwrap_err();
            assert_eq!(wrong.pointer, format!("/{name}"));
            let reported = format!("'{name}' has the lone surrogate {lone} in it");
            assert!(wrong.message.starts_with(&reported), "{value}: {}", wrong.message);
        }
    }
    assert_eq!(read("id", r"\\ud800 \ud83d\ude00").unwrap().id, r"\ud800 😀");
    let other = Event::from_json(
        br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","ext":["\ud800"]}"#,
    );
    assert!(other.unwrap_err().message.contains("no arrays or objects"));
}

#[test]
fn bytes_of_no_named_type_are_not_taken_for_json() {
    let read = |data: &str| {
        Event::read_json(
            format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t",{data}}}"#)
                .as_bytes(),
        )
    };
    let opaque = read(r#""data_base64":"eyJhIjoxfQ==""#).unwrap();
    assert_eq!(opaque.data_member, "data_base64");
    assert!(opaque.event.opaque && !opaque.event.has_json_data());
    assert_eq!(opaque.event.data.as_deref(), Some(br#"{"a":1}"#.as_slice()));
    let stored = opaque.event.to_json();
    assert!(!String::from_utf8_lossy(&stored).contains("datacontenttype"));
    assert_eq!(Event::from_stored(&stored).unwrap(), opaque.event);
    let said =
        read(r#""datacontenttype":"application/json","data_base64":"eyJhIjoxfQ==""#).unwrap();
    assert!(said.event.has_json_data() && said.data_member == "data_base64");
    let json = read(r#""data":{"a":1},"data_base64":null"#).unwrap();
    assert!(json.event.has_json_data() && json.data_member == "data");
}

#[test]
fn a_member_stands_there_once() {
    for (pointer, member) in
        [("/id", r#""id":"2""#), ("/data", r#""data":1,"data":2"#), ("/a", r#""a":1,"a":1"#)]
    {
        let text = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t",{member}}}"#);
        let invalid = read(&text).unwrap_err();
        assert!(invalid.pointer == pointer && invalid.message.contains("twice"), "{invalid:?}");
    }
}

#[test]
fn what_earlier_releases_took_is_read_back() {
    let text = r#"{"specversion":"1.0","id":"1","source":"/a b","type":"t","subject":"","dataschema":":",
        "datacontenttype":"a/b, a/b","x":"\u0000","data":"1"}"#;
    assert!(read(text).is_err());
    let event = Event::from_stored(text.as_bytes()).unwrap();
    assert_eq!(
        (event.source.as_str(), event.datacontenttype.as_deref()),
        ("/a b", Some("a/b, a/b"))
    );
    assert_eq!(Event::from_stored(&event.to_json()).unwrap(), event);
    for none in ["", "[]", r#"{"specversion":"1.0","id":"1","source":"/s","type":""}"#] {
        assert!(Event::from_stored(none.as_bytes()).is_err(), "{none}");
    }
}

#[test]
fn white_space_around_json_is_kept() {
    let event = Event::new("1", "/s", "a.b".parse().unwrap(), " {\"a\": 1}\n").unwrap();
    assert_eq!(Event::from_stored(&event.to_json()).unwrap(), event);
    let document = serde_json::to_value(JsonFormat(&event)).unwrap();
    assert_eq!(document["data"]["a"], 1);
    // Of no named media type as well, where it is kept; elsewhere nothing is said that its sender
    // did not.
    let mut parts = EventParts::new("1", "/s", "a.b".parse().unwrap());
    parts.data = Some("\t{\"a\": 1}\r\n".into());
    let event = parts.check().unwrap();
    assert_eq!(Event::from_stored(&event.to_stored()).unwrap(), event);
    let plain: serde_json::Value = serde_json::from_slice(&event.to_json()).unwrap();
    assert_eq!((&plain["data"]["a"], plain.get("datacontenttype")), (&serde_json::json!(1), None));
}

proptest! {
    #[test]
    fn any_event_survives(
        id in "[^\\p{C}]{1,20}", subject in proptest::option::of("[^\\p{C}]{1,20}"),
        content in prop_oneof![
            Just(None), Just(Some("text/plain")), Just(Some("application/octet-stream")), Just(Some("text/json"))
        ],
        data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)), opaque in any::<bool>(),
        number in any::<i32>(), flag in any::<bool>(), text in "[^\\p{C}]{0,20}", space in "[ \n]{0,2}",
    ) {
        let mut parts = EventParts::new(id, "/s", "a.b".parse().unwrap());
        parts.subject = subject;
        parts.datacontenttype = content.map(str::to_owned);
        parts.opaque = opaque;
        // Without a media type the data is JSON, or bytes.
        parts.data = match content {
            None if !opaque => data.map(|d| format!("{space}{d:?}{space}").into()),
            _ => data.map(Bytes::from),
        };
        parts.extensions.insert("number".into(), Attribute::Integer(number));
        parts.extensions.insert("flag".into(), Attribute::Boolean(flag));
        parts.extensions.insert("text".into(), Attribute::String(text));
        let event = parts.check().unwrap();
        prop_assert_eq!(&Event::from_stored(&event.to_stored()).unwrap(), &event);
        if event.has_json_data() && event.datacontenttype.is_none() && !space.is_empty() {
            return Ok(());
        }
        prop_assert_eq!(&Event::from_stored(&event.to_json()).unwrap(), &event);
        prop_assert_eq!(Event::from_json(&event.to_json()).unwrap(), event);
    }

    /// Of JSON that nobody gave a media type, the format cannot say which white space was around
    /// it.
    #[test]
    fn whatever_is_accepted_survives(event in crate::event::arbitrary::any_event()) {
        prop_assert_eq!(&Event::from_stored(&event.to_stored()).unwrap(), &event);
        let written = Event::from_json(&event.to_json()).unwrap();
        let is_bare = event.has_json_data() && event.datacontenttype.is_none();
        let data = |event: &Event| event.data.as_deref().map(<[u8]>::trim_ascii).map(<[u8]>::to_vec);
        if is_bare && data(&written) == data(&event) {
            prop_assert_eq!(EventParts { data: None, ..written.into_parts() }, EventParts { data: None, ..event.into_parts() });
        } else {
            prop_assert_eq!(written, event);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Event::from_json(&bytes);
        let _ = Event::from_stored(&bytes);
    }
}
