use super::*;

fn answer(status: u16, retry_after: Option<&'static str>, data: &'static str) -> Returned {
    let mut headers = HeaderMap::new();
    if let Some(value) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
    }
    let response =
        (StatusCode::from_u16(status).unwrap(), headers, Bytes::from_static(data.as_bytes()));
    returned(Ok(response), &Mask::default())
}

#[test]
fn a_refusal_s_text_is_decoded_before_it_is_cut() {
    let reason = |content_type: &'static str, data: &[u8]| {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        let response = (StatusCode::BAD_REQUEST, headers, Bytes::copy_from_slice(data));
        let Err(contract::Failure::Reject(reason)) = returned(Ok(response), &Mask::default())
        else {
            panic!("not a rejection")
        };
        reason.strip_prefix("answered with 400 Bad Request").unwrap().to_owned()
    };
    // Wherever a cut by bytes would fall.
    for shift in 0..4 {
        let text = format!("{}{}", "x".repeat(shift), "€".repeat(2 * REASON));
        let shown: String = text.chars().take(REASON).collect();
        assert_eq!(reason("text/plain", text.as_bytes()), format!(": {shown}"));
    }
    assert_eq!(
        reason("text/plain; charset=iso-8859-1", b"d\xe9j\xe0 vu"),
        ": d\u{fffd}j\u{fffd} vu"
    );
    assert_eq!(reason("image/png", b"\x89PNG\xff"), "");
}

#[test]
fn statuses_are_outcomes() {
    assert!(matches!(answer(204, None, ""), Ok(output) if output.data.is_empty()));
    for refused in [302, 400, 404, 422] {
        assert!(
            matches!(answer(refused, None, ""), Err(contract::Failure::Reject(_))),
            "{refused}"
        );
    }
    for passing in [408, 425, 429, 500, 503] {
        assert!(matches!(answer(passing, None, ""), Err(contract::Failure::Retry(_))), "{passing}");
    }
    let Err(contract::Failure::Retry(advice)) = answer(503, Some("7"), " busy \n") else {
        panic!("not a retry")
    };
    assert_eq!(
        (advice.reason.as_str(), advice.delay_ms),
        ("answered with 503 Service Unavailable: busy", Some(7000))
    );
    let Err(contract::Failure::Retry(advice)) =
        answer(503, Some("Fri, 31 Dec 1999 23:59:59 GMT"), "")
    else {
        panic!("not a retry")
    };
    assert_eq!(advice.delay_ms, None);
}
