//! `hookline check`: every mistake of the configuration, or what it would run.

mod sinks;

use super::Output;
use super::configuration::ConfigArgs;
use super::error::CliError;
use super::report::table::{Table, labelled};
use super::report::units::{as_configured, counted};
use crate::config::{
    Ack, Algorithm, Config, Credential, Encoding, Endpoint, LogFormat, Provider, Secret, SinkKind,
    format_size,
};
use crate::disk::command;
use crate::event;
use crate::server::{Probed, descriptors, probe_all};
use clap::Args;
use serde_json::{Value, json};
use std::io::{self, ErrorKind, Write as _};
use std::net::UdpSocket;

#[derive(Clone, Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Try the target of each sink, too: whether it is there, takes the login, and fits what is configured; nothing is
    /// delivered and nothing made
    #[arg(long)]
    connect: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

pub(super) fn run(args: &CheckArgs) -> Result<(), CliError> {
    let loaded = args.config.load().and_then(|(mut config, warnings)| {
        descriptors::share_out(&mut config)?;
        starts(&config)?;
        Ok((config, warnings))
    });
    if args.output == Output::Json {
        let (result, code) = match &loaded {
            Ok((config, warnings)) => {
                let mut report =
                    json!({ "ok": true, "warnings": warnings, "plan": plan_json(config) });
                let mut code = None;
                if args.connect {
                    let probed = probe_all(config);
                    code = unreached(&probed);
                    report["ok"] = json!(code.is_none());
                    report["connect"] = json!(probed);
                }
                (report, code)
            }
            Err(error @ CliError::Config(errors)) => (
                json!({ "ok": false, "mistakes": errors.mistakes }),
                Some(error.code()),
            ),
            Err(_) => return loaded.map(drop),
        };
        writeln!(io::stdout(), "{result}")?;
        return code.map_or(Ok(()), |code| Err(CliError::Reported(code)));
    }
    let (config, warnings) = loaded?;
    io::stdout().write_all(plan(&config).as_bytes())?;
    for warning in &warnings {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    if args.connect {
        let probed = probe_all(&config);
        for one in &probed {
            let state = if one.ok { "ok" } else { "FAILS" };
            writeln!(
                io::stdout(),
                "\nsink {} at {}: {state}",
                one.sink,
                one.target
            )?;
            for found in &one.found {
                writeln!(io::stdout(), "  {found}")?;
            }
            for warning in &one.warnings {
                writeln!(io::stdout(), "  warning: {warning}")?;
            }
        }
        return unreached(&probed).map_or(Ok(()), |code| Err(CliError::Reported(code)));
    }
    Ok(())
}

/// The exit code if events could not be delivered somewhere.
fn unreached(probed: &[Probed]) -> Option<u8> {
    probed.iter().any(|it| !it.ok).then_some(1)
}

/// What ends a start although the configuration is right: addresses that are not this machine's or not for this user.
fn starts(config: &Config) -> Result<(), CliError> {
    let pull = config
        .sinks
        .iter()
        .any(|it| matches!(it.kind, SinkKind::Pull(_)));
    let listen = [
        Some(config.server.listen),
        config.admin.listen,
        pull.then_some(config.pull.listen),
    ];
    for address in listen.into_iter().flatten() {
        // Ports of UDP are others, with the same rules.
        match UdpSocket::bind(address) {
            Err(error) if error.kind() != ErrorKind::AddrInUse => {
                let remedy = match error.kind() {
                    ErrorKind::AddrNotAvailable => "listen on an address of this machine",
                    ErrorKind::PermissionDenied => {
                        "listen on a port from 1024 on, or give the server CAP_NET_BIND_SERVICE"
                    }
                    _ => "listen on another address",
                };
                let message =
                    format!("the server would not start: cannot listen on {address} ({remedy})");
                return Err(CliError::because(message, error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn plan(config: &Config) -> String {
    let mut text = String::from("The configuration is valid. This would run:\n\n");
    let mut line = |name: &str, value: &str| text.push_str(&labelled(name, value));
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
        let tail = command("tail", &config.journal.dir);
        let none = format!("none: events are kept, read them with `{tail}`");
        line("sink", &none);
    }
    let mut table = Table::new("limit | >value | >default | range | reason");
    for (setting, value) in &config.numbers {
        let name = format!("{}.{}", setting.section, setting.key);
        let default = setting
            .default
            .map_or("cores".to_owned(), |default| setting.format(default));
        let [min, max] = [setting.min, setting.max].map(|limit| setting.format(limit));
        let range = format!("{min}..{max}");
        let value = setting.format(*value);
        table.row(&[&name, &value, &default, &range, &setting.reason]);
    }
    format!("{text}\n{table}")
}

fn overview(config: &Config) -> [(&'static str, String); 4] {
    let server = &config.server;
    let pinned = if server.pin {
        "pinned to cores"
    } else {
        "not pinned"
    };
    let loops = counted(server.loops as u64, "event loop");
    let workers = counted(server.workers as u64, "worker");
    let threads = format!("{loops} with {workers}, {pinned}");
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
    let (provider, ack) = (endpoint.provider.name(), ack_name(endpoint.ack));
    let kept = endpoint.keep_headers.join(", ");
    let attributes = endpoint.attributes.iter().map(|it| event::attribute(it));
    let attributes: Vec<String> = attributes.collect();
    let attributes = if attributes.is_empty() {
        String::new()
    } else {
        format!("; attributes {}", attributes.join(", "))
    };
    format!(
        "{}  {provider:?} named {:?}, answered when {ack}; {proof}; keeps {kept}{attributes}",
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
                Encoding::Either => "hex or base64",
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
            "provider": endpoint.provider.name(),
            "ack": ack_name(endpoint.ack),
            "accept_unsigned": endpoint.accept_unsigned,
            "proofs": proofs(endpoint),
            "keep_headers": endpoint.keep_headers,
            "attributes": endpoint.attributes.iter().map(|it| event::attribute(it)).collect::<Vec<_>>(),
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
  hookline check --config hookline.toml --connect
  hookline check --config hookline.toml --output json | jq .mistakes";
