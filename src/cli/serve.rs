//! `hookline serve`

use super::{CliError, ServeArgs};

/// Runs the verb.
pub(super) fn run(_args: &ServeArgs) -> Result<(), CliError> {
    Err(CliError::failed("serve is not built into this slice"))
}

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline serve
  hookline serve --config /etc/hookline.toml
  HOOKLINE_APP_SECRET=... hookline serve --listen 0.0.0.0:8080 --data-dir /var/lib/hookline";
