//! The header that proves a post: an HMAC in hex or base64, after a prefix or in the form of Standard Webhooks.
//!
//! An input chooses a scheme by its first byte; the rest is the value of the header, in which `@` stands for the right
//! HMAC in hex, `$` for it in base64, and `\x01` to `\x04` for pieces of either.
//!
//! What must hold: no value panics; it verifies if and only if the reference decodes it to the right HMAC; and what
//! verifies was also found present, so that no post is refused by its head that its body would prove.

#![no_main]

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hookline::testing::endpoint::signature::{Algorithm, Encoding, Signature};
use hookline::testing::http::Limits;
use hookline::testing::http::head::{Head, Slots};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const BODY: &[u8] = b"{\"object\":\"whatsapp_business_account\"}";
const SECRET: &[u8] = b"a secret";
const NOW: u64 = 1_790_500_000;
const LIMITS: Limits = Limits {
    head: 4096,
    headers: 16,
    body: 100,
};

/// One way of signing, and the HMAC that is right for it.
struct Scheme {
    signature: Signature,
    header: &'static str,
    prefix: &'static str,
    encoding: Option<Encoding>,
    tag: Vec<u8>,
}

static SCHEMES: LazyLock<Vec<Scheme>> = LazyLock::new(|| {
    let secrets = [b"another".to_vec(), SECRET.to_vec()];
    let tag = |algorithm, text: &[u8]| {
        hmac::sign(&hmac::Key::new(algorithm, SECRET), text)
            .as_ref()
            .to_vec()
    };
    let sha256 = tag(hmac::HMAC_SHA256, BODY);
    let custom = |algorithm, encoding| {
        Signature::body(
            "x-signature".to_owned(),
            "v=".to_owned(),
            algorithm,
            encoding,
            &secrets,
        )
    };
    let signed = [format!("id.{NOW}.").as_bytes(), BODY].concat();
    let scheme = |signature, header, prefix, encoding, tag: &[u8]| Scheme {
        signature,
        header,
        prefix,
        encoding,
        tag: tag.to_vec(),
    };
    let sha1 = tag(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, BODY);
    let sha512 = tag(hmac::HMAC_SHA512, BODY);
    vec![
        scheme(
            Signature::meta(&secrets),
            "x-hub-signature-256",
            "sha256=",
            Some(Encoding::Hex),
            &sha256,
        ),
        scheme(
            Signature::dialog360(&secrets),
            "x-360dialog-signature",
            "",
            Some(Encoding::Either),
            &sha256,
        ),
        scheme(
            custom(Algorithm::Sha1, Encoding::Base64),
            "x-signature",
            "v=",
            Some(Encoding::Base64),
            &sha1,
        ),
        scheme(
            custom(Algorithm::Sha512, Encoding::Either),
            "x-signature",
            "v=",
            Some(Encoding::Either),
            &sha512,
        ),
        scheme(
            Signature::standard_webhooks(&secrets, 300),
            "webhook-signature",
            "v1,",
            None,
            &tag(hmac::HMAC_SHA256, &signed),
        ),
    ]
});

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    let scheme = &SCHEMES[usize::from(*choice) % SCHEMES.len()];
    let value = expanded(rest, &scheme.tag);
    let fields = format!(
        "POST / HTTP/1.1\r\nhost: h\r\nwebhook-id: id\r\nwebhook-timestamp: {NOW}\r\n{}:",
        scheme.header
    );
    let bytes = [fields.as_bytes(), &value, b"\r\n\r\n"].concat();
    let mut slots = Slots::new();
    let Ok(Some(head)) = Head::parse(&bytes, &mut slots, &LIMITS) else {
        return;
    };
    if head.len < bytes.len() || head.headers.len() != 4 {
        return; // the value has ended the head, or is more than one field
    }
    let verified = scheme.signature.verify(&head, BODY, NOW);
    let expected = expected(scheme, value.trim_ascii());
    assert_eq!(
        verified.is_ok(),
        expected,
        "{:?}",
        String::from_utf8_lossy(&value)
    );
    if let Ok(secret) = verified {
        assert_eq!(secret, 1);
        assert!(scheme.signature.is_present(&head).is_ok());
        assert!(
            scheme
                .signature
                .verify(&head, b"another body", NOW)
                .is_err()
        );
    }
});

fn expanded(value: &[u8], tag: &[u8]) -> Vec<u8> {
    let (hex, base64) = (hex(tag), BASE64_STANDARD.encode(tag));
    let mut out = Vec::new();
    for byte in value {
        match byte {
            b'@' => out.extend_from_slice(hex.as_bytes()),
            b'$' => out.extend_from_slice(base64.as_bytes()),
            1 => out.extend_from_slice(&hex.as_bytes()[..hex.len() / 2]),
            2 => out.extend_from_slice(&hex.as_bytes()[hex.len() / 2..]),
            3 => out.extend_from_slice(&base64.as_bytes()[..base64.len() / 2]),
            4 => out.extend_from_slice(&base64.as_bytes()[base64.len() / 2..]),
            byte => out.push(*byte),
        }
    }
    out
}

fn hex(tag: &[u8]) -> String {
    tag.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether one of the ways in which the right HMAC can be written stands in the header.
fn expected(scheme: &Scheme, value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        // An HMAC is ASCII; Standard Webhooks may have others beside it.
        return scheme.encoding.is_none()
            && value
                .split(|byte| *byte == b' ')
                .any(|one| std::str::from_utf8(one).is_ok_and(|one| is_tag(scheme, one)));
    };
    match scheme.encoding {
        Some(_) => is_tag(scheme, text),
        None => text.split(' ').any(|one| is_tag(scheme, one)),
    }
}

fn is_tag(scheme: &Scheme, text: &str) -> bool {
    let Some(digits) = text.strip_prefix(scheme.prefix) else {
        return false;
    };
    let is_hex = digits.to_ascii_lowercase() == hex(&scheme.tag);
    let padded = BASE64_STANDARD.encode(&scheme.tag);
    let is_base64 = digits == padded || digits == padded.trim_end_matches('=');
    match scheme.encoding {
        Some(Encoding::Hex) => is_hex,
        Some(Encoding::Either) => is_hex || is_base64,
        Some(Encoding::Base64) | None => is_base64,
    }
}
