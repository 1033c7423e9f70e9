//! Why something could not be tried.

use std::error::Error;

/// Why something could not be tried: in lower case, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RigError {
    pub message: String,
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl RigError {
    /// Failed for a reason that the message gives.
    pub(crate) fn failed(message: impl Into<String>) -> RigError {
        RigError {
            message: message.into(),
            source: None,
        }
    }

    /// Failed because of another error.
    pub(crate) fn because(
        message: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> RigError {
        RigError {
            message: message.into(),
            source: Some(source.into()),
        }
    }
}
