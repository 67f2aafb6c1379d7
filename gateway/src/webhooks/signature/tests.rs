//! Vectors as they were published, and each of them with any one bit turned over.

use http::{HeaderName, HeaderValue};
use wasmill_domain::Manifest;

use super::*;

const NOW_OF_STANDARD: i64 = 1_614_265_330;

/// A signed request as it arrives.
#[derive(Clone)]
struct Signed {
    scheme: Scheme,
    secret: Vec<u8>,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    /// When it was signed, in seconds since 1970.
    at: i64,
}

impl Signed {
    fn verdict(&self) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            // What cannot stand in a header does not arrive.
            let value = HeaderValue::from_bytes(value).map_err(|_| Refused::Headers)?;
            headers.append(HeaderName::from_static(name), value);
        }
        let statement = Statement::read(&self.scheme, &headers)?;
        statement
            .check_time(Timestamp::from_micros(self.at * 1_000_000), Duration::from_secs(300))?;
        let key = key_of(&self.scheme, &self.secret).unwrap();
        if statement.is_signed_with(&key, &self.body) { Ok(()) } else { Err(Refused::Signature) }
    }

    /// Makes sure that it passes as it is, and not with any one bit turned over in the body, in one
    /// of `signed` headers or in the secret. Says in how many ways it was tried.
    #[track_caller]
    fn must_be_exact(&self, signed: &[&str]) -> usize {
        assert_eq!(self.verdict(), Ok(()));
        let mut tried = 0;
        let mut refuse = |changed: &Self, what: &str, bit: usize| {
            assert!(changed.verdict().is_err(), "it passes with bit {bit} of {what} turned over");
            tried += 1;
        };
        for bit in 0..self.body.len() * 8 {
            let mut changed = self.clone();
            changed.body[bit / 8] ^= 1 << (bit % 8);
            refuse(&changed, "the body", bit);
        }
        for (index, (name, value)) in
            self.headers.iter().enumerate().filter(|(_, (name, _))| signed.contains(name))
        {
            for bit in 0..value.len() * 8 {
                let mut changed = self.clone();
                changed.headers[index].1[bit / 8] ^= 1 << (bit % 8);
                refuse(&changed, name, bit);
            }
        }
        for (index, (name, _)) in
            self.headers.iter().enumerate().filter(|(_, (name, _))| signed.contains(name))
        {
            let mut changed = self.clone();
            changed.headers.remove(index);
            refuse(&changed, name, 0);
            let mut changed = self.clone();
            changed.headers.push(self.headers[index].clone());
            refuse(&changed, name, 0);
        }
        let mut longer = self.clone();
        longer.body.push(0);
        refuse(&longer, "the body's length", 0);
        tried
    }
}

fn scheme(webhook: &str) -> Scheme {
    let text = format!(
        "name = 'x'\n[[trigger]]\nhttp = '/x'\n[trigger.webhook]\nsecrets = ['s']\n{webhook}"
    );
    let manifest = Manifest::from_toml(&text).unwrap();
    manifest.triggers[0].as_http().unwrap().webhook.clone().unwrap().scheme
}

/// Of the Standard Webhooks libraries' own tests.
fn standard_example() -> Signed {
    Signed {
        scheme: Scheme::Standard,
        secret: b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_vec(),
        headers: vec![
            ("webhook-id", b"msg_p5jXN8AQM9LWM0D4loKWxJek".to_vec()),
            ("webhook-timestamp", NOW_OF_STANDARD.to_string().into_bytes()),
            ("webhook-signature", b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_vec()),
        ],
        body: br#"{"test": 2432232314}"#.to_vec(),
        at: NOW_OF_STANDARD,
    }
}

/// Of GitHub's page on validating deliveries.
fn github_example() -> Signed {
    let signature =
        b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17".to_vec();
    Signed {
        scheme: Scheme::Github,
        secret: b"It's a Secret to Everybody".to_vec(),
        headers: vec![("x-hub-signature-256", signature)],
        body: b"Hello, World!".to_vec(),
        at: 0,
    }
}

