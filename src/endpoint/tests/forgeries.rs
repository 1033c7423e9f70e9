//! What is nearly right is refused: a proof counts as a whole, and is about the body as a whole.

use super::{endpoint, hex, hmac, post, request};
use crate::endpoint::credentials::Credentials;
use crate::endpoint::signature::{Algorithm, Encoding, Signature};
use crate::endpoint::{Decision, Proof};
use crate::http::Status;
use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA512, Key, sign};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

const SECRET: &[u8] = b"s";

/// A way of signing: what verifies, the HMAC of a body, and the fields that carry one.
struct Scheme {
    name: &'static str,
    signature: Signature,
    tag: fn(&str) -> Vec<u8>,
    fields: fn(&[u8]) -> String,
}

fn of_body(body: &str) -> Vec<u8> {
    hmac("s", body)
}

fn schemes() -> Vec<Scheme> {
    let secrets = [SECRET.to_vec()];
    let generic = |algorithm, encoding| {
        let header = "x-signature".to_owned();
        Signature::body(header, "v0=".to_owned(), algorithm, encoding, &secrets)
    };
    vec![
        Scheme {
            name: "meta",
            signature: Signature::meta(&secrets),
            tag: of_body,
            fields: |tag| format!("X-Hub-Signature-256: sha256={}\r\n", hex(tag)),
        },
        Scheme {
            name: "360dialog, hex",
            signature: Signature::dialog360(&secrets),
            tag: of_body,
            fields: |tag| format!("x-360dialog-signature: {}\r\n", hex(tag)),
        },
        Scheme {
            name: "360dialog, base64",
            signature: Signature::dialog360(&secrets),
            tag: of_body,
            fields: |tag| format!("x-360dialog-signature: {}\r\n", BASE64_STANDARD.encode(tag)),
        },
        Scheme {
            name: "standard-webhooks",
            signature: Signature::standard_webhooks(&secrets, 300),
            tag: |body| hmac("s", &format!("m1.{}.{body}", super::NOW)),
            fields: |tag| {
                format!(
                    "webhook-id: m1\r\nwebhook-timestamp: {}\r\nwebhook-signature: v1,{}\r\n",
                    super::NOW,
                    BASE64_STANDARD.encode(tag)
                )
            },
        },
        Scheme {
            name: "generic-hmac, sha1",
            signature: generic(Algorithm::Sha1, Encoding::Hex),
            tag: |body| {
                let key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET);
                sign(&key, body.as_bytes()).as_ref().to_vec()
            },
            fields: |tag| format!("X-Signature: v0={}\r\n", hex(tag)),
        },
        Scheme {
            name: "generic-hmac, sha512",
            signature: generic(Algorithm::Sha512, Encoding::Base64),
            tag: |body| {
                let key = Key::new(HMAC_SHA512, SECRET);
                sign(&key, body.as_bytes()).as_ref().to_vec()
            },
            fields: |tag| format!("X-Signature: v0={}\r\n", BASE64_STANDARD.encode(tag)),
        },
    ]
}

#[test]
fn a_signature_counts_to_its_last_bit() {
    for scheme in schemes() {
        let endpoint = endpoint(Proof::Signature(scheme.signature));
        let tag = (scheme.tag)("{}");
        let taken = |tag: &[u8]| post(&endpoint, &(scheme.fields)(tag), "{}");
        assert_eq!(taken(&tag), Ok(()), "{}", scheme.name);
        for bit in 0..8 * tag.len() {
            let mut wrong = tag.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let refused = Err(Status::Unauthorized);
            assert_eq!(taken(&wrong), refused, "{}, bit {bit}", scheme.name);
        }
        for length in (0..tag.len()).chain([tag.len() + 1]) {
            let mut wrong = tag.clone();
            wrong.resize(length, 0);
            let refused = Err(Status::Unauthorized);
            assert_eq!(taken(&wrong), refused, "{}, {length} bytes", scheme.name);
        }
    }
}

#[test]
fn a_signature_is_over_every_byte_of_the_body() {
    const BODY: &str = " {\"a\": [1, 2]}\r\n";
    for scheme in schemes() {
        let endpoint = endpoint(Proof::Signature(scheme.signature));
        let fields = (scheme.fields)(&(scheme.tag)(BODY));
        assert_eq!(post(&endpoint, &fields, BODY), Ok(()), "{}", scheme.name);
        for wrong in [
            format!("{BODY}\n"),
            format!("{BODY} "),
            format!("{BODY}\0"),
            format!("\n{BODY}"),
            BODY.trim_end().to_owned(),
            BODY.trim_start().to_owned(),
            BODY.trim_end_matches('\n').to_owned(),
            BODY.replace("\r\n", "\n"),
            BODY.replace(", ", ","),
            BODY.to_uppercase(),
            String::new(),
        ] {
            let refused = Err(Status::Unauthorized);
            let taken = post(&endpoint, &fields, &wrong);
            assert_eq!(taken, refused, "{}: {wrong:?}", scheme.name);
        }
    }
}

/// What is nearly `secret`: cut, longer, in another case, with white space, nothing.
fn nearly(secret: &str) -> Vec<String> {
    let mut last = secret.to_owned();
    let changed = if last.pop() == Some('x') { 'y' } else { 'x' };
    let mut nearly = vec![
        format!("{last}{changed}"),
        format!("{secret}x"),
        format!("{secret}{secret}"),
        format!("x{secret}"),
        secret.to_uppercase(),
        format!("\"{secret}\""),
    ];
    nearly.extend((0..secret.len()).map(|length| secret[..length].to_owned()));
    nearly.extend((1..secret.len()).map(|start| secret[start..].to_owned()));
    nearly
}

#[test]
fn credentials_count_as_a_whole() {
    let basic = BASE64_STANDARD.encode("user:pass word");
    let cases = [
        (
            Credentials::basic("user", &[b"pass word"]),
            "Authorization: Basic ",
            basic.as_str(),
        ),
        (
            Credentials::bearer(vec![b"to-ken".to_vec()]),
            "Authorization: Bearer ",
            "to-ken",
        ),
        (
            Credentials::header("x-api-key".to_owned(), vec![b"key1".to_vec()]),
            "X-Api-Key: ",
            "key1",
        ),
    ];
    for (credentials, field, secret) in cases {
        let endpoint = endpoint(Proof::Credentials(credentials, None));
        let taken = |secret: &str| post(&endpoint, &format!("{field}{secret}\r\n"), "{}");
        assert_eq!(taken(secret), Ok(()), "{field}");
        for wrong in nearly(secret) {
            assert_eq!(taken(&wrong), Err(Status::Unauthorized), "{field}{wrong:?}");
        }
    }
}

#[test]
fn a_verify_token_counts_as_a_whole() {
    let endpoint = endpoint(Proof::Unsigned);
    let answer = |token: &str| {
        let query = format!("hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1");
        let head = format!("GET /webhook?{query} HTTP/1.1\r\nHost: h\r\n\r\n");
        request(&endpoint, &head, "")
    };
    assert!(matches!(answer("first"), Ok(Decision::Challenge(_))));
    let quoted = |wrong: String| wrong.replace('"', "%22");
    let beside = [
        "first%00", "first+", "first%20", "+first", "first%0A", "first%26",
    ];
    let beside = beside.into_iter().map(str::to_owned);
    for wrong in nearly("first").into_iter().map(quoted).chain(beside) {
        assert!(
            matches!(answer(&wrong), Err(Status::Forbidden)),
            "{wrong:?}"
        );
    }
}
