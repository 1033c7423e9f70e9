//! `hookline status`: what a running server does, on one screen.
//!
//! It asks the admin listener, see [`Overview`]; everything that it shows stands there.

mod screen;

use super::error::CliError;
use super::{Output, configuration};
use crate::rig::exchange::{Target, exchange};
use crate::server::Overview;
use clap::Args;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

/// `hookline status`
#[derive(Clone, Debug, Args)]
pub(super) struct StatusArgs {
    /// Where the server has its admin pages [default: what the configuration says, else 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "config")]
    admin: Option<SocketAddr>,
    /// The server's configuration, which says where; its secrets are not needed
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show it again each second, until Ctrl-C; text only on a terminal
    #[arg(long, short)]
    watch: bool,
    /// How to print the result; json: one object a line
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// Runs the verb.
pub(super) fn run(args: &StatusArgs) -> Result<(), CliError> {
    let admin = address(args)?;
    if !args.watch {
        let page = ask(admin)?;
        let mut out = io::stdout().lock();
        match args.output {
            Output::Json => writeln!(out, "{}", page.trim_end())?,
            Output::Text => screen::write(&mut out, &parse(&page)?)?,
        }
        return Ok(());
    }
    if args.output == Output::Text && !io::stdout().is_terminal() {
        return Err(CliError::Usage(
            "--watch draws on a terminal; without one, add --output json".to_owned(),
        ));
    }
    loop {
        watch(admin, args.output)?;
        sleep(INTERVAL);
    }
}

/// Shows it once in a row of many. A server that does not answer may be about to start again.
fn watch(admin: SocketAddr, output: Output) -> Result<(), CliError> {
    let page = ask(admin);
    let mut out = io::stdout().lock();
    if output == Output::Json {
        writeln!(out, "{}", page?.trim_end())?;
        return Ok(out.flush()?);
    }
    let mut text = Vec::new();
    match page.and_then(|page| parse(&page)) {
        Ok(overview) => screen::write(&mut text, &overview)?,
        Err(error) => writeln!(text, "{}", error.report().unwrap_or_default())?,
    }
    // Over what stands there, so that nothing flickers: each line to its end, and what is below.
    let text = String::from_utf8_lossy(&text).replace('\n', "\x1b[K\r\n");
    write!(out, "\x1b[H{text}\x1b[J")?;
    Ok(out.flush()?)
}

fn address(args: &StatusArgs) -> Result<SocketAddr, CliError> {
    if let Some(admin) = args.admin {
        return Ok(admin);
    }
    let config = configuration(args.config.as_deref())?;
    let listen = config.admin.listen.ok_or_else(|| {
        CliError::failed(
            "[admin] listen is \"off\" in the configuration: there is nobody to ask; give it an address and restart \
             the server",
        )
    })?;
    if listen.port() == 0 {
        return Err(CliError::failed(
            "[admin] listen has port 0, so the system has chosen one: name it with --admin, as the server's first \
             lines tell it",
        ));
    }
    Ok(listen)
}

/// The page.
fn ask(admin: SocketAddr) -> Result<String, CliError> {
    let target = Target::parse(&format!("http://{admin}/status"));
    let target = target.map_err(CliError::Usage)?;
    let answer = exchange(&target, "GET", &[], b"", PATIENCE).map_err(|error| {
        CliError::because(
            format!(
                "no server answers at {admin}; start one, or name its [admin] listen with --admin or --config"
            ),
            error,
        )
    })?;
    if answer.status != 200 {
        let code = answer.status;
        return Err(CliError::failed(format!(
            "what listens at {admin} answers {code} and is no hookline that knows this page; name the right address \
             with --admin or --config"
        )));
    }
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

/// What the server says that has its admin pages there.
pub(super) fn overview(admin: SocketAddr) -> Result<Overview, CliError> {
    parse(&ask(admin)?)
}

fn parse(page: &str) -> Result<Overview, CliError> {
    serde_json::from_str(page)
        .map_err(|error| CliError::because("the server's answer cannot be read", error))
}

/// How often `--watch` asks.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline status                                   of the server on this machine
  hookline status --config /etc/hookline.toml --watch
  hookline status --admin 10.0.0.7:8081 --output json";
