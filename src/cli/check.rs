//! `hookline check`: every mistake of the configuration, or what it would run.

mod sinks;

use super::configuration::ConfigArgs;
use super::figures::as_configured;
use super::{CliError, Output, counted, descriptors};
use crate::config::{
    Ack, Algorithm, Config, Credential, Encoding, Endpoint, LogFormat, Provider, Secret,
    format_size,
};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// `hookline check`
#[derive(Clone, Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// Runs the verb.
pub(super) fn run(args: &CheckArgs) -> Result<(), CliError> {
    let loaded = args.config.load().and_then(|(mut config, warnings)| {
        descriptors::share_out(&mut config)?;
        Ok((config, warnings))
    });
    if args.output == Output::Json {
        let (result, code) = match &loaded {
            Ok((config, warnings)) => (
                json!({ "ok": true, "warnings": warnings, "plan": plan_json(config) }),
                None,
            ),
            Err(error @ CliError::Config(errors)) => (
                json!({ "ok": false, "mistakes": errors.mistakes }),
                Some(error.code()),
            ),
            Err(_) => return loaded.map(drop),
        };
        writeln!(io::stdout(), "{result}")?;
        return code.map_or(Ok(()), |code| Err(CliError::Told(code)));
    }
    let (config, warnings) = loaded?;
    io::stdout().write_all(plan(&config).as_bytes())?;
    for warning in &warnings {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    Ok(())
}

fn plan(config: &Config) -> String {
    let mut text = String::from("The configuration is valid. This would run:\n\n");
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<10} {value}");
    };
    for (name, value) in overview(config) {
        line(name, &value);
    }
    for endpoint in &config.endpoints {
        line("endpoint", &describe(endpoint));
    }
    for sink in &config.sinks {
        line("sink", &sinks::describe(sink, config));
    }
    if config.sinks.is_empty() {
        line(
            "sink",
            "none: events are kept, read them with `hookline tail`",
        );
    }
    let _ = writeln!(
        text,
        "\n{:<36} {:>8} {:>8}  {:<16} reason",
        "limit", "value", "default", "range"
    );
    for (setting, value) in &config.numbers {
        let name = format!("{}.{}", setting.section, setting.key);
        let default = setting
            .default
            .map_or("cores".to_owned(), |default| setting.format(default));
        let range = format!(
            "{}..{}",
            setting.format(setting.min),
            setting.format(setting.max)
        );
        let value = setting.format(*value);
        let _ = writeln!(
            text,
            "{name:<36} {value:>8} {default:>8}  {range:<16} {}",
            setting.reason
        );
    }
    text
}

