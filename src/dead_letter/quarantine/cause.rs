//! Why nobody takes a body apart any more.

use crate::dead_letter::file::Failures;
use crate::worker::poison::ATTEMPTS;
use std::fmt;

/// Why nobody takes a body apart any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Panics,
    /// It has ended two children by this signal.
    Ends(i32),
    /// Somebody says so.
    ByHand,
    /// The version before has decided so.
    Before,
}

impl Cause {
    pub(super) fn failures(self, now: u64) -> Failures {
        Failures {
            reason: self.to_string(),
            attempts: if self == Cause::ByHand { 0 } else { ATTEMPTS },
            first_failed: now,
            last_failed: now,
            last_answer: None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Panics => {
                f.write_str("taking the body apart panics; this is a bug in Hookline")
            }
            Cause::Ends(signal) => write!(
                f,
                "taking the body apart has ended two processes with signal {signal}; this is a bug in Hookline"
            ),
            Cause::ByHand => f.write_str("the body was set aside by hand"),
            Cause::Before => f.write_str(
                "a version before this one took the body for one that ends the process, without a proof, and delivered \
                 it as whatsapp.unparsed",
            ),
        }
    }
}
