//! `hookline dead-letters`: what sinks could not deliver; look at it, deliver it after all, or drop it.
//!
//! Works on the files alone, beside a running server or without one, see [`DeadLetters`].

use super::cursor::check_sink_is_known;
use super::error::CliError;
use super::journal::is_journal;
use super::report::table::{Table, labelled};
use super::report::units::{counted, time};
use super::{OnJournal, Output, set_aside};
use crate::dead_letter::{self, DeadLetter, DeadLetterError, DeadLetters, WORKER};
use crate::disk::Disk;
use crate::event::{self, Item};
use crate::worker::{Extraction, Forms};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum DeadLettersAction {
    /// List them, sink by sink, in the order of the journal
    List {
        /// Only those of this sink
        #[arg(long, value_name = "NAME")]
        sink: Option<String>,
        /// How to print the result; json: one object a line
        #[arg(long, value_enum, default_value_t, value_name = "FORM")]
        output: Output,
    },
    /// Show why one could not be delivered, and what it holds
    Show {
        /// Which one, as in crm/4711.3
        #[arg(value_name = "LETTER")]
        letter: DeadLetterName,
        /// How to print the result
        #[arg(long, value_enum, default_value_t, value_name = "FORM")]
        output: Output,
    },
    /// Deliver some after all; a server that runs does so within a second. Those of `worker`, which could not be taken
    /// apart or were set aside, are taken apart again; while no server runs
    Retry {
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Set stored notifications aside that nobody is to take apart, since they end the server; while no server runs
    SetAside {
        /// Which ones: their sequences
        #[arg(value_name = "SEQ", required = true)]
        sequences: Vec<u64>,
    },
    /// Drop some for good
    Drop {
        #[command(flatten)]
        chosen: Chosen,
        /// Also when there are several
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Debug, Args)]
pub(super) struct Chosen {
    /// Which ones, as in crm/4711.3
    #[arg(
        value_name = "LETTER",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    dead_letters: Vec<DeadLetterName>,
    /// All that there are
    #[arg(long)]
    all: bool,
    /// With --all: only those of this sink
    #[arg(long, value_name = "NAME", requires = "all")]
    sink: Option<String>,
}

/// A letter as it is named on the command line: `SINK/SEQ` or `SINK/SEQ.INDEX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeadLetterName {
    /// Name of the sink.
    sink: String,
    item: Item,
}

impl FromStr for DeadLetterName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<DeadLetterName, Self::Err> {
        let named = || {
            let (sink, item) = text.split_once('/')?;
            let sink = Some(sink).filter(|sink| !matches!(*sink, "" | "." | ".."))?;
            Some(DeadLetterName {
                sink: sink.to_owned(),
                item: item.parse().ok()?,
            })
        };
        named().ok_or("write the name of a dead letter as it is listed, with its sink: crm/4711.3")
    }
}

pub(super) fn run(args: &OnJournal<DeadLettersAction>) -> Result<(), CliError> {
    is_journal(&args.data_dir)?;
    let dir = args.data_dir.join("dead-letters");
    match &args.action {
        DeadLettersAction::List { sink, output } => list(&dir, sink.as_deref(), *output),
        DeadLettersAction::Show { letter, output } => show(&dir, letter, *output),
        DeadLettersAction::Retry { chosen } => retry(&args.data_dir, chosen),
        DeadLettersAction::SetAside { sequences } => {
            set_aside::set_aside(&args.data_dir, sequences)
        }
        DeadLettersAction::Drop { chosen, yes } => drop_dead_letters(&dir, chosen, *yes),
    }
}

fn list(dir: &Path, sink: Option<&str>, output: Output) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut count = 0;
    let mut table = Table::new("dead letter | failed last | >attempts | type and reason");
    for (sink, letters) in sinks(dir, sink)? {
        for listed in letters.list().map_err(failed)? {
            let name = format!("{sink}/{}", listed.item);
            // One that went away meanwhile was none.
            let letter = match letters.read(listed.item) {
                Err(DeadLetterError::Missing { .. }) => continue,
                letter => letter,
            };
            count += 1;
            match (output, letter) {
                (Output::Json, Ok(letter)) => {
                    writeln!(out, "{}", as_json(&name, listed.retry, &letter))?;
                }
                (Output::Json, Err(error)) => {
                    let damaged = json!({ "dead_letter": name, "damaged": error.to_string() });
                    writeln!(out, "{damaged}")?;
                }
                (Output::Text, Ok(letter)) => {
                    let failures = &letter.failures;
                    let waits = if listed.retry {
                        "is to be retried: "
                    } else {
                        ""
                    };
                    let reason = failures.reason.replace(char::is_control, " ");
                    table.row(&[
                        &name,
                        &time(Some(failures.last_failed)),
                        &failures.attempts,
                        &format_args!("{waits}{} {reason}", letter.kind),
                    ]);
                }
                (Output::Text, Err(error)) => table.note(format!("{name}  damaged: {error}")),
            }
            if output == Output::Text {
                table.write_some(&mut out)?;
            }
        }
    }
    if output == Output::Text && count == 0 {
        writeln!(out, "there are no dead letters")?;
    } else if output == Output::Text {
        table.write(&mut out)?;
    }
    Ok(out.flush()?)
}

