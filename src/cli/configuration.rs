//! The server's configuration, for verbs that stand beside the server.

use super::CliError;
use crate::config::{Config, Flags};
use std::path::Path;

/// What the file and the environment say, as far as others want to know: secrets are not needed.
pub(super) fn configuration(file: Option<&Path>) -> Result<Config, CliError> {
    let environment = std::env::vars_os().collect();
    Ok(Config::look(file, &environment, &Flags::default())?)
}
