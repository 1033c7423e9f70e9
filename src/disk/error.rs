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
    /// Of the file with this name, or of the directory without one.
    pub(crate) fn on(
        storage: &dyn Storage,
        action: &'static str,
        name: &str,
        source: io::Error,
    ) -> Error {
        Error {
            action,
            path: storage.describe(name),
            source,
        }
    }

    /// For `map_err`: of a file that is in no storage.
    pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error {
            action,
            path: path.display().to_string(),
            source,
        }
    }

    /// True for what passes by itself when there is space again, or another resource.
    pub fn is_shortage(&self) -> bool {
        is_shortage(&self.source)
    }
}

/// Adds to what the operating system says what was tried, and on which file.
pub(crate) trait IoContext<T> {
    /// Of the file with this name, or of the directory without one.
    fn on(self, storage: &dyn Storage, action: &'static str, name: &str) -> Result<T, Error>;

    /// The same, where the name is put together only for an error.
    fn on_named(
        self,
        storage: &dyn Storage,
        action: &'static str,
        name: impl FnOnce() -> String,
    ) -> Result<T, Error>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn on(self, storage: &dyn Storage, action: &'static str, name: &str) -> Result<T, Error> {
        // Not before there is an error: the path of a commit allocates nothing.
        self.map_err(|source| Error::on(storage, action, name, source))
    }

    fn on_named(
        self,
        storage: &dyn Storage,
        action: &'static str,
        name: impl FnOnce() -> String,
    ) -> Result<T, Error> {
        self.map_err(|source| Error::on(storage, action, &name(), source))
    }
}
