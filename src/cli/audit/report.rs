//! The books, for people and for scripts.

use super::super::report::progress::Progress;
use super::super::report::table::Table;
use super::super::report::units::{bytes, counted, sequences, time};
use crate::audit::{Balance, SinkBalance};
use crate::disk::{Access, Storage, command};
use crate::event::Lane;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The books, and what belongs to them.
pub(super) struct Report {
    /// The data directory, for what it advises.
    pub(super) dir: PathBuf,
    /// What is no matter of the balance, and is to be put right all the same.
    pub(super) notes: Vec<String>,
    pub(super) balance: Balance,
}

impl Report {
    /// For people: the balance, what is missing, what it is made of.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let conclusion = if self.balance.is_even() {
            "the books balance"
        } else {
            "the books do not balance"
        };
        writeln!(out, "journal {}: {conclusion}", self.balance.id)?;
        self.write_balance(out)?;
        self.write_gaps(out)?;
        self.write_contents(out)
    }

    fn write_contents(&self, out: &mut impl Write) -> io::Result<()> {
        let tally = &self.balance.tally;
        if tally.notifications == 0 {
            writeln!(
                out,
                "\nno notification from sequence {} on",
                self.balance.first
            )?;
        } else {
            let (begin, end) = tally.arrivals.unzip();
            writeln!(
                out,
                "\n{}, {}, received {} to {}, bodies of {}",
                counted(tally.notifications, "notification"),
                sequences(self.balance.first, self.balance.end.next - 1),
                time(begin),
                time(end),
                bytes(tally.bytes),
            )?;
        }
        let mut table = Table::new("> |");
        for ((number, early), count) in &tally.endpoints {
            let endpoint = format!("{} ({})", self.path(*number), ack(*early));
            table.row(&[count, &endpoint]);
        }
        table.write(out)?;
        writeln!(out, "\n{}", counted(tally.received, "event"))?;
        for (lane, count) in Lane::ALL.iter().zip(tally.lanes) {
            table.row(&[&count, &format_args!("lane {}", lane.name())]);
        }
        table.write(out)?;
        writeln!(
            out,
            "of these: {} unparsed, {} of bodies without an update, {} of an earlier one{}",
            tally.unparsed,
            tally.empty,
            counted(self.balance.repeats.certain, "repeat"),
            if self.balance.repeats.forgot {
                " (that are not farther apart than --window)"
            } else {
                ""
            },
        )?;
        if self.balance.repeats.weak > 0 {
            writeln!(
                out,
                "{} more say the same as an earlier one, without an id or a time to tell them apart",
                self.balance.repeats.weak
            )?;
        }
        for (kind, count) in self.kinds() {
            table.row(&[&count, &kind]);
        }
        table.write(out)
    }

    fn write_gaps(&self, out: &mut impl Write) -> io::Result<()> {
        for (begin, behind) in &self.balance.holes {
            let (count, last) = (behind - begin, behind - 1);
            writeln!(
                out,
                "\n{} lost, {}: set aside by a repair, or left out at a start",
                counted(count, "notification"),
                sequences(*begin, last)
            )?;
        }
        if self.balance.end.retired > 0 {
            let count = counted(self.balance.end.retired, "notification");
            writeln!(out, "\n{count} retired before it could be read here")?;
        }
        if self.balance.missing > 0 {
            let count = counted(self.balance.missing, "sequence");
            writeln!(out, "\n{count} missing, and no repair has set that aside")?;
        }
        for damage in &self.balance.end.damage {
            writeln!(out, "\ndamaged: {damage}")?;
        }
        if let Some(damage) = &self.balance.end.stopped {
            writeln!(out, "\ndamaged, and nothing behind was read: {damage}")?;
        }
        Ok(())
    }

    fn write_balance(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out)?;
        if self.balance.sinks.is_empty() {
            writeln!(out, "no sink has a cursor here")?;
        } else {
            self.table().write(out)?;
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        if self.balance.sinks.iter().any(|sink| !sink.filtered) {
            writeln!(
                out,
                "what the filters of a sink leave out counts as delivered unless --config names them"
            )?;
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let mut table = Table::new(
            "sink | >received | >= delivered | >+ duplicate | >+ unwanted | >+ dead | >+ in flight | >unaccounted",
        );
        for sink in &self.balance.sinks {
            if self.balance.end.stopped.is_some() {
                table.note(format!(
                    "{}  not known: not all of the journal can be read",
                    sink.name
                ));
                continue;
            }
            table.row(&[
                &sink.name,
                &sink.received,
                &sink.tally.delivered,
                &sink.tally.duplicate,
                &sink.tally.unwanted,
                &sink.tally.dead,
                &sink.tally.in_flight,
                &sink.unaccounted,
            ]);
            for note in notes(sink, self.balance.end.next, &self.dir) {
                table.note(format!("  {note}"));
            }
        }
        table
    }

    /// For scripts.
    pub(super) fn as_json(&self) -> Value {
        let tally = &self.balance.tally;
        let (first_received, last_received) = tally.arrivals.unzip();
        let endpoints = tally.endpoints.iter().map(|((number, early), count)| {
            json!({ "path": self.path(*number), "ack": ack(*early), "notifications": count })
        });
        let kinds = self.kinds().into_iter();
        let kinds: Map<String, Value> = kinds
            .map(|(kind, count)| (kind.to_owned(), count.into()))
            .collect();
        let lanes = Lane::ALL.iter().zip(tally.lanes);
        let lanes: Map<String, Value> = lanes
            .map(|(lane, count)| (lane.name().to_owned(), count.into()))
            .collect();
        let holes = self
            .balance
            .holes
            .iter()
            .map(|(begin, behind)| json!({ "first_sequence": begin, "count": behind - begin }));
        json!({
            "id": self.balance.id.to_string(),
            "balances": self.balance.is_even(),
            "first_sequence": self.balance.first,
            "next_sequence": self.balance.end.next,
            "first_received": first_received,
            "last_received": last_received,
            "notifications": tally.notifications,
            "body_bytes": tally.bytes,
            "endpoints": endpoints.collect::<Vec<_>>(),
            "events": {
                "received": tally.received,
                "lanes": lanes,
                "types": kinds,
                "unparsed": tally.unparsed,
                "empty": tally.empty,
                "duplicates": tally.duplicates,
                "repeats": self.balance.repeats.certain,
                "weak_repeats": self.balance.repeats.weak,
                "window_exceeded": self.balance.repeats.forgot,
            },
            "set_aside": holes.collect::<Vec<_>>(),
            "retired_meanwhile": self.balance.end.retired,
            "missing": self.balance.missing,
            "damage": self.balance.end.damage,
            "stopped": self.balance.end.stopped,
            "notes": self.notes,
            "sinks": self.balance.sinks.iter().map(|sink| sink_json(sink, self.balance.end.stopped.is_none())).collect::<Vec<_>>(),
        })
    }

    fn path(&self, number: u16) -> &str {
        let known = self.balance.endpoints.iter().find(|(it, _)| *it == number);
        known.map_or("(an endpoint that is new)", |(_, path)| path)
    }

    /// The most frequent ones first.
    fn kinds(&self) -> Vec<(&str, u64)> {
        let kinds = self.balance.tally.kinds.iter();
        let mut kinds: Vec<_> = kinds.map(|(kind, count)| (kind.as_str(), *count)).collect();
        kinds.sort_unstable_by_key(|(kind, count)| (u64::MAX - count, *kind));
        kinds
    }
}

