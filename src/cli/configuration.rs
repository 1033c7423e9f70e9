//! The server's configuration: for the verbs that run it, and for those that stand beside it.

use super::error::CliError;
use crate::config::{Config, Finding, Flags};
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ConfigArgs {
    /// TOML file; without one the defaults hold
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port for the endpoints, over file and environment
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Directory of the journal, over file and environment
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl ConfigArgs {
    /// Reads the configuration with the variables of this process.
    pub(super) fn load(&self) -> Result<(Config, Vec<Finding>), CliError> {
        let flags = Flags {
            listen: self.listen,
            data_dir: self.data_dir.clone(),
        };
        let environment = std::env::vars_os().collect();
        Ok(Config::load(self.config.as_deref(), &environment, &flags)?)
    }
}

/// What the file and the environment say, as far as others want to know: secrets are not needed.
pub(super) fn configuration(file: Option<&Path>) -> Result<Config, CliError> {
    let environment = std::env::vars_os().collect();
    Ok(Config::load_without_secrets(
        file,
        &environment,
        &Flags::default(),
    )?)
}
