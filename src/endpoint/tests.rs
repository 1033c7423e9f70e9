mod forgeries;

use super::credentials::Credentials;
use super::handshake::VerifyTokens;
use super::signature::{Algorithm, Encoding, Signature, Signer};
use super::{Ack, Counters, Decision, Endpoint, Proof, Table};
use crate::http::head::{Head, Slots};
use crate::http::{Challenge, Limits, Status};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::sync::Arc;

const LIMITS: Limits = Limits {
    head: 16 << 10,
    headers: 100,
    body: 4 << 20,
};
const NOW: u64 = 1_750_000_000;

fn endpoint(proof: Proof) -> Endpoint {
    Endpoint {
        name: "webhook".to_owned(),
        path: "/webhook".to_owned(),
        number: 1,
        ack: Ack::Stored,
        foreign: false,
        form: 0,
        verify_tokens: VerifyTokens::new(vec![b"first".to_vec(), b"s\xc3\xa9cond &".to_vec()]),
        proof,
        keep_headers: vec!["x-hub-signature-256".to_owned(), "content-type".to_owned()],
        counters: Arc::new([]),
    }
}

/// What the endpoint does with a post of `body` that has these fields.
fn post(endpoint: &Endpoint, fields: &str, body: &str) -> Result<(), Status> {
    request(
        endpoint,
        &format!("POST /webhook HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n{fields}\r\n"),
        body,
    )
    .map(|decision| assert!(matches!(decision, Decision::Store)))
}

fn request(endpoint: &Endpoint, head: &str, body: &str) -> Result<Decision, Status> {
    let mut slots = Slots::new();
    let head = Head::parse(head.as_bytes(), &mut slots, &LIMITS)
        .expect("valid")
        .expect("complete");
    endpoint.admit(&head)?;
    endpoint.decide(&head, body.as_bytes(), NOW, &Counters::default())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|d| char::from(b"0123456789abcdef"[usize::from(d)]))
        .collect()
}

fn hmac(secret: &str, message: &str) -> Vec<u8> {
    sign(
        &Key::new(HMAC_SHA256, secret.as_bytes()),
        message.as_bytes(),
    )
    .as_ref()
    .to_vec()
}

#[test]
fn meta_signatures_over_the_exact_bytes() {
    let endpoint = endpoint(Proof::Signature(Signature::meta(&[
        b"test_app_secret".to_vec()
    ])));
    let compact = r#"{"object":"whatsapp_business_account","entry":[]}"#;
    let spaced = r#"{"object": "whatsapp_business_account", "entry": []}"#;
    // Published check vectors: HMAC-SHA256 under `test_app_secret`.
    let of_compact = "sha256=dec6a680679a968e7e0319355b23599cbfc54502c0784668e9618baa0c633756";
    let of_spaced = "sha256=56cbbaf4961c6cfdae48b7f116c047e5eb513d2c931baae63a2bc1afd26f803a";
    let signed = |signature: &str, body| {
        post(
            &endpoint,
            &format!("X-Hub-Signature-256: {signature}\r\n"),
            body,
        )
    };
    assert_eq!(signed(of_compact, compact), Ok(()));
    assert_eq!(
        signed(
            &of_compact.to_uppercase().replace("SHA256", "sha256"),
            compact
        ),
        Ok(())
    );
    assert_eq!(signed(of_spaced, spaced), Ok(()));
    assert_eq!(signed(of_spaced, compact), Err(Status::Unauthorized));
    assert_eq!(signed(of_compact, spaced), Err(Status::Unauthorized));
}

