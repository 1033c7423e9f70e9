//! The books, for people and for scripts.

use super::super::report::table::Table;
use super::super::report::units::{bytes, counted, sequences, time};
use super::reading::End;
use super::repeats::Repeats;
use super::tally::Tally;
use crate::disk::command;
use crate::event::Lane;
use crate::journal::JournalId;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Everything that an audit finds.
pub(super) struct Report {
    /// The data directory, for what it advises.
    pub(super) dir: PathBuf,
    pub(super) id: JournalId,
    /// The sequence that it begins with.
    pub(super) first: u64,
    /// Numbers and paths.
    pub(super) endpoints: Vec<(u16, String)>,
    /// Begin and end, exclusive, of what repairs have set aside.
    pub(super) holes: Vec<(u64, u64)>,
    /// Sequences that are missing without an explanation.
    pub(super) missing: u64,
    /// What is no matter of the balance, and is to be put right all the same.
    pub(super) notes: Vec<String>,
    pub(super) sinks: Vec<SinkReport>,
    pub(super) end: End,
    pub(super) tally: Tally,
    pub(super) repeats: Repeats,
}

/// The balance of one sink, in events.
pub(super) struct SinkReport {
    pub(super) name: String,
    /// Why its cursor could not be used.
    pub(super) problem: Option<String>,
    pub(super) cursor: u64,
    /// Highest sequence that any lane has come to.
    pub(super) reached: u64,
    /// Notifications that retention took before the sink had them.
    pub(super) retired: u64,
    /// Whether its filters are known.
    pub(super) filtered: bool,
    /// Dead letters that there are, also of what is not in the journal any more.
    pub(super) dead_letters: u64,
    pub(super) received: u64,
    pub(super) delivered: u64,
    pub(super) duplicate: u64,
    pub(super) unwanted: u64,
    pub(super) dead: u64,
    pub(super) in_flight: u64,
    pub(super) unaccounted: u64,
    /// Of these, notifications that have passed it without an event, and are no dead letter.
    pub(super) hidden: u64,
    /// Sequence of the first one.
    pub(super) hidden_first: Option<u64>,
    /// Notifications that are not confirmed as a whole.
    pub(super) waiting: u64,
    /// When the first of them came, microseconds since 1970.
    pub(super) waiting_since: Option<u64>,
}

impl SinkReport {
    /// What is accounted for.
    pub(super) fn sum(&self) -> u64 {
        self.delivered + self.duplicate + self.unwanted + self.dead + self.in_flight
    }

    /// What is to be known beside the figures, and done. The journal in `dir` ends before the sequence `next`.
    fn notes(&self, next: u64, dir: &Path) -> Vec<String> {
        let mut notes = Vec::new();
        if self.retired > 0 {
            notes.push(format!(
                "{} behind sequence {} retired and never delivered to it: it was away for longer than the retention",
                counted(self.retired, "notification"),
                self.cursor
            ));
        }
        if let Some(first) = self.hidden_first {
            let replay = format!("replay --sink {} --from {first} --to {first}", self.name);
            notes.push(format!(
                "{} could not be taken apart, or passed as whatsapp.unparsed which its filter leaves out, and is no \
                 dead letter, the first with sequence {first}: with the server stopped, `{}` has it taken apart \
                 again, then `{}` delivers it",
                counted(self.hidden, "notification"),
                command(&format!("dead-letters retry worker/{first}"), dir),
                command(&replay, dir)
            ));
        }
        match &self.problem {
            Some(problem) => notes.push(problem.clone()),
            None if self.reached >= next => notes.push(format!(
                "its cursor is at {}, beyond the journal: with the next start it goes back to the end",
                self.reached
            )),
            None if self.waiting > 0 => notes.push(format!(
                "{} not confirmed behind sequence {}, the first received {}",
                counted(self.waiting, "notification"),
                self.cursor,
                time(self.waiting_since)
            )),
            None => {}
        }
        notes
    }
}

impl Report {
    /// True if nothing is missing, and everything could be looked at.
    pub(super) fn balances(&self) -> bool {
        let sink = |sink: &SinkReport| sink.unaccounted == 0 && sink.problem.is_none();
        let looked_at = self.end.damage.is_empty() && self.end.stopped.is_none();
        looked_at && self.missing == 0 && self.sinks.iter().all(sink)
    }

