//! How posts prove where they come from: the kinds of senders, and what each takes.

use super::secret::Secret;
use crate::endpoint::signature::{Algorithm, Encoding};
use std::time::Duration;

/// How posts prove where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Meta's platform.
    Meta {
        /// Any of them answers the handshake; with none it is refused.
        verify_tokens: Vec<Secret>,
        /// Any of them verifies `X-Hub-Signature-256`.
        app_secrets: Vec<Secret>,
    },
    /// 360dialog. What is configured must all be there.
    Dialog360 {
        /// A header field that must have a given value.
        credential: Option<Credential>,
        /// Any of them verifies `x-360dialog-signature`, in hex or base64.
        signature_secrets: Vec<Secret>,
    },
    /// <https://www.standardwebhooks.com>
    StandardWebhooks {
        /// The decoded keys; any of them verifies.
        secrets: Vec<Secret>,
        /// How far `webhook-timestamp` may be from the clock.
        tolerance: Duration,
    },
    /// An HMAC over the body in a header field.
    GenericHmac {
        /// Any of them verifies.
        secrets: Vec<Secret>,
        /// The field, in lower case.
        header: String,
        /// The hash function.
        algorithm: Algorithm,
        /// How the field writes the HMAC.
        encoding: Encoding,
        /// What stands before it in the field, such as `sha256=`; often nothing.
        prefix: String,
    },
}

impl Provider {
    /// What the file calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Provider::Meta { .. } => "meta",
            Provider::Dialog360 { .. } => "360dialog",
            Provider::StandardWebhooks { .. } => "standard-webhooks",
            Provider::GenericHmac { .. } => "generic-hmac",
        }
    }
}

/// A header field that must have a given value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Basic …`
    Basic {
        /// Holds no colon.
        username: String,
        /// Any of them will do.
        passwords: Vec<Secret>,
    },
    /// `Authorization: Bearer …`; any of them will do.
    Bearer(Vec<Secret>),
    /// Any other field.
    Header {
        /// In lower case.
        name: String,
        /// Any of them will do.
        values: Vec<Secret>,
    },
}