/// Made as Stripe's page on verifying by hand says, with Python's `hmac`.
fn stripe_example() -> Signed {
    let signature = b"t=1492774577,v1=09357d4fb8d9eba6f07fdea6b2428fa819063ec7bb7f9eca18b88cf0ff729476,v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39";
    Signed {
        scheme: Scheme::Stripe,
        secret: b"whsec_test_secret".to_vec(),
        headers: vec![("stripe-signature", signature.to_vec())],
        body: br#"{"id": "evt_1", "object": "event"}"#.to_vec(),
        at: 1_492_774_577,
    }
}

fn hmac_example(webhook: &str, secret: &[u8], body: &[u8], signature: &str) -> Signed {
    Signed {
        scheme: scheme(&format!("scheme = 'hmac'\nheader = 'x-signature'\n{webhook}")),
        secret: secret.to_vec(),
        headers: vec![("x-signature", signature.as_bytes().to_vec())],
        body: body.to_vec(),
        at: 0,
    }
}

#[test]
fn standard_webhooks() {
    let example = standard_example();
    assert!(example.must_be_exact(&["webhook-id", "webhook-timestamp", "webhook-signature"]) > 700);
    // Without the prefix the secret is the same.
    Signed { secret: example.secret[6..].to_vec(), ..example.clone() }
        .must_be_exact(&["webhook-id"]);
    // Among signatures of other secrets and other kinds.
    let mut rotating = example.clone();
    let others = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4= ";
    let signature = [others.as_bytes(), &example.headers[2].1].concat();
    rotating.headers[2].1 = signature;
    assert_eq!(rotating.verdict(), Ok(()));
    // No more signatures are looked at than anybody needs.
    let mut many = example.clone();
    many.headers[2].1 = [b"v1,AA== ".repeat(MAX_SIGNATURES), example.headers[2].1.clone()].concat();
    assert!(many.verdict().is_err());
}

/// The same under the names of Svix, and under both, never under some of each.
#[test]
fn standard_webhooks_as_svix_sends_them() {
    const SVIX: [&str; 3] = ["svix-id", "svix-timestamp", "svix-signature"];
    let standard = standard_example();
    let mut svix = standard.clone();
    for (header, name) in svix.headers.iter_mut().zip(SVIX) {
        header.0 = name;
    }
    assert!(svix.must_be_exact(&SVIX) > 700);
    let mut both = standard.clone();
    both.headers.extend(svix.headers.clone());
    assert_eq!(both.verdict(), Ok(()));
    for (index, name) in SVIX.into_iter().enumerate() {
        let mut mixed = standard.clone();
        mixed.headers[index].0 = name;
        assert_eq!(mixed.verdict(), Err(Refused::Headers), "{name}");
        let mut other = both.clone();
        other.headers[3 + index].1[0] ^= 1;
        assert_eq!(other.verdict(), Err(Refused::Headers), "{name}");
        let mut partly = both.clone();
        partly.headers.remove(3 + index);
        assert_eq!(partly.verdict(), Err(Refused::Headers), "{name}");
    }
}

#[test]
fn the_example_of_github() {
    assert!(github_example().must_be_exact(&["x-hub-signature-256"]) > 600);
    // The old header proves nothing.
    let mut old = github_example();
    old.headers[0].0 = "x-hub-signature";
    assert_eq!(old.verdict(), Err(Refused::Headers));
}

#[test]
fn the_construction_of_stripe() {
    let mut example = stripe_example();
    // What stands behind the signature is not looked at, so it is not part of what must be exact.
    let value = &mut example.headers[0].1;
    value.truncate(value.len() - ",v0=".len() - 64);
    assert!(example.must_be_exact(&["stripe-signature"]) > 600);
    assert_eq!(stripe_example().verdict(), Ok(()));
    let mut twice = stripe_example();
    twice.headers[0].1.extend_from_slice(b",t=1492774578");
    assert_eq!(twice.verdict(), Err(Refused::Headers));
}

