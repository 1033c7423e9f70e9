//! What the operating system has refused.

use super::storage::{Storage, is_shortage};
use std::io;
use std::path::Path;

/// What was tried on which file, and what the operating system said.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub struct Error {
    /// What was tried, as in "read".
    pub action: &'static str,
    pub path: String,
    pub source: io::Error,
}

impl Error {
    /// For `map_err`: what was tried on the file with this name, or on the directory without one.
    pub(crate) fn on(
        storage: &dyn Storage,
        action: &'static str,
        name: &str,
    ) -> impl FnOnce(io::Error) -> Error {
        // Not before there is an error: the path of a commit allocates nothing.
        move |source| Error {
            action,
            path: storage.describe(name),
            source,
        }
    }

    /// The same of a file that is in no storage.
    pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error {
            action,
            path: path.display().to_string(),
            source,
        }
    }

    /// True for what passes by itself when there is space again, or another resource.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        is_shortage(&self.source)
    }
}
