//! `hookline send`: posts samples as the platform would, and shows what comes back.

use super::Output;
use super::error::CliError;
use super::report::table::Table;
use crate::config::{Secret, nearest};
use crate::rig::answer::Answer;
use crate::rig::exchange::{TIMEOUT, Target, exchange};
use crate::rig::samples;
use crate::rig::samples::{SAMPLES, Sample};
use crate::rig::signature::SignAs;
use aws_lc_rs::hmac;
use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Args)]
pub(super) struct SendArgs {
    /// Names of samples, in the order in which to send them
    #[arg(value_name = "SAMPLE", conflicts_with = "all")]
    samples: Vec<String>,
    /// Send every sample
    #[arg(long)]
    all: bool,
    /// Where to send them; plain http
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080/webhook"
    )]
    to: String,
    /// How to sign them
    #[arg(long, value_enum, default_value_t, value_name = "PROVIDER")]
    provider: SignAs,
    /// Secret to sign with; others on this machine can see it in the process list, so prefer the
    /// environment variable `HOOKLINE_APP_SECRET`, or --secret-file. Without any: unsigned
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,
    /// File that holds the secret to sign with
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    secret_file: Option<PathBuf>,
    /// Token for the handshake [default: the environment variable `HOOKLINE_VERIFY_TOKEN`, else "hookline"]
    #[arg(long, value_name = "TOKEN")]
    verify_token: Option<String>,
    /// One more header field, as in 'Name: value', or @FILE with one on each line; may be repeated
    #[arg(long = "header", short = 'H', value_name = "FIELD")]
    headers: Vec<String>,
    /// How often to send them; each time with new ids
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// How to print the results; json: one object a line
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

pub(super) fn run(args: &SendArgs) -> Result<(), CliError> {
    let steps = steps(args)?;
    if steps.is_empty() {
        return list(args.output);
    }
    let sender = Sender {
        target: Target::parse(&args.to).map_err(CliError::Usage)?,
        key: secret(args)?
            .map(|secret| args.provider.key(&secret))
            .transpose()?,
        provider: args.provider,
        verify_token: verify_token(args)?,
        headers: headers(&args.headers)?,
    };
    if sender.key.is_none() && steps.iter().any(|step| matches!(step, Step::Post(_))) {
        writeln!(
            io::stderr(),
            "no secret is given: posts are unsigned (see --help)"
        )?;
    }
    let (mut sent, mut failed) = (0_u64, 0_u64);
    for step in (0..args.count).flat_map(|_| &steps) {
        let start = Instant::now();
        let result = sender.take(*step);
        show(args.output, step.name(), &result, start.elapsed())?;
        sent += 1;
        failed += u64::from(result.is_err());
        if let Err(Refusal::Unreachable(error)) = result {
            let message = format!(
                "cannot reach {}; is `hookline serve` running there?",
                args.to
            );
            return Err(CliError::because(message, error));
        }
    }
    if failed == 0 {
        return Ok(());
    }
    Err(CliError::failed(format!(
        "{failed} of {sent} were not answered as they should be"
    )))
}

/// What to do: the handshake, or a post.
#[derive(Clone, Copy, Debug)]
enum Step {
    Handshake,
    Post(&'static Sample),
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Handshake => HANDSHAKE,
            Step::Post(sample) => sample.name,
        }
    }
}

/// Why a step did not end with the right answer.
enum Refusal {
    /// Nobody listens there.
    Unreachable(io::Error),
    /// The exchange broke off.
    Broken(io::Error),
    /// Answered, but not with 200.
    Status(Answer),
    /// The handshake was answered with something else than the challenge.
    Challenge,
}

struct Sender {
    target: Target,
    key: Option<hmac::Key>,
    provider: SignAs,
    verify_token: String,
    headers: Vec<(String, String)>,
}

