//! What proves to receivers who has sent a post.

use super::error::RigError;
use super::samples;
use crate::config::Secret;
use crate::disk;
use crate::hex;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;

/// Whose receivers are to believe it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignAs {
    /// `X-Hub-Signature-256`
    #[default]
    Meta,
    /// `x-360dialog-signature`
    #[value(name = "360dialog")]
    Dialog360,
    /// `webhook-id`, `webhook-timestamp` and `webhook-signature`
    StandardWebhooks,
}

impl SignAs {
    pub(crate) fn key(self, secret: &Secret) -> Result<hmac::Key, RigError> {
        let bytes = secret.expose();
        if self != SignAs::StandardWebhooks {
            return Ok(hmac::Key::new(hmac::HMAC_SHA256, bytes));
        }
        let text = bytes.strip_prefix(b"whsec_").unwrap_or(bytes);
        let key = STANDARD.decode(text).map_err(|_| {
            RigError::failed("a Standard Webhooks secret is \"whsec_\" and base64 behind it")
        })?;
        Ok(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// The header fields that prove `body`.
    pub(crate) fn fields(self, key: &hmac::Key, body: &[u8]) -> Vec<(String, String)> {
        let field = |name: &str, value: String| (name.to_owned(), value);
        match self {
            SignAs::Meta => {
                let tag = hex::text(hmac::sign(key, body).as_ref());
                vec![field("X-Hub-Signature-256", format!("sha256={tag}"))]
            }
            SignAs::Dialog360 => {
                vec![field(
                    "x-360dialog-signature",
                    hex::text(hmac::sign(key, body).as_ref()),
                )]
            }
            SignAs::StandardWebhooks => {
                let id = format!("msg_{:016x}", samples::random());
                let time = disk::now() / 1_000_000;
                let signed = [format!("{id}.{time}.").as_bytes(), body].concat();
                let tag = STANDARD.encode(hmac::sign(key, &signed));
                vec![
                    field("webhook-id", id),
                    field("webhook-timestamp", time.to_string()),
                    field("webhook-signature", format!("v1,{tag}")),
                ]
            }
        }
    }
}

/// Appends the field that proves `body` to Meta's receivers, with its line end.
pub(crate) fn sign(key: &hmac::Key, body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"X-Hub-Signature-256: sha256=");
    out.extend_from_slice(hex::text(hmac::sign(key, body).as_ref()).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_providers() {
        let body = br#"{"object":"whatsapp_business_account","entry":[]}"#;
        let tag = "dec6a680679a968e7e0319355b23599cbfc54502c0784668e9618baa0c633756";
        let key = SignAs::Meta
            .key(&Secret::new(*b"test_app_secret"))
            .expect("any bytes");
        let fields = SignAs::Meta.fields(&key, body);
        assert_eq!(
            fields,
            [("X-Hub-Signature-256".to_owned(), format!("sha256={tag}"))]
        );
        assert_eq!(SignAs::Dialog360.fields(&key, body)[0].1, tag);

        let secret = Secret::new(*b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let key = SignAs::StandardWebhooks.key(&secret).expect("base64");
        let fields = SignAs::StandardWebhooks.fields(&key, body);
        let signed = [format!("{}.{}.", fields[0].1, fields[1].1).as_bytes(), body].concat();
        let tag = fields[2].1.strip_prefix("v1,").expect("a version");
        let tag = STANDARD.decode(tag).expect("base64");
        assert!(hmac::verify(&key, &signed, &tag).is_ok());
    }
}