fn show(dir: &Path, name: &DeadLetterName, output: Output) -> Result<(), CliError> {
    let letters = of_sink(dir, &name.sink)?;
    let letter = letters.read(name.item).map_err(failed)?;
    let listed = letters.list().map_err(failed)?;
    let retry = listed.iter().any(|it| it.retry && it.item == name.item);
    let text = format!("{}/{}", name.sink, name.item);
    let mut out = BufWriter::new(io::stdout().lock());
    if output == Output::Json {
        let mut value = as_json(&text, retry, &letter);
        value["endpoint"] = json!(letter.endpoint);
        let headers = letter.content.headers.iter();
        value["headers"] = headers
            .map(|(name, value)| json!([lossy(name), lossy(value)]))
            .collect();
        value["body_base64"] = json!(BASE64_STANDARD.encode(&letter.content.body));
        writeln!(out, "{value}")?;
        return Ok(out.flush()?);
    }
    out.write_all(description(&text, retry, &letter).as_bytes())?;
    write_content(dir, &mut out, &letter)?;
    Ok(out.flush()?)
}

/// Why it could not be delivered, and what came with it.
fn description(name: &str, retry: bool, letter: &DeadLetter) -> String {
    let failures = &letter.failures;
    let waits = if retry { ", is to be retried" } else { "" };
    let mut text = labelled("dead letter", format_args!("{name}{waits}"));
    let mut line = |label: &str, value: String| text.push_str(&labelled(label, value));
    line("type", letter.kind.clone());
    if let Some(subject) = &letter.subject {
        line("conversation", subject.clone());
    }
    let received = time(Some(letter.received_at));
    line("received", format!("{received} at {}", letter.endpoint));
    let (first, last) = (failures.first_failed, failures.last_failed);
    let (first, last) = (time(Some(first)), time(Some(last)));
    let times = counted(failures.attempts.into(), "time");
    line("failed", format!("{times}, first {first}, last {last}"));
    line("reason", failures.reason.clone());
    if let Some(answer) = &failures.last_answer {
        line("answer", format!("{} {}", answer.status, answer.excerpt));
    }
    for (name, value) in &letter.content.headers {
        line("header", format!("{}: {}", lossy(name), lossy(value)));
    }
    text.push('\n');
    text
}

/// The event, or the body of a whole notification.
fn write_content(dir: &Path, out: &mut impl Write, letter: &DeadLetter) -> io::Result<()> {
    // What the worker could not take apart is not tried here.
    if let Some(index) = letter.item.index
        && letter.sink != WORKER
    {
        let forms = Disk::open(dir).map(|disk| Arc::new(Forms::look(Arc::new(disk))));
        let mut maker = Extraction::new().reading(&forms.unwrap_or_default());
        let delivery = letter.delivery(0, &mut maker);
        let mut events = delivery.events().iter();
        if let Some(event) = events.find(|event| event.index() == index) {
            let mut line = Vec::new();
            event::render(event, &letter.content.body, &mut line);
            line.push(b'\n');
            return out.write_all(&line);
        }
    }
    match str::from_utf8(&letter.content.body) {
        Ok(body) => writeln!(out, "{body}"),
        Err(_) => writeln!(
            out,
            "base64: {}",
            BASE64_STANDARD.encode(&letter.content.body)
        ),
    }
}

fn retry(data_dir: &Path, chosen: &Chosen) -> Result<(), CliError> {
    let dir = data_dir.join("dead-letters");
    let is_of_worker = |name: &&DeadLetterName| name.sink == WORKER;
    let of_worker: Vec<Item> = chosen
        .dead_letters
        .iter()
        .filter(is_of_worker)
        .map(|it| it.item)
        .collect();
    if !of_worker.is_empty() {
        if of_worker.len() < chosen.dead_letters.len() {
            return Err(CliError::Usage(format!(
                "dead letters of {WORKER} are not retried together with others: name them by themselves"
            )));
        }
        return set_aside::take_back(data_dir, &of_worker);
    }
    let mut count = 0;
    for (sink, letters, items) in choose(&dir, chosen)? {
        if sink == WORKER && chosen.sink.is_none() {
            continue;
        }
        if sink == WORKER {
            return Err(CliError::Usage(format!(
                "name each dead letter of {WORKER} that is to be taken apart again, as in {WORKER}/4711"
            )));
        }
        count += each(&letters, &items, chosen.all, DeadLetters::request_retry)?;
    }
    let what = counted(count, "dead letter");
    writeln!(
        io::stdout(),
        "{what} to be delivered again; a server that runs does so within a second, else the next one does"
    )?;
    Ok(())
}