    /// For people: the balance, what is missing, what it is made of.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let conclusion = if self.balances() {
            "the books balance"
        } else {
            "the books do not balance"
        };
        writeln!(out, "journal {}: {conclusion}", self.id)?;
        self.write_balance(out)?;
        self.write_gaps(out)?;
        self.write_contents(out)
    }

    fn write_contents(&self, out: &mut impl Write) -> io::Result<()> {
        let tally = &self.tally;
        if tally.notifications == 0 {
            writeln!(out, "\nno notification from sequence {} on", self.first)?;
        } else {
            let (begin, end) = tally.arrivals.unzip();
            writeln!(
                out,
                "\n{}, {}, received {} to {}, bodies of {}",
                counted(tally.notifications, "notification"),
                sequences(self.first, self.end.next - 1),
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
            counted(self.repeats.certain, "repeat"),
            if self.repeats.forgot {
                " (that are not farther apart than --window)"
            } else {
                ""
            },
        )?;
        if self.repeats.weak > 0 {
            writeln!(
                out,
                "{} more say the same as an earlier one, without an id or a time to tell them apart",
                self.repeats.weak
            )?;
        }
        for (kind, count) in self.kinds() {
            table.row(&[&count, &kind]);
        }
        table.write(out)
    }

    fn write_gaps(&self, out: &mut impl Write) -> io::Result<()> {
        for (begin, behind) in &self.holes {
            let (count, last) = (behind - begin, behind - 1);
            writeln!(
                out,
                "\n{} lost, {}: set aside by a repair, or left out at a start",
                counted(count, "notification"),
                sequences(*begin, last)
            )?;
        }
        if self.end.retired > 0 {
            let count = counted(self.end.retired, "notification");
            writeln!(out, "\n{count} retired before it could be read here")?;
        }
        if self.missing > 0 {
            let count = counted(self.missing, "sequence");
            writeln!(out, "\n{count} missing, and no repair has set that aside")?;
        }
        for damage in &self.end.damage {
            writeln!(out, "\ndamaged: {damage}")?;
        }
        if let Some(damage) = &self.end.stopped {
            writeln!(out, "\ndamaged, and nothing behind was read: {damage}")?;
        }
        Ok(())
    }

    fn write_balance(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out)?;
        if self.sinks.is_empty() {
            writeln!(out, "no sink has a cursor here")?;
        } else {
            self.balance().write(out)?;
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        if self.sinks.iter().any(|sink| !sink.filtered) {
            writeln!(
                out,
                "what the filters of a sink leave out counts as delivered unless --config names them"
            )?;
        }
        Ok(())
    }

    fn balance(&self) -> Table {
        let mut table = Table::new(
            "sink | >received | >= delivered | >+ duplicate | >+ unwanted | >+ dead | >+ in flight | >unaccounted",
        );
        for sink in &self.sinks {
            if self.end.stopped.is_some() {
                table.note(format!(
                    "{}  not known: not all of the journal can be read",
                    sink.name
                ));
                continue;
            }
            table.row(&[
                &sink.name,
                &sink.received,
                &sink.delivered,
                &sink.duplicate,
                &sink.unwanted,
                &sink.dead,
                &sink.in_flight,
                &sink.unaccounted,
            ]);
            for note in sink.notes(self.end.next, &self.dir) {
                table.note(format!("  {note}"));
            }
        }
        table
    }

    /// For scripts.
    pub(super) fn as_json(&self) -> Value {
        let tally = &self.tally;
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
            .holes
            .iter()
            .map(|(begin, behind)| json!({ "first_sequence": begin, "count": behind - begin }));
        json!({
            "id": self.id.to_string(),
            "balances": self.balances(),
            "first_sequence": self.first,
            "next_sequence": self.end.next,
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
                "repeats": self.repeats.certain,
                "weak_repeats": self.repeats.weak,
                "window_exceeded": self.repeats.forgot,
            },
            "set_aside": holes.collect::<Vec<_>>(),
            "retired_meanwhile": self.end.retired,
            "missing": self.missing,
            "damage": self.end.damage,
            "stopped": self.end.stopped,
            "notes": self.notes,
            "sinks": self.sinks.iter().map(|sink| sink.as_json(self.end.stopped.is_none())).collect::<Vec<_>>(),
        })
    }

    fn path(&self, number: u16) -> &str {
        let known = self.endpoints.iter().find(|(it, _)| *it == number);
        known.map_or("(an endpoint that is new)", |(_, path)| path)
    }

    /// The most frequent ones first.
    fn kinds(&self) -> Vec<(&str, u64)> {
        let kinds = self.tally.kinds.iter();
        let mut kinds: Vec<_> = kinds.map(|(kind, count)| (kind.as_str(), *count)).collect();
        kinds.sort_unstable_by_key(|(kind, count)| (u64::MAX - count, *kind));
        kinds
    }
}

impl SinkReport {
    /// Figures are null if they are not `known`.
    fn as_json(&self, known: bool) -> Value {
        let known = |figure: u64| known.then_some(figure);
        json!({
            "name": self.name,
            "problem": self.problem,
            "cursor": self.cursor,
            "reached": self.reached,
            "filters_known": self.filtered,
            "dead_letters": self.dead_letters,
            "retired_notifications": self.retired,
            "received": known(self.received),
            "delivered": known(self.delivered),
            "duplicate": known(self.duplicate),
            "unwanted": known(self.unwanted),
            "dead": known(self.dead),
            "in_flight": known(self.in_flight),
            "unaccounted": known(self.unaccounted),
            "hidden": known(self.hidden),
            "first_hidden": self.hidden_first,
            "waiting_notifications": known(self.waiting),
            "waiting_since": self.waiting_since,
        })
    }
}

/// The mode in which a notification was answered.
fn ack(early: bool) -> &'static str {
    if early { "received" } else { "stored" }
}
