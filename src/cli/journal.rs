//! `hookline journal`

use super::{CliError, JournalArgs};

/// Runs the verb.
pub(super) fn run(_args: &JournalArgs) -> Result<(), CliError> {
    Err(CliError::failed("journal is not built into this slice"))
}

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline journal inspect --data-dir /var/lib/hookline
  hookline journal verify --output json
  hookline journal repair --quarantine";
