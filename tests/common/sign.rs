//! Signatures as the platforms make them, with the test's own hands.

use aws_lc_rs::hmac::{self, Algorithm, HMAC_SHA256};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// `X-Hub-Signature-256`, as a field line.
pub(crate) fn meta(secret: &str, body: &[u8]) -> String {
    format!(
        "X-Hub-Signature-256: sha256={}\r\n",
        hex(&sha256(secret.as_bytes(), body))
    )
}

/// The three fields of Standard Webhooks.
pub(crate) fn standard_webhooks(key: &[u8], id: &str, timestamp: u64, body: &[u8]) -> String {
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let signature = base64(&sha256(key, &signed));
    format!(
        "webhook-id: {id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: v1,{signature}\r\n"
    )
}

pub(crate) fn sha256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    with(HMAC_SHA256, secret, message)
}

pub(crate) fn with(algorithm: Algorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(algorithm, secret);
    hmac::sign(&key, message).as_ref().to_vec()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from_digit(u32::from(four), 16).expect("below 16");
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

pub(crate) fn from_base64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).expect("base64")
}
