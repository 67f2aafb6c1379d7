use proptest::prelude::*;

use super::*;

const HELLO: &[u8] = include_bytes!("../../../functions/hello/hello.wasm");

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn error(bytes: &[u8]) -> String {
    inspect(bytes).unwrap_err().to_string()
}

#[test]
fn a_real_function() {
    let inspection = inspect(HELLO).unwrap();
    assert_eq!((inspection.kinds.as_slice(), inspection.adapter), (&[Kind::Event][..], None));
    assert_eq!(inspection.digest, Digest::of(HELLO));
    assert_eq!(inspection.size, HELLO.len() as u64);
    assert_eq!(inspection.exports, ["wasmill:function/handler@0.1.0"]);
    assert!(
        inspection.imports.iter().any(|name| name == "wasmill:function/log@0.1.0"),
        "{:?}",
        inspection.imports
    );
    inspection.require_imports().unwrap();
}

fn exporting(names: &[&str]) -> Vec<u8> {
    let exports: String =
        names.iter().map(|name| format!(r#" (export "{name}" (instance $i))"#)).collect();
    wat(&format!("(component (instance $i){exports})"))
}

#[test]
fn kinds_are_told_by_exports() {
    assert_eq!(
        inspect(&exporting(&["wasi:http/incoming-handler@0.2.4"])).unwrap().kinds,
        [Kind::Http]
    );
    assert_eq!(inspect(&exporting(&["wasi:cli/run@0.2.0"])).unwrap().kinds, [Kind::Command]);
    let both =
        inspect(&exporting(&["wasi:cli/run@0.2.0", "wasi:http/incoming-handler@0.2.4"])).unwrap();
    assert_eq!(both.kind(None), Ok(Kind::Http));
    assert_eq!(both.kind(Some(Kind::Command)), Ok(Kind::Command));
    let refused = both.kind(Some(Kind::Event)).unwrap_err().to_string();
    assert_eq!(
        refused,
        "kind: is event, and the component is http and command; it would have to export wasmill:function/handler@0.1"
    );
}

#[test]
fn wasi3_is_recognised() {
    let refused = |bytes: &[u8]| {
        let inspection = inspect(bytes).unwrap();
        inspection.require_wasi(true).unwrap();
        inspection.require_wasi(false).unwrap_err().to_string()
    };
    let by_name = exporting(&["wasi:cli/run@0.3.0"]);
    assert_eq!(inspect(&by_name).unwrap().kinds, [Kind::Command]);
    let said = refused(&by_name);
    assert!(
        said.contains("made for WASI 0.3 ('wasi:cli/run@0.3.0')")
            && said.contains("engine.wasi_0_3"),
        "{said}"
    );
    let importing = |interface: &str| {
        wat(&format!(
            r#"(component
                (type $wait (func async))
                (type $t (instance (export "wait" (func (type $wait)))))
                (import "{interface}" (instance (type $t)))
                (instance $i) (export "wasmill:function/handler@0.1.0" (instance $i)))"#
        ))
    };
    assert!(
        refused(&importing("wasi:clocks/monotonic-clock@0.3.0"))
            .contains("wasi:clocks/monotonic-clock@0.3.0")
    );
    assert!(refused(&importing("acme:shop/cart")).contains("asynchronous functions"));
    inspect(&exporting(&["wasi:cli/run@0.2.0"])).unwrap().require_wasi(false).unwrap();
}

/// What it is, where that shows, and what to do.
#[test]
fn a_draft_of_wasi3_is_refused_with_what_to_do() {
    let reported = |bytes: &[u8], shown: &str| {
        let said = error(bytes);
        for part in [
            "made for a draft of WASI 0.3: ",
            shown,
            "Build it for WASI 0.2",
            "`http_wasip3`",
            "wasip3 0.8",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    };
    let handler = "wasi:http/handler@0.3.0-rc-2025-09-16";
    reported(&exporting(&[handler]), &format!("it exports '{handler}'"));
    // One that is known by another export, as the draft is still asked for something.
    let importing = wat(r#"(component (import "wasi:clocks/types@0.3.0-rc-2026-01-06" (instance))
            (instance $i) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#);
    reported(&importing, "it imports 'wasi:clocks/types@0.3.0-rc-2026-01-06'");
    // Of which the binary format is not known either.
    let mut unknown = exporting(&[handler]);
    unknown.extend_from_slice(&[0x0f, 0x01, 0x00]);
    reported(&unknown, &format!("it exports '{handler}'"));
    let spare = inspect(&exporting(&["wasi:cli/run@0.2.0", handler])).unwrap();
    assert_eq!((spare.kinds.as_slice(), spare.runs_without_wasi3), (&[Kind::Command][..], true));
}

#[test]
fn one_for_both_is_run_by_wasi3_where_that_is_enabled() {
    for (exports, alone) in [
        (&["wasi:cli/run@0.2.0", "wasi:cli/run@0.3.0"][..], true),
        (&["wasi:http/incoming-handler@0.2.0", "wasi:http/handler@0.3.0"], true),
        (&["wasi:http/incoming-handler@0.2.0", "wasi:cli/run@0.3.0"], false),
        (&["wasi:cli/run@0.3.0"], false),
    ] {
        let inspection = inspect(&exporting(exports)).unwrap();
        assert_eq!(inspection.runs_without_wasi3, alone, "{exports:?}");
        assert_eq!(inspection.require_wasi(false).is_ok(), alone, "{exports:?}");
        assert_eq!(inspection.is_run_by_wasi3(false), !alone, "{exports:?}");
        assert!(inspection.is_run_by_wasi3(true), "{exports:?}");
    }
    let released = inspect(&exporting(&["wasi:cli/run@0.2.0"])).unwrap();
    assert!(!released.is_run_by_wasi3(true));
}

#[test]
fn an_unknown_kind_lists_its_exports() {
    assert!(error(&wat("(component)")).contains("but it exports nothing"));
    let said = error(&wat(r#"(component (instance $i) (export "acme:shop/cart" (instance $i)))"#));
    assert!(said.contains("but it exports 'acme:shop/cart'"), "{said}");
    let said = error(&wat(
        r#"(component (instance $i) (export "wasmill:function/handler@0.2.0" (instance $i)))"#,
    ));
    assert!(said.contains("in 0.2.0, and 0.1 is what is known here"), "{said}");
}

#[test]
fn exports_of_inner_components_do_not_count() {
    let nested = wat(r#"(component
        (component (instance $i) (export "wasmill:function/handler@0.1.0" (instance $i)))
        (core module (func (export "inner"))))"#);
    assert!(error(&nested).contains("it exports nothing"));
}

#[test]
fn a_missing_import_is_named() {
    let bytes = wat(r#"(component
        (import "wasi:http/outgoing-handler@0.4.0" (instance))
        (import "wasi:cli/exit@0.2.0" (instance))
        (import "acme:shop/cart" (instance))
        (instance $i) (export "wasmill:function/handler@0.1.0" (instance $i)))"#);
    let said = inspect(&bytes).unwrap().require_imports().unwrap_err().to_string();
    assert!(said.contains("'wasi:http/outgoing-handler@0.4.0' (the host has"), "{said}");
    assert!(said.contains("'acme:shop/cart' (unknown") && !said.contains("exit"), "{said}");
}

#[test]
fn what_is_not_wasm_is_named() {
    assert!(error(b"").contains("empty"));
    assert!(error(b"(component)").contains("WAT"));
    assert!(error(b"\x7fELF").contains("ELF"));
}

#[test]
fn a_cut_is_called_a_cut_with_its_place() {
    // Every place in the first sections, and then one in 101: each cut is validated anew.
    for at in (1..600).chain((600..HELLO.len()).step_by(101)) {
        match inspect(&HELLO[..at]) {
            Err(InspectError::Truncated { at: said, missing }) => {
                assert!(said == at as u64 && missing >= 1, "{at}");
            }
            // Between two sections nothing shows that one is missing but what the rest lacks.
            Ok(_) | Err(InspectError::UnknownKind(_)) => {
                assert!(
                    Parser::new(0).parse_all(&HELLO[..at]).all(|payload| payload.is_ok()),
                    "{at}"
                );
            }
            Err(other) => panic!("at {at}: {other}"),
        }
    }
}

#[test]
fn features_that_hosts_lack_are_refused() {
    let said = error(b"\0asm\x07\0\x01\0");
    assert!(said.contains("binary version"), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..400), as_wasm in any::<bool>()) {
        let header = b"\0asm\x0d\0\x01\0";
        let bytes = if as_wasm { [header.as_slice(), &bytes].concat() } else { bytes };
        let _ = inspect(&bytes).map(|inspection| inspection.require_imports());
    }

    #[test]
    fn damaged_components_get_an_answer(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = HELLO.to_vec();
        for (at, bit) in flips {
            *at.get_mut(&mut bytes) ^= 1 << bit;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(inspection) = inspect(&bytes) {
            let _ = inspection.require_imports();
        }
    }
}
