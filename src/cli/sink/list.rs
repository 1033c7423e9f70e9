//! `hookline sink list`.

use super::Known;
use crate::cli::Output;
use crate::cli::error::CliError;
use crate::cli::report::table::Table;
use crate::cli::report::units::time;
use crate::config::Start;
use crate::feed;
use serde_json::json;
use std::io::{self, Write as _};

/// One sink.
struct Listed {
    name: String,
    kind: String,
    state: String,
    /// What it says of its state.
    reason: Option<String>,
    /// Everything up to this sequence is confirmed; none without a cursor.
    confirmed: Option<u64>,
    /// Notifications that are stored and that it has not had.
    waiting: Option<u64>,
    dead_letters: u64,
    replays: u64,
}

pub(super) fn list(known: &Known, output: Output) -> Result<(), CliError> {
    let sinks: Vec<Listed> = known.names().iter().map(|it| look(known, it)).collect();
    let mut out = io::stdout().lock();
    if output == Output::Json {
        let sinks = sinks.iter().map(|sink| {
            json!({
                "name": sink.name, "type": sink.kind, "state": sink.state, "reason": sink.reason,
                "confirmed": sink.confirmed, "waiting": sink.waiting, "dead_letters": sink.dead_letters,
                "replays": sink.replays,
            })
        });
        let sinks: Vec<_> = sinks.collect();
        writeln!(out, "{}", json!({ "sinks": sinks }))?;
        return Ok(());
    }
    if sinks.is_empty() {
        return Ok(writeln!(out, "there are no sinks")?);
    }
    let mut table =
        Table::new("sink | type | state | >confirmed | >waiting | >dead letters | >replays");
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |it| it.to_string());
    for sink in &sinks {
        table.row(&[
            &sink.name,
            &sink.kind,
            &sink.state,
            &number(sink.confirmed),
            &number(sink.waiting),
            &sink.dead_letters,
            &sink.replays,
        ]);
        if let Some(reason) = &sink.reason {
            table.note(format!("{}  {reason}", sink.name));
        }
    }
    Ok(table.write(&mut out)?)
}

fn look(known: &Known, name: &str) -> Listed {
    let (served, configured) = (known.served(name), known.configured(name));
    let kind = served.map(|it| it.kind.clone());
    let kind = kind.or_else(|| Some(configured?.kind.name().to_owned()));
    let cursor = known.cursor(name).map(|found| &found.saved);
    let lanes = cursor.and_then(|it| it.as_ref().ok()).map(|it| &it.lanes);
    let problem = cursor.and_then(|it| it.as_ref().err());
    let (state, reason) = state(known, name);
    let count = |counts: &std::collections::BTreeMap<String, u64>| {
        counts.get(name).copied().unwrap_or_default()
    };
    Listed {
        kind: kind.unwrap_or_else(|| "-".to_owned()),
        state: state.to_owned(),
        reason: reason.or_else(|| problem.map(ToString::to_string)),
        confirmed: lanes.map(feed::confirmed),
        waiting: lanes.map(|lanes| feed::undelivered(lanes, known.there.clone())),
        dead_letters: count(&known.dead_letters),
        replays: count(&known.replays),
        name: name.to_owned(),
    }
}

/// The state of a sink, and what there is to say of it.
fn state(known: &Known, name: &str) -> (&'static str, Option<String>) {
    if let Some(served) = known.served(name) {
        return match served {
            _ if served.stopped => ("stopped", served.reason.clone()),
            _ if served.away => ("away", served.away_reason.clone()),
            _ if served.failing_since.is_some() => ("failing", served.last_failure.clone()),
            _ => ("running", None),
        };
    }
    let has_cursor = known.cursor(name).is_some();
    if let Some(sink) = known.configured(name) {
        if has_cursor {
            return ("not running", None);
        }
        let begins = match (&sink.life.former_name, sink.life.start) {
            (Some(former), _) if known.cursor(former).is_some() => {
                format!("takes over what {former} has, when it runs for the first time")
            }
            (_, Start::Now) => "begins with what comes after its first start".to_owned(),
            (_, Start::Oldest) => "begins with all that the journal holds".to_owned(),
            (_, Start::At(at)) => {
                format!("begins with what was received from {} on", time(Some(at)))
            }
        };
        return ("new", Some(begins));
    }
    if known.config.is_none() && known.served.is_none() {
        let said = "no server answers here that has it: --config says whether it is configured";
        return ("unknown", Some(said.to_owned()));
    }
    let successor = known.config.iter().flat_map(|config| &config.sinks);
    let mut successor = successor.filter(|it| it.life.former_name.as_deref() == Some(name));
    let successor = successor.next().filter(|_| has_cursor);
    (
        "removed",
        successor.map(|it| format!("the former name of {}", it.name)),
    )
}
