//! Why a verb failed, and what the process says and ends with.

use crate::config::ConfigErrors;
use crate::log;
use crate::rig::RigError;
use std::error::Error;
use std::io;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration has mistakes: exit code 78.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The command line asks for what there is not: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The result could not be written; quiet when nobody reads it any more.
    #[error("cannot write the result")]
    Output(#[from] io::Error),
    /// Anything else: exit code 1.
    #[error("{message}")]
    Failed {
        /// What failed, in lower case, and what to do about it.
        message: String,
        /// Why.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The result on stdout said it all.
    #[error("exit code {0}")]
    Reported(u8),
}

impl CliError {
    /// Exit code 1, after everything was said, unless all is well.
    pub(super) fn unless(is_well: bool) -> Result<(), CliError> {
        if is_well {
            return Ok(());
        }
        Err(CliError::Reported(1))
    }

    /// Failed for a reason that the message gives.
    pub fn failed(message: impl Into<String>) -> CliError {
        CliError::Failed {
            message: message.into(),
            source: None,
        }
    }

    /// Failed because of another error.
    pub fn because(
        message: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> CliError {
        CliError::Failed {
            message: message.into(),
            source: Some(source.into()),
        }
    }

    /// The exit code of the process.
    pub fn code(&self) -> u8 {
        match self {
            CliError::Config(_) => BAD_CONFIG,
            CliError::Usage(_) => 2,
            CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            CliError::Output(_) | CliError::Failed { .. } => 1,
            CliError::Reported(code) => *code,
        }
    }

    /// What is printed on stderr: one line with the causes, or the mistakes of the configuration; or nothing.
    pub fn report(&self) -> Option<String> {
        match self {
            CliError::Config(errors) => {
                let count = errors.mistakes.len();
                let mistakes = if count == 1 { "mistake" } else { "mistakes" };
                Some(format!(
                    "{errors}\nhookline: {count} {mistakes} in the configuration"
                ))
            }
            CliError::Reported(_) => None,
            CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            CliError::Usage(_) | CliError::Output(_) | CliError::Failed { .. } => {
                let line = log::with_causes(format!("hookline: {self}"), self.source());
                Some(line.replace('\n', " "))
            }
        }
    }
}

impl From<RigError> for CliError {
    fn from(error: RigError) -> CliError {
        CliError::Failed {
            message: error.message,
            source: error.source,
        }
    }
}

/// `EX_CONFIG` of sysexits.h
const BAD_CONFIG: u8 = 78;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_with_its_causes() {
        let cause = io::Error::other("the disk\nis gone");
        let error = CliError::because("cannot open the journal", cause);
        let report = error.report().expect("it has a report");
        assert_eq!(
            report,
            "hookline: cannot open the journal: the disk is gone"
        );
        assert_eq!(error.code(), 1);
        let closed = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((closed.code(), closed.report()), (0, None));
    }
}