fn overview(config: &Config) -> [(&'static str, String); 4] {
    let server = &config.server;
    let pinned = if server.pin {
        "pinned to cores"
    } else {
        "not pinned"
    };
    let threads = format!(
        "{} with {}, {pinned}",
        counted(server.loops as u64, "event loop"),
        counted(server.workers as u64, "worker")
    );
    let admin = match config.admin.listen {
        Some(listen) => format!("http://{listen}  /metrics, /livez, /readyz"),
        None => "off".to_owned(),
    };
    let journal = &config.journal;
    let kept = format!(
        "{}  segments of {}, kept for {}, up to {}",
        journal.dir.display(),
        format_size(journal.segment_size),
        as_configured(journal.retention),
        format_size(journal.max_size)
    );
    let format = match config.log.format {
        LogFormat::Auto => "text on a terminal, JSON otherwise",
        LogFormat::Text => "text",
        LogFormat::Json => "JSON",
    };
    [
        ("listen", format!("http://{}  {threads}", server.listen)),
        ("admin", admin),
        ("journal", kept),
        ("log", format!("{}, {format}", config.log.level)),
    ]
}

fn describe(endpoint: &Endpoint) -> String {
    let proof = proofs(endpoint).join(", ");
    let (provider, ack) = (provider_name(&endpoint.provider), ack_name(endpoint.ack));
    let kept = endpoint.keep_headers.join(", ");
    format!(
        "{}  {provider:?} named {:?}, answered when {ack}; {proof}; keeps {kept}",
        endpoint.path, endpoint.name
    )
}

/// How posts prove where they come from, in words.
fn proofs(endpoint: &Endpoint) -> Vec<String> {
    let some = |secrets: &[Secret], what: &str| {
        (!secrets.is_empty())
            .then(|| counted(secrets.len() as u64, what))
            .into_iter()
    };
    let mut proofs: Vec<String> = match &endpoint.provider {
        Provider::Meta {
            verify_tokens,
            app_secrets,
        } => {
            let tokens = some(verify_tokens, "verify token");
            tokens.chain(some(app_secrets, "app secret")).collect()
        }
        Provider::Dialog360 {
            credential,
            signature_secrets,
        } => {
            let credential = credential.as_ref().map(|credential| match credential {
                Credential::Basic { username, .. } => format!("Basic as {username:?}"),
                Credential::Bearer(_) => "bearer token".to_owned(),
                Credential::Header { name, .. } => format!("header {name}"),
            });
            credential
                .into_iter()
                .chain(some(signature_secrets, "signature secret"))
                .collect()
        }
        Provider::StandardWebhooks { secrets, tolerance } => {
            let tolerance = as_configured(*tolerance);
            some(secrets, "secret")
                .map(|text| format!("{text}, within {tolerance}"))
                .collect()
        }
        Provider::GenericHmac {
            secrets,
            header,
            algorithm,
            encoding,
            ..
        } => {
            let algorithm = match algorithm {
                Algorithm::Sha1 => "SHA-1",
                Algorithm::Sha256 => "SHA-256",
                Algorithm::Sha512 => "SHA-512",
            };
            let encoding = match encoding {
                Encoding::Hex => "hex",
                Encoding::Base64 => "base64",
            };
            some(secrets, "secret")
                .map(|text| format!("{text}, HMAC-{algorithm} in {encoding} in {header}"))
                .collect()
        }
    };
    if endpoint.accept_unsigned {
        proofs.push("unsigned posts are accepted".to_owned());
    }
    proofs
}

fn provider_name(provider: &Provider) -> &'static str {
    match provider {
        Provider::Meta { .. } => "meta",
        Provider::Dialog360 { .. } => "360dialog",
        Provider::StandardWebhooks { .. } => "standard-webhooks",
        Provider::GenericHmac { .. } => "generic-hmac",
    }
}

fn ack_name(ack: Ack) -> &'static str {
    match ack {
        Ack::Stored => "stored",
        Ack::Received => "received",
    }
}

fn plan_json(config: &Config) -> Value {
    let endpoints = config.endpoints.iter().map(|endpoint| {
        json!({
            "path": endpoint.path,
            "name": endpoint.name,
            "provider": provider_name(&endpoint.provider),
            "ack": ack_name(endpoint.ack),
            "accept_unsigned": endpoint.accept_unsigned,
            "proofs": proofs(endpoint),
            "keep_headers": endpoint.keep_headers,
        })
    });
    let sinks = config.sinks.iter().map(sinks::to_json);
    let limits = config.numbers.iter().map(|(setting, value)| {
        let limit = json!({
            "value": setting.format(*value),
            "default": setting.default.map(|default| setting.format(default)),
            "min": setting.format(setting.min),
            "max": setting.format(setting.max),
            "reason": setting.reason,
        });
        (format!("{}.{}", setting.section, setting.key), limit)
    });
    json!({
        "listen": config.server.listen,
        "pin": config.server.pin,
        "admin": config.admin.listen,
        "journal": config.journal.dir,
        "log": config.log.level,
        "endpoints": endpoints.collect::<Vec<_>>(),
        "sinks": sinks.collect::<Vec<_>>(),
        "limits": limits.collect::<serde_json::Map<_, _>>(),
    })
}

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline check
  hookline check --config /etc/hookline.toml
  hookline check --config hookline.toml --output json | jq .mistakes";
