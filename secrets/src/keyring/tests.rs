use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;

/// Two files' lines, each of a key of its own.
fn line(id: &str, byte: u8) -> String {
    format!("{id} {}\n", STANDARD.encode([byte; KEY_BYTES]))
}

fn ring(text: &str) -> Keyring {
    Keyring::parse(text).unwrap()
}

fn sealed(ring: &Keyring, value: &[u8]) -> SealedSecret {
    let (tenant, name) = (TenantName::default(), "api-token".parse().unwrap());
    ring.seal(&tenant, &name, 3, value, Timestamp::now()).unwrap()
}

#[test]
fn what_is_sealed_opens_again() {
    let ring = ring(&line("one", 1));
    for value in [&b""[..], b"x", &[0xff; 70_000]] {
        let secret = sealed(&ring, value);
        assert_eq!(secret.sealed.len(), NONCE_BYTES + value.len() + TAG_BYTES);
        assert_eq!(ring.open(&secret).unwrap().expose(), value);
    }
    assert_ne!(
        sealed(&ring, b"x").sealed,
        sealed(&ring, b"x").sealed,
        "equal values do not look equal"
    );
}

#[test]
fn a_row_cannot_be_moved() {
    let ring = ring(&format!("{}{}", line("one", 1), line("two", 2)));
    let secret = sealed(&ring, b"value");
    let damaged =
        |secret: SealedSecret| matches!(ring.open(&secret), Err(SecretError::Damaged { .. }));
    assert!(damaged(SealedSecret { tenant: "other".parse().unwrap(), ..secret.clone() }));
    assert!(damaged(SealedSecret { name: "api-tokens".parse().unwrap(), ..secret.clone() }));
    assert!(damaged(SealedSecret { version: 2, ..secret.clone() }));
    assert!(damaged(SealedSecret { key: "two".parse().unwrap(), ..secret.clone() }));
    assert!(damaged(SealedSecret {
        sealed: secret.sealed.slice(..NONCE_BYTES - 1),
        ..secret.clone()
    }));
    for at in 0..secret.sealed.len() {
        let mut bytes = secret.sealed.to_vec();
        bytes[at] ^= 1;
        assert!(
            damaged(SealedSecret { sealed: bytes.into(), ..secret.clone() }),
            "bit of byte {at}"
        );
    }
}

#[test]
fn the_first_key_seals_and_all_open() {
    let (old, new) = (
        ring(&line("old", 1)),
        ring(&format!("# rotated\n\n{}{}", line("new", 2), line("old", 1))),
    );
    assert_eq!((new.sealing_key().as_str(), sealed(&new, b"x").key.as_str()), ("new", "new"));
    assert_eq!(new.open(&sealed(&old, b"kept")).unwrap().expose(), b"kept");
    let error = old.open(&sealed(&new, b"x")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "secret 'api-token' is sealed by the operator key 'new', which is not in this process's secrets.key_file"
    );
}

#[test]
fn what_is_no_key_file_is_told_without_its_text() {
    let key = STANDARD.encode([7; KEY_BYTES]);
    for (text, word) in [
        (String::new(), "no key"),
        ("# nothing\n\n".into(), "no key"),
        (key.clone(), "line 1: a key is an id, a space"),
        (format!("{key} one"), "line 1: an id is"),
        (format!("\none {}", STANDARD.encode([7; 31])), "line 2: a key is"),
        ("one not-base64!".into(), "line 1: a key is"),
        (format!("{}{}", line("one", 1), line("one", 2)), "line 2: a key with this id"),
    ] {
        let error = Keyring::parse(&text).unwrap_err();
        assert!(error.contains(word) && !error.contains(&key), "{error}");
    }
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let id = Keyring::create(&path).unwrap();
    let chmod =
        |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(*Keyring::read(&path).unwrap().sealing_key(), id);
    assert!(Keyring::create(&path).unwrap_err().to_string().contains("exists already"));
    for (mode, good) in [
        (0o400, true),
        (0o440, true),
        (0o640, true),
        (0o644, false),
        (0o604, false),
        (0o660, false),
    ] {
        chmod(mode);
        assert_eq!(Keyring::read(&path).is_ok(), good, "{mode:o}");
    }
    chmod(0o644);
    let error = Keyring::read(&path).unwrap_err().to_string();
    assert!(
        error.contains("0644") && error.contains("chmod 0600") && error.contains("keys"),
        "{error}"
    );
    let error = Keyring::read(&folder.path().join("none")).unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
}

#[test]
fn nothing_is_shown_of_keys() {
    assert_eq!(format!("{:?}", ring(&line("one", 1))), r#"["one"]"#);
}

proptest! {
    #[test]
    fn any_text_is_a_key_file_or_not(text in "\\PC{0,80}") {
        let _ = Keyring::parse(&text);
    }

    #[test]
    fn any_bytes_open_or_are_damaged(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let ring = ring(&line("one", 1));
        let secret = SealedSecret { sealed: bytes.into(), ..sealed(&ring, b"") };
        let is_damaged = matches!(ring.open(&secret), Err(SecretError::Damaged { .. }));
        prop_assert!(is_damaged);
    }
}