/// What is to be known beside the figures, and done. The journal in `dir` ends before the sequence `next`.
fn notes(sink: &SinkBalance, next: u64, dir: &Path) -> Vec<String> {
    let mut notes = Vec::new();
    if sink.retired > 0 {
        notes.push(format!(
            "{} behind sequence {} retired and never delivered to it: it was away for longer than the retention",
            counted(sink.retired, "notification"),
            sink.cursor
        ));
    }
    if let Some(first) = sink.tally.hidden_first {
        let replay = format!("replay --sink {} --from {first} --to {first}", sink.name);
        notes.push(format!(
            "{} could not be taken apart, or passed as whatsapp.unparsed which its filter leaves out, and is no \
             dead letter, the first with sequence {first}: with the server stopped, `{}` has it taken apart \
             again, then `{}` delivers it",
            counted(sink.tally.hidden, "notification"),
            command(&format!("dead-letters retry worker/{first}"), dir),
            command(&replay, dir)
        ));
    }
    match &sink.problem {
        Some(problem) => notes.push(problem.clone()),
        None if sink.reached >= next => notes.push(format!(
            "its cursor is at {}, beyond the journal: with the next start it goes back to the end",
            sink.reached
        )),
        None if sink.tally.waiting > 0 => notes.push(format!(
            "{} not confirmed behind sequence {}, the first received {}",
            counted(sink.tally.waiting, "notification"),
            sink.cursor,
            time(sink.tally.waiting_since)
        )),
        None => {}
    }
    notes
}

/// Figures are null if they are not `known`.
fn sink_json(sink: &SinkBalance, known: bool) -> Value {
    let known = |figure: u64| known.then_some(figure);
    json!({
        "name": sink.name,
        "problem": sink.problem,
        "cursor": sink.cursor,
        "reached": sink.reached,
        "filters_known": sink.filtered,
        "dead_letters": sink.dead_letters,
        "retired_notifications": sink.retired,
        "received": known(sink.received),
        "delivered": known(sink.tally.delivered),
        "duplicate": known(sink.tally.duplicate),
        "unwanted": known(sink.tally.unwanted),
        "dead": known(sink.tally.dead),
        "in_flight": known(sink.tally.in_flight),
        "unaccounted": known(sink.unaccounted),
        "hidden": known(sink.tally.hidden),
        "first_hidden": sink.tally.hidden_first,
        "waiting_notifications": known(sink.tally.waiting),
        "waiting_since": sink.tally.waiting_since,
    })
}

/// The mode in which a notification was answered.
fn ack(early: bool) -> &'static str {
    if early { "received" } else { "stored" }
}

/// How far the reading is, on stderr.
pub(super) struct Meter {
    progress: Progress,
    began: Instant,
    read: u64,
    /// Bytes of the segments' files; the last ones are not full.
    total: u64,
}

impl Meter {
    /// Nothing is read yet of the journal in `storage`.
    pub(super) fn begin(storage: &dyn Storage) -> Meter {
        let names = storage.list().unwrap_or_default();
        let segments = names.iter().filter(|name| name.ends_with(".segment"));
        let length = |name: &String| storage.open(name, Access::Read)?.length();
        Meter {
            progress: Progress::patient(),
            began: Instant::now(),
            read: 0,
            total: segments.filter_map(|name| length(name).ok()).sum(),
        }
    }

    /// So many more bytes are read, up to before the sequence `next`.
    pub(super) fn advance(&mut self, more: u64, next: u64) {
        self.read += more;
        self.progress.show(|| {
            let (read, total) = (bytes(self.read), bytes(self.total));
            let rate = bytes(self.read / self.began.elapsed().as_secs().max(1));
            format!("audit: read {read} of at most {total}, {rate}/s, sequence {next}")
        });
    }

    /// Clears the line.
    pub(super) fn end(mut self) {
        self.progress.clear();
    }
}