fn drop_dead_letters(dir: &Path, chosen: &Chosen, yes: bool) -> Result<(), CliError> {
    let all = choose(dir, chosen)?;
    let count: usize = all.iter().map(|(_, _, items)| items.len()).sum();
    if count > 1 && !yes {
        return Err(CliError::Usage(format!(
            "this drops {count} dead letters, and what is in them is delivered never: say so with --yes"
        )));
    }
    let mut dropped = 0;
    for (_, letters, items) in all {
        dropped += each(&letters, &items, chosen.all, DeadLetters::drop_dead_letter)?;
    }
    writeln!(io::stdout(), "{} dropped", counted(dropped, "dead letter"))?;
    Ok(())
}

/// Does something with each of the letters of a sink; gives how many there were. With `all`, those that went away
/// meanwhile are none. One that fails keeps no other.
fn each(
    letters: &DeadLetters,
    items: &[Item],
    all: bool,
    action: impl Fn(&DeadLetters, Item) -> Result<(), DeadLetterError>,
) -> Result<u64, CliError> {
    let (mut count, mut done) = (0, Ok(()));
    for item in items {
        match action(letters, *item) {
            Ok(()) => count += 1,
            Err(DeadLetterError::Missing { .. }) if all => {}
            // The first one is as good as any.
            Err(error) => done = done.and(Err(error)),
        }
    }
    letters.sync().map_err(failed)?;
    done.map_err(failed)?;
    Ok(count)
}

type Named = (String, DeadLetters, Vec<Item>);

/// The letters that the command line names, sink by sink.
fn choose(dir: &Path, chosen: &Chosen) -> Result<Vec<Named>, CliError> {
    if chosen.all {
        let all = sinks(dir, chosen.sink.as_deref())?.into_iter();
        return all
            .map(|(sink, letters)| {
                let listed = letters.list().map_err(failed)?;
                let items = listed.iter().map(|listed| listed.item).collect();
                Ok((sink, letters, items))
            })
            .collect();
    }
    let mut named: Vec<Named> = Vec::new();
    for DeadLetterName { sink, item } in &chosen.dead_letters {
        match named.iter_mut().find(|(name, ..)| name == sink) {
            Some((_, _, items)) if items.contains(item) => {}
            Some((_, _, items)) => items.push(*item),
            None => named.push((sink.clone(), of_sink(dir, sink)?, vec![*item])),
        }
    }
    Ok(named)
}

/// The letters of each sink that has a directory, or of one of them.
fn sinks(dir: &Path, only: Option<&str>) -> Result<Vec<(String, DeadLetters)>, CliError> {
    let mut sinks = dead_letter::list_sinks(dir).map_err(failed)?;
    sinks.retain(|(name, _)| only.is_none_or(|only| only == name));
    if let (Some(sink), true, Some(data_dir)) = (only, sinks.is_empty(), dir.parent()) {
        check_sink_is_known(sink, data_dir)?;
    }
    let sinks = sinks.into_iter();
    let read = sinks.map(|(name, letters)| Ok((name, letters.map_err(failed)?)));
    read.collect()
}

fn of_sink(dir: &Path, sink: &str) -> Result<DeadLetters, CliError> {
    let disk = Disk::open(&dir.join(sink)).map_err(|error| match error.kind() {
        ErrorKind::NotFound => CliError::failed(format!(
            "the sink {sink} has no dead letters in {}; see --data-dir",
            dir.display()
        )),
        _ => CliError::because(format!("cannot read the dead letters of {sink}"), error),
    })?;
    Ok(DeadLetters::read_only(Arc::new(disk)))
}

fn as_json(name: &str, retry: bool, letter: &DeadLetter) -> Value {
    let failures = &letter.failures;
    let answer = failures.last_answer.as_ref();
    json!({
        "dead_letter": name,
        "retry": retry,
        "id": letter.event_id,
        "type": letter.kind,
        "subject": letter.subject,
        "lane": letter.lane.name(),
        "received_at": time(Some(letter.received_at)),
        "reason": failures.reason,
        "attempts": failures.attempts,
        "first_failed": time(Some(failures.first_failed)),
        "last_failed": time(Some(failures.last_failed)),
        "last_answer": answer.map(|answer| json!({ "status": answer.status, "excerpt": answer.excerpt })),
    })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn failed(error: DeadLetterError) -> CliError {
    CliError::because("cannot go on", error)
}

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline dead-letters list --data-dir /var/lib/hookline
  hookline dead-letters show crm/4711.3
  hookline dead-letters retry --all --sink crm
  hookline dead-letters drop crm/4711.3 crm/4712 --yes
  hookline dead-letters set-aside 4711      a notification that ends the server, which is stopped";

#[cfg(test)]
mod tests {
    use super::DeadLetterName;

    #[test]
    fn names_of_dead_letters() {
        for (text, is_one) in [
            ("crm/4711.3", true),
            ("crm/4711", true),
            ("../4711", false),
            ("/4711", false),
            ("crm", false),
            ("a/b/4711", false),
            ("crm/x", false),
        ] {
            assert_eq!(text.parse::<DeadLetterName>().is_ok(), is_one, "{text}");
        }
    }
}
