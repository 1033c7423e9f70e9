//! HMACs over the raw body, exactly the bytes that arrived: nothing is unescaped or re-serialised.
//!
//! - Meta: `X-Hub-Signature-256: sha256=<64 hex>`
//! - 360dialog partners: `x-360dialog-signature`, hex or base64 (the form is not documented, so both)
//! - Standard Webhooks 1.0 (standardwebhooks.com): `webhook-signature: v1,<base64> …` over `id.timestamp.body`
//! - anything else that puts one HMAC into one header
//!
//! aws-lc-rs compares in constant time. The keys are set up once.

use crate::hex;
use crate::http::Status;
use crate::http::head::Head;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, HMAC_SHA512, Key};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::fmt;

/// One way of signing, with every secret that is valid at the moment (rotation, several apps).
pub struct Signature {
    header: String,
    scheme: Scheme,
    keys: Vec<Key>,
}

/// The hash under the HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Sha256,
    /// HMAC-SHA1, for senders that know nothing better.
    Sha1,
    Sha512,
}

/// How the HMAC is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Hex digits of either case.
    Hex,
    /// Standard base64, padded or not.
    Base64,
    /// Whichever of the two the length says.
    Either,
}

enum Scheme {
    Body { prefix: String, encoding: Encoding },
    StandardWebhooks { tolerance_seconds: u64 },
}

/// In which header it stands.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a signature in {}", self.header)
    }
}

impl Signature {
    /// Meta's `X-Hub-Signature-256`.
    pub fn meta(secrets: &[Vec<u8>]) -> Signature {
        let header = "x-hub-signature-256".to_owned();
        Signature::body(
            header,
            "sha256=".to_owned(),
            Algorithm::Sha256,
            Encoding::Hex,
            secrets,
        )
    }

    /// 360dialog's `x-360dialog-signature`.
    pub fn dialog360(secrets: &[Vec<u8>]) -> Signature {
        let header = "x-360dialog-signature".to_owned();
        Signature::body(
            header,
            String::new(),
            Algorithm::Sha256,
            Encoding::Either,
            secrets,
        )
    }

    /// An HMAC over the body in any header, after a fixed `prefix`.
    pub fn body(
        header: String,
        prefix: String,
        algorithm: Algorithm,
        encoding: Encoding,
        secrets: &[Vec<u8>],
    ) -> Signature {
        let algorithm = match algorithm {
            Algorithm::Sha256 => HMAC_SHA256,
            Algorithm::Sha1 => HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha512 => HMAC_SHA512,
        };
        let keys = secrets
            .iter()
            .map(|secret| Key::new(algorithm, secret))
            .collect();
        Signature {
            header,
            scheme: Scheme::Body { prefix, encoding },
            keys,
        }
    }

    /// Standard Webhooks; `secrets` are the decoded ones. A timestamp further than `tolerance_seconds` from now is
    /// refused.
    pub fn standard_webhooks(secrets: &[Vec<u8>], tolerance_seconds: u64) -> Signature {
        let keys = secrets
            .iter()
            .map(|secret| Key::new(HMAC_SHA256, secret))
            .collect();
        let scheme = Scheme::StandardWebhooks { tolerance_seconds };
        Signature {
            header: "webhook-signature".to_owned(),
            scheme,
            keys,
        }
    }

    /// 401 when the head already shows that no body could verify.
    pub fn is_present(&self, head: &Head<'_, '_>) -> Result<(), Status> {
        match &self.scheme {
            Scheme::Body { .. } => self.claimed(head).map(|_| ()),
            Scheme::StandardWebhooks { .. } => StandardWebhooks::read(head).map(|_| ()),
        }
        .ok_or(Status::Unauthorized)
    }

    /// The position of the secret that made the signature; 401 when none did. `now` is in seconds since 1970.
    pub fn verify(&self, head: &Head<'_, '_>, body: &[u8], now: u64) -> Result<usize, Status> {
        let made = match &self.scheme {
            Scheme::Body { .. } => self.claimed(head).and_then(|claimed| {
                self.keys
                    .iter()
                    .position(|key| hmac::verify(key, body, claimed.bytes()).is_ok())
            }),
            Scheme::StandardWebhooks { tolerance_seconds } => StandardWebhooks::read(head)
                .filter(|fields| fields.timestamp.abs_diff(now) <= *tolerance_seconds)
                .and_then(|fields| {
                    self.keys
                        .iter()
                        .position(|key| fields.is_made_by(key, body))
                }),
        };
        made.ok_or(Status::Unauthorized)
    }