#[test]
fn escapes_are_signed_as_they_stand() {
    let endpoint = endpoint(Proof::Signature(Signature::meta(&[b"s".to_vec()])));
    let escaped = r#"{"text":"caf\u00e9 \u0040 a\/b"}"#;
    let fields = format!(
        "X-Hub-Signature-256: sha256={}\r\n",
        hex(&hmac("s", escaped))
    );
    assert_eq!(post(&endpoint, &fields, escaped), Ok(()));
    assert_eq!(
        post(&endpoint, &fields, r#"{"text":"café @ a/b"}"#),
        Err(Status::Unauthorized)
    );
}

#[test]
fn a_missing_malformed_or_repeated_signature_is_refused_by_the_head() {
    let endpoint = endpoint(Proof::Signature(Signature::meta(&[b"s".to_vec()])));
    let good = format!("X-Hub-Signature-256: sha256={}\r\n", hex(&hmac("s", "{}")));
    assert_eq!(post(&endpoint, &good, "{}"), Ok(()));
    for fields in [
        String::new(),
        "X-Hub-Signature-256: \r\n".to_owned(),
        "X-Hub-Signature: sha1=00\r\n".to_owned(),
        good.replace("sha256=", "sha1="),
        good.replace("sha256=", ""),
        good.replace("\r\n", "0\r\n"),
        good.repeat(2),
        format!("X-Hub-Signature-256: sha256={}\r\n", "zz".repeat(32)),
    ] {
        let head =
            format!("POST /webhook HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n{fields}\r\n");
        let mut slots = Slots::new();
        let head = Head::parse(head.as_bytes(), &mut slots, &LIMITS)
            .expect("valid")
            .expect("complete");
        assert_eq!(
            endpoint.admit(&head),
            Err(Status::Unauthorized),
            "{fields:?}"
        );
    }
}

#[test]
fn any_of_several_secrets_and_the_counter_of_the_one() {
    let proof = Proof::Signature(Signature::meta(&[b"old".to_vec(), b"new".to_vec()]));
    let endpoint = endpoint(proof);
    let signature = hex(&hmac("new", "{}"));
    let head =
        format!("POST / HTTP/1.1\r\nHost: h\r\nX-Hub-Signature-256: sha256={signature}\r\n\r\n");
    let mut slots = Slots::new();
    let head = Head::parse(head.as_bytes(), &mut slots, &LIMITS)
        .expect("valid")
        .expect("complete");
    let counters = Counters::default();
    assert!(endpoint.decide(&head, b"{}", NOW, &counters).is_ok());
    assert_eq!(
        (counters.verified[0].get(), counters.verified[1].get()),
        (0, 1)
    );
}

/// Passwords, tokens and header values were not counted, so nobody saw when the old one was no longer in use.
#[test]
fn credentials_say_which_secret_proved_a_post_and_what_they_ask_for() {
    let header = || Credentials::header("x-key".to_owned(), vec![b"old".to_vec(), b"new".to_vec()]);
    let bearer = Credentials::bearer(vec![b"old".to_vec(), b"new".to_vec()]);
    let basic = Credentials::basic("user", &[b"old", b"new"]);
    let pair = BASE64_STANDARD.encode("user:new");
    let signature = Signature::meta(&[b"s".to_vec()]);
    for (proof, field, challenge, shown) in [
        (
            Proof::Credentials(basic, None),
            format!("Authorization: Basic {pair}\r\n"),
            Challenge::Basic,
            "Basic in authorization",
        ),
        (
            Proof::Credentials(bearer, None),
            "Authorization: Bearer new\r\n".to_owned(),
            Challenge::Bearer,
            "Bearer in authorization",
        ),
        (
            Proof::Credentials(header(), None),
            "X-Key: new\r\n".to_owned(),
            Challenge::Header,
            "a secret in x-key",
        ),
        (
            Proof::Credentials(header(), Some(signature)),
            "X-Key: new\r\n".to_owned(),
            Challenge::Header,
            "a secret in x-key, and a signature in x-hub-signature-256",
        ),
    ] {
        assert_eq!((proof.challenge(), &*proof.to_string()), (challenge, shown));
        let is_signed = matches!(proof, Proof::Credentials(_, Some(_)));
        let endpoint = endpoint(proof);
        let admitted = |field: &str| {
            let head =
                format!("POST /webhook HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n{field}\r\n");
            let mut slots = Slots::new();
            let head = Head::parse(head.as_bytes(), &mut slots, &LIMITS);
            endpoint.admit(&head.expect("valid").expect("complete"))
        };
        if is_signed {
            let field = format!("{field}X-Hub-Signature-256: sha256={}\r\n", "00".repeat(32));
            assert_eq!(admitted(&field), Ok(None), "the signature says which");
        } else {
            assert_eq!(admitted(&field), Ok(Some(1)));
        }
        let wrong = field.replace("new", "odd").replace(&pair, "b2Rk");
        assert_eq!(admitted(&wrong), Err(Status::Unauthorized));
    }
}

#[test]
fn dialog360_takes_credentials_and_both_forms_of_signature() {
    let basic = || Credentials::basic("user", &[b"old", b"pass:word"]);
    let with = |value: &str| format!("Authorization: {value}\r\n");
    let good = with(&format!(
        "Basic {}",
        BASE64_STANDARD.encode("user:pass:word")
    ));
    let plain = endpoint(Proof::Credentials(basic(), None));
    assert_eq!(post(&plain, &good, "{}"), Ok(()));
    assert_eq!(
        post(&plain, &good.replace("Basic ", "basic  "), "{}"),
        Ok(())
    );
    for wrong in [
        "Basic",
        "Basic ",
        "Bearer x",
        "Basic dXNlcjp4",
        "dXNlcjpwYXNzOndvcmQ=",
    ] {
        assert_eq!(
            post(&plain, &with(wrong), "{}"),
            Err(Status::Unauthorized),
            "{wrong}"
        );
    }
    assert_eq!(
        post(&plain, &good.repeat(2), "{}"),
        Err(Status::Unauthorized)
    );
    let signed = endpoint(Proof::Credentials(
        basic(),
        Some(Signature::dialog360(&[b"s".to_vec()])),
    ));
    assert_eq!(post(&signed, &good, "{}"), Err(Status::Unauthorized));
    let tag = hmac("s", "{}");
    for form in [
        hex(&tag),
        BASE64_STANDARD.encode(&tag),
        BASE64_STANDARD.encode(&tag).replace('=', ""),
    ] {
        assert_eq!(
            post(
                &signed,
                &format!("{good}x-360dialog-signature: {form}\r\n"),
                "{}"
            ),
            Ok(()),
            "{form}"
        );
    }
    let bearer = endpoint(Proof::Credentials(
        Credentials::bearer(vec![b"t".to_vec()]),
        None,
    ));
    assert_eq!(post(&bearer, &with("bearer t"), "{}"), Ok(()));
    assert_eq!(
        post(&bearer, &with("bearer tt"), "{}"),
        Err(Status::Unauthorized)
    );
    let header = Credentials::header("x-api-key".to_owned(), vec![b"k".to_vec()]);
    let header = endpoint(Proof::Credentials(header, None));
    assert_eq!(post(&header, "X-Api-Key: k\r\n", "{}"), Ok(()));
    assert_eq!(
        post(&header, "X-Api-Key: \r\n", "{}"),
        Err(Status::Unauthorized)
    );
}

#[test]
fn standard_webhooks_sign_id_timestamp_and_body() {
    let endpoint = endpoint(Proof::Signature(Signature::standard_webhooks(
        &[b"s".to_vec()],
        300,
    )));
    let fields = |timestamp: u64, signatures: &str| {
        format!(
            "webhook-id: m1\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signatures}\r\n"
        )
    };
    let sign = |timestamp: u64| BASE64_STANDARD.encode(hmac("s", &format!("m1.{timestamp}.{{}}")));
    let good = sign(NOW);
    assert_eq!(
        post(&endpoint, &fields(NOW, &format!("v1,{good}")), "{}"),
        Ok(())
    );
    assert_eq!(
        post(
            &endpoint,
            &fields(NOW, &format!("v1a,x v1,AAAA v1,{good}")),
            "{}"
        ),
        Ok(())
    );
    assert_eq!(
        post(&endpoint, &fields(NOW, &good), "{}"),
        Err(Status::Unauthorized)
    );
    assert_eq!(
        post(&endpoint, &fields(NOW + 1, &format!("v1,{good}")), "{}"),
        Err(Status::Unauthorized)
    );
    for timestamp in [NOW - 301, NOW + 301] {
        let signatures = format!("v1,{}", sign(timestamp));
        assert_eq!(
            post(&endpoint, &fields(timestamp, &signatures), "{}"),
            Err(Status::Unauthorized)
        );
    }
    assert_eq!(
        post(&endpoint, "webhook-id: m1\r\n", "{}"),
        Err(Status::Unauthorized)
    );
}

#[test]
fn generic_hmacs_follow_the_configuration() {
    let signature = Signature::body(
        "x-signature".to_owned(),
        "v0=".to_owned(),
        Algorithm::Sha256,
        Encoding::Base64,
        &[b"s".to_vec()],
    );
    let endpoint = endpoint(Proof::Signature(signature));
    let tag = BASE64_STANDARD.encode(hmac("s", "{}"));
    assert_eq!(
        post(&endpoint, &format!("X-Signature: v0={tag}\r\n"), "{}"),
        Ok(())
    );
    assert_eq!(
        post(&endpoint, &format!("X-Signature: {tag}\r\n"), "{}"),
        Err(Status::Unauthorized)
    );
}

#[test]
fn handshakes_echo_the_challenge_and_never_ask_for_a_signature() {
    let endpoint = endpoint(Proof::Signature(Signature::meta(&[b"s".to_vec()])));
    let get = |query: &str| {
        request(
            &endpoint,
            &format!("GET /webhook?{query} HTTP/1.1\r\nHost: h\r\n\r\n"),
            "",
        )
    };
    for (query, challenge) in [
        (
            "hub.mode=subscribe&hub.verify_token=first&hub.challenge=11%35+8",
            &b"115 8"[..],
        ),
        (
            "hub%2Emode=subscribe&hub.challenge=%00x&x=y&hub.verify_token=s%C3%A9cond+%26",
            b"\0x",
        ),
    ] {
        assert!(
            matches!(get(query), Ok(Decision::Challenge(echo)) if echo == challenge),
            "{query}"
        );
    }
    for query in [
        "",
        "hub.mode=subscribe&hub.challenge=1",
        "hub.mode=subscribe&hub.verify_token=&hub.challenge=1",
        "hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=1",
        "hub.mode=unsubscribe&hub.verify_token=first&hub.challenge=1",
        "hub.mode=subscribe&hub.verify_token=first",
        "hub.mode=subscribe&hub.verify_token=x&hub.verify_token=first&hub.challenge=1",
    ] {
        assert!(matches!(get(query), Err(Status::Forbidden)), "{query}");
    }
}

#[test]
fn heads_alone_decide_on_method_length_and_coding() {
    let endpoint = endpoint(Proof::Unsigned);
    let head = |line: &str, fields: &str| {
        request(
            &endpoint,
            &format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"),
            "",
        )
    };
    assert!(matches!(
        head("PUT /webhook", ""),
        Err(Status::MethodNotAllowed)
    ));
    assert!(matches!(
        head("POST /webhook", ""),
        Err(Status::LengthRequired)
    ));
    assert!(matches!(
        head("POST /webhook", "Content-Length: 0\r\n"),
        Ok(Decision::Store)
    ));
    let gzip = "Content-Length: 0\r\nContent-Encoding: gzip\r\n";
    assert!(matches!(
        head("POST /webhook", gzip),
        Err(Status::UnsupportedMediaType)
    ));
}

#[test]
fn the_headers_that_prove_a_body_are_kept_and_no_others() {
    let endpoint = endpoint(Proof::Unsigned);
    let bytes = b"POST /w HTTP/1.1\r\nHost: h\r\nAuthorization: secret\r\nX-HUB-Signature-256: s\r\nContent-Type: t\r\n\r\n";
    let mut slots = Slots::new();
    let head = Head::parse(bytes, &mut slots, &LIMITS)
        .expect("valid")
        .expect("complete");
    let kept: Vec<_> = endpoint.kept(head.headers).collect();
    assert_eq!(
        kept,
        [
            (&b"X-HUB-Signature-256"[..], &b"s"[..]),
            (b"Content-Type", b"t")
        ]
    );
}

#[test]
fn secrets_are_shown_by_no_debug() {
    let proof = Proof::Credentials(
        Credentials::basic("u", &[b"hunter2"]),
        Some(Signature::meta(&[b"hunter2".to_vec()])),
    );
    let shown = format!("{:?}", Table::new(vec![endpoint(proof)]));
    assert!(
        !shown.contains("hunter2") && !shown.contains("first"),
        "{shown}"
    );
}

/// The example of the specification's own libraries.
#[test]
fn what_goes_out_is_signed_as_the_specification_says() {
    let secret = BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let signer = Signer::standard_webhooks(&[secret.expect("base64")]);
    let body = br#"{"test": 2432232314}"#;
    let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body);
    let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_eq!(signature.as_deref(), Some(expected));
    assert_eq!(Signer::standard_webhooks(&[]).sign("a", "1", body), None);
}