impl Sender {
    fn take(&self, step: Step) -> Result<(), Refusal> {
        let answer = match step {
            Step::Handshake => self.handshake(),
            Step::Post(sample) => self.post(sample),
        };
        answer.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Refusal::Unreachable(error),
            _ => Refusal::Broken(error),
        })?
    }

    fn post(&self, sample: &Sample) -> io::Result<Result<(), Refusal>> {
        let body = sample.fresh();
        let mut headers = vec![
            (
                "User-Agent".to_owned(),
                concat!("hookline/", env!("CARGO_PKG_VERSION")).to_owned(),
            ),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ];
        if let Some(key) = &self.key {
            headers.extend(self.provider.fields(key, body.as_bytes()));
        }
        headers.extend(self.headers.iter().cloned());
        let answer = exchange(&self.target, "POST", &headers, body.as_bytes(), TIMEOUT)?;
        Ok(if answer.status == 200 {
            Ok(())
        } else {
            Err(Refusal::Status(answer))
        })
    }

    fn handshake(&self) -> io::Result<Result<(), Refusal>> {
        let challenge = samples::random().to_string();
        let token = utf8_percent_encode(&self.verify_token, RESERVED);
        let query =
            format!("hub.mode=subscribe&hub.challenge={challenge}&hub.verify_token={token}");
        let target = self.target.with_query(&query);
        let answer = exchange(&target, "GET", &self.headers, b"", TIMEOUT)?;
        Ok(match answer {
            answer if answer.status != 200 => Err(Refusal::Status(answer)),
            answer if answer.body == challenge.as_bytes() => Ok(()),
            _ => Err(Refusal::Challenge),
        })
    }
}

fn steps(args: &SendArgs) -> Result<Vec<Step>, CliError> {
    if args.all {
        // 360dialog and Standard Webhooks know no handshake.
        let handshake = (args.provider == SignAs::Meta).then_some(Step::Handshake);
        return Ok(handshake
            .into_iter()
            .chain(SAMPLES.iter().map(Step::Post))
            .collect());
    }
    args.samples
        .iter()
        .map(|name| match samples::named(name) {
            Some(sample) => Ok(Step::Post(sample)),
            None if name == HANDSHAKE => Ok(Step::Handshake),
            None => {
                let known = SAMPLES.iter().map(|sample| sample.name).chain([HANDSHAKE]);
                let meant = nearest(name, known)
                    .map_or("`hookline send` lists them all".to_owned(), |known| {
                        format!("did you mean {known:?}?")
                    });
                Err(CliError::Usage(format!(
                    "there is no sample {name:?}; {meant}"
                )))
            }
        })
        .collect()
}

fn list(output: Output) -> Result<(), CliError> {
    let handshake = (HANDSHAKE, "what Meta asks when the address is registered");
    let samples = SAMPLES.iter().map(|sample| (sample.name, sample.about));
    let mut table = Table::new("|");
    for (name, about) in [handshake].into_iter().chain(samples) {
        match output {
            Output::Text => table.row(&[&name, &about]),
            Output::Json => table.note(json!({ "sample": name, "about": about }).to_string()),
        }
    }
    Ok(table.write(&mut io::stdout())?)
}

fn show(
    output: Output,
    name: &str,
    result: &Result<(), Refusal>,
    time: Duration,
) -> Result<(), CliError> {
    let milliseconds = time.as_secs_f64() * 1000.0;
    let (status, why) = match result {
        Ok(()) => (Some(200), String::new()),
        Err(Refusal::Unreachable(error) | Refusal::Broken(error)) => (None, error.to_string()),
        Err(Refusal::Challenge) => (Some(200), "the answer is not the challenge".to_owned()),
        Err(Refusal::Status(answer)) => (Some(answer.status), hint(answer)),
    };
    match output {
        Output::Text => {
            let code = status.map_or("---".to_owned(), |code| code.to_string());
            let line = format!("{name:<20} {code} {milliseconds:>8.1} ms  {why}");
            writeln!(io::stdout(), "{}", line.trim_end())?;
        }
        Output::Json => {
            let why = (!why.is_empty()).then_some(why);
            let line = json!({
                "sample": name,
                "ok": result.is_ok(),
                "status": status,
                "milliseconds": (milliseconds * 1000.0).round() / 1000.0,
                "error": why,
            });
            writeln!(io::stdout(), "{line}")?;
        }
    }
    Ok(())
}