/// The test cases 1 to 4, 6 and 7 of RFC 4231; case 5 is about shortened results, which no scheme
/// here has.
#[test]
fn rfc_4231() {
    let case_4_key: Vec<u8> = (1..=25).collect();
    let cases: [(&[u8], &[u8], &str, &str); 6] = [
        (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"),
        (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"),
        (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe", "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb"),
        (&case_4_key, &[0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b", "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd"),
        (&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First", "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54", "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"),
        (&[0xaa; 131], b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.", "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2", "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58"),
    ];
    for (key, data, sha256, sha512) in cases {
        hmac_example("algorithm = 'sha256'", key, data, sha256).must_be_exact(&["x-signature"]);
        hmac_example("algorithm = 'sha512'", key, data, sha512).must_be_exact(&["x-signature"]);
        let base64 = BASE64.encode(hex::decode(sha512).unwrap());
        hmac_example("algorithm = 'sha512'\nencoding = 'base64'", key, data, &base64)
            .must_be_exact(&["x-signature"]);
    }
}

/// The first two test cases for HMAC-SHA-1 of RFC 2202.
#[test]
fn rfc_2202() {
    let first = "b617318655057264e28bc0b6fb378c8ef146be00";
    hmac_example("algorithm = 'sha1'", &[0x0b; 20], b"Hi There", first)
        .must_be_exact(&["x-signature"]);
    let second = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
    let data = b"what do ya want for nothing?";
    hmac_example("algorithm = 'sha1'", b"Jefe", data, second).must_be_exact(&["x-signature"]);
    let capitals = second.to_ascii_uppercase();
    hmac_example("algorithm = 'sha1'", b"Jefe", data, &capitals).must_be_exact(&["x-signature"]);
}

/// Slack's page on verifying requests has this one.
#[test]
fn an_hmac_with_a_timestamp() {
    let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let webhook =
        "prefix = 'v0='\ntimestamp_header = 'x-timestamp'\nsigned = 'v0:{timestamp}:{body}'";
    let mut example = hmac_example(webhook, b"8f742231b10e8888abcd99yyyzzz85a5", body, signature);
    example.headers.push(("x-timestamp", b"1531420618".to_vec()));
    example.at = 1_531_420_618;
    assert!(example.must_be_exact(&["x-signature", "x-timestamp"]) > 1_000);
    // What is signed behind the body counts as well.
    let trailing = "timestamp_header = 'x-timestamp'\nsigned = '{body}|{timestamp}'";
    let signature = "179a2554ae39ac024d77ee2729f478ae07d3fc78d72f4b36ec06ef5bae1f1df9";
    let mut example = hmac_example(trailing, b"key", b"payload", signature);
    example.headers.push(("x-timestamp", b"1531420618".to_vec()));
    example.at = 1_531_420_618;
    example.must_be_exact(&["x-signature", "x-timestamp"]);
}

#[test]
fn a_timestamp_is_within_the_tolerance() {
    for (late, verdict) in
        [(-301, Err(Refused::Stale)), (-300, Ok(())), (300, Ok(())), (301, Err(Refused::Stale))]
    {
        for example in [standard_example(), stripe_example()] {
            let at = example.at + late;
            assert_eq!(Signed { at, ..example }.verdict(), verdict, "{late} s");
        }
    }
    for text in ["", "-1", "+1", "1.5", " 1", "1e9", "99999999999999999999"] {
        assert_eq!(seconds(text), None, "{text}");
    }
}

#[test]
fn ids_of_deliveries() {
    let id = |example: &Signed| {
        let mut headers = HeaderMap::new();
        for (name, value) in &example.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        Statement::read(&example.scheme, &headers).ok()?.delivery_id(&example.scheme, &example.body)
    };
    assert_eq!(id(&standard_example()).as_deref(), Some("msg_p5jXN8AQM9LWM0D4loKWxJek"));
    assert_eq!(id(&stripe_example()).as_deref(), Some("evt_1"));
    assert_eq!(id(&github_example()), None);
    let mut github = github_example();
    github.headers.push(("x-github-delivery", b"72d3162e-cc78-11e3-81ab-4c9367dc0958".to_vec()));
    assert_eq!(id(&github).as_deref(), Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"));
    // What would be read in two ways, or is endless, is none.
    for bad in ["", "a.b", &"x".repeat(256)] {
        let mut example = standard_example();
        example.headers[0].1 = bad.as_bytes().to_vec();
        assert_eq!(example.verdict(), Err(Refused::Headers), "{bad}");
    }
}

#[test]
fn a_secret_that_is_no_key() {
    for bad in
        [&b"whsec_"[..], b"", b"whsec_not base64", b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"]
    {
        assert_eq!(key_of(&Scheme::Standard, bad), Err(NotAKey));
    }
    assert_eq!(key_of(&Scheme::Stripe, b"whsec_x").unwrap().as_ref(), b"whsec_x");
}
