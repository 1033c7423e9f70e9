//! `hookline tail`

use super::{CliError, TailArgs};

/// Runs the verb.
pub(super) fn run(_args: &TailArgs) -> Result<(), CliError> {
    Err(CliError::failed("tail is not built into this slice"))
}

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline tail --follow
  hookline tail --data-dir /var/lib/hookline --after 1200 --type 'whatsapp.message.*'
  hookline tail --bodies | while read -r line; do echo \"$line\" | base64 -d; echo; done";