    /// The HMAC that the header claims.
    fn claimed(&self, head: &Head<'_, '_>) -> Option<Tag> {
        let Scheme::Body { prefix, encoding } = &self.scheme else {
            return None;
        };
        let value = head.single(&self.header).ok()??;
        let digits = value.strip_prefix(prefix.as_bytes())?;
        let len = self.keys.first()?.algorithm().digest_algorithm().output_len;
        match encoding {
            Encoding::Hex => Tag::from_hex(digits, len),
            Encoding::Either if digits.len() == 2 * len => Tag::from_hex(digits, len),
            Encoding::Either | Encoding::Base64 => Tag::from_base64(digits, len),
        }
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}, {} secrets)", self.header, self.keys.len())
    }
}

/// The three fields of Standard Webhooks.
struct StandardWebhooks<'b> {
    id: &'b [u8],
    timestamp_text: &'b [u8],
    timestamp: u64,
    signatures: &'b [u8],
}

impl<'b> StandardWebhooks<'b> {
    fn read(head: &Head<'_, 'b>) -> Option<StandardWebhooks<'b>> {
        let field = |name| {
            head.single(name)
                .ok()
                .flatten()
                .filter(|value| !value.is_empty())
        };
        let timestamp_text = field("webhook-timestamp")?;
        Some(StandardWebhooks {
            id: field("webhook-id")?,
            timestamp_text,
            timestamp: std::str::from_utf8(timestamp_text).ok()?.parse().ok()?,
            signatures: field("webhook-signature")?,
        })
    }

    fn is_made_by(&self, key: &Key, body: &[u8]) -> bool {
        let tag = standard_tag(key, self.id, self.timestamp_text, body);
        // Several signatures may stand side by side while the sender rotates.
        let claims = self
            .signatures
            .split(|&c| c == b' ')
            .filter_map(|one| one.strip_prefix(b"v1,"));
        let mut tags = claims.filter_map(|digits| Tag::from_base64(digits, tag.as_ref().len()));
        tags.any(|claimed| verify_slices_are_equal(claimed.bytes(), tag.as_ref()).is_ok())
    }
}

/// Signs what goes out by Standard Webhooks, with every secret that is valid at the moment.
pub struct Signer {
    keys: Vec<Key>,
}

impl Signer {
    /// `secrets` are the decoded ones.
    pub fn standard_webhooks(secrets: &[Vec<u8>]) -> Signer {
        let keys = secrets.iter().map(|secret| Key::new(HMAC_SHA256, secret));
        Signer {
            keys: keys.collect(),
        }
    }

    /// What `webhook-signature` says of a message with this `webhook-id` and `webhook-timestamp`; nothing without a
    /// secret.
    pub fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> Option<String> {
        let tags = self.keys.iter().map(|key| {
            let tag = standard_tag(key, id.as_bytes(), timestamp.as_bytes(), body);
            format!("v1,{}", BASE64.encode(tag))
        });
        let tags: Vec<String> = tags.collect();
        (!tags.is_empty()).then(|| tags.join(" "))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} secrets)", self.keys.len())
    }
}

fn standard_tag(key: &Key, id: &[u8], timestamp: &[u8], body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in [id, b".", timestamp, b".", body] {
        context.update(part);
    }
    context.sign()
}

/// A decoded HMAC, on the stack.
struct Tag {
    bytes: [u8; TAG_MAX],
    len: usize,
}

impl Tag {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn from_hex(digits: &[u8], len: usize) -> Option<Tag> {
        if digits.len() != 2 * len {
            return None;
        }
        let mut bytes = [0; TAG_MAX];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex::digit(pair[0])? << 4 | hex::digit(pair[1])?;
        }
        Some(Tag { bytes, len })
    }

    fn from_base64(digits: &[u8], len: usize) -> Option<Tag> {
        let mut bytes = [0; TAG_MAX];
        let decoded = BASE64.decode_slice(digits, &mut bytes).ok()?;
        (decoded == len).then_some(Tag { bytes, len })
    }
}

/// Room for the longest HMAC, SHA-512's 64 bytes, and for what a base64 decoder rounds up to.
const TAG_MAX: usize = 72;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