/// What the status means here, or what the answer itself says.
fn hint(answer: &Answer) -> String {
    let known = match answer.status {
        401 => "the signature or credential is missing or wrong",
        403 => "the verify token is wrong, or the endpoint has none",
        404 => "there is no endpoint at this path",
        503 => "the server cannot store now; see its log",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let text = String::from_utf8_lossy(&answer.body);
    text.chars()
        .take(SHOWN_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn secret(args: &SendArgs) -> Result<Option<Secret>, CliError> {
    match &args.secret {
        Some(secret) => checked(secret.as_bytes()).map(Some),
        None => given_secret(args.secret_file.as_deref()),
    }
}

/// The secret in this file, else in the environment; `None` without any.
pub(super) fn given_secret(file: Option<&Path>) -> Result<Option<Secret>, CliError> {
    let text = if let Some(path) = file {
        let cannot = |error| CliError::because(format!("cannot read {}", path.display()), error);
        fs::read(path).map_err(cannot)?
    } else if let Some(secret) = env::var_os("HOOKLINE_APP_SECRET") {
        secret.into_encoded_bytes()
    } else {
        return Ok(None);
    };
    checked(&text).map(Some)
}

fn checked(text: &[u8]) -> Result<Secret, CliError> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Err(CliError::failed(
            "the secret is empty; leave it out to send unsigned",
        ));
    }
    Ok(Secret::new(text))
}

fn verify_token(args: &SendArgs) -> Result<String, CliError> {
    if let Some(token) = &args.verify_token {
        return Ok(token.clone());
    }
    match env::var("HOOKLINE_VERIFY_TOKEN") {
        Ok(token) => Ok(token.trim_end_matches(['\r', '\n']).to_owned()),
        Err(env::VarError::NotPresent) => Ok("hookline".to_owned()),
        Err(error) => Err(CliError::because("cannot use HOOKLINE_VERIFY_TOKEN", error)),
    }
}

/// Header fields from the command line, or from the lines of a file.
pub(super) fn headers(given: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let mut lines = Vec::new();
    for field in given {
        match field.strip_prefix('@') {
            None => lines.push(field.clone()),
            Some(path) => {
                let cannot = |error| CliError::because(format!("cannot read {path}"), error);
                let text = fs::read_to_string(path).map_err(cannot)?;
                lines.extend(
                    text.lines()
                        .filter(|line| !line.is_empty())
                        .map(str::to_owned),
                );
            }
        }
    }
    lines
        .iter()
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic());
            let value = value.trim();
            let sound = !value.contains(|c: char| c.is_control());
            (plain && sound).then(|| (name.to_owned(), value.to_owned()))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| CliError::Usage("a header field is written as 'Name: value'".to_owned()))
}

/// What RFC 3986 does not leave as it is in a query.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The name of the step that is no post.
const HANDSHAKE: &str = "handshake";

/// How much of an unexpected answer is shown, in characters.
const SHOWN_MAX: usize = 80;

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline send                          list the samples
  hookline send handshake text image     to the server that `hookline serve` starts
  HOOKLINE_APP_SECRET=... hookline send --all --to http://127.0.0.1:8080/webhook
  hookline send batch --provider 360dialog --header @credentials.txt --secret-file secret.txt

Secrets on the command line can be seen by others on the machine; use the environment or a file.
The exit code is 1 when anything is not answered with 200.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_are_taken_apart() {
        let fields = headers(&["Authorization: Bearer a:b ".to_owned()]).expect("valid");
        assert_eq!(
            fields,
            [("Authorization".to_owned(), "Bearer a:b".to_owned())]
        );
        for odd in ["none", ": x", "a b: c", "a: b\r\nc: d"] {
            assert!(headers(&[odd.to_owned()]).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn tokens_survive_the_query() {
        let encoded = utf8_percent_encode("a b&c=ä~", RESERVED).to_string();
        assert_eq!(encoded, "a%20b%26c%3D%C3%A4~");
    }
}
