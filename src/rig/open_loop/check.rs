//! Whether a journal of Hookline holds what was answered with 200, byte for byte.
//!
//! The journal is read from where it ended before the run. Each record that has an id of this run is made again and
//! compared; what others have sent meanwhile is passed over. Here each notification has its own name and may come
//! again on any connection, so a set of names says what is owed; where they are numbered by connection and come in
//! order, two counters do, see [`oracle`](super::super::oracle).

use super::super::findings::{Findings, Kind, difference};
use super::body::Bodies;
use super::ledger::Names;
use super::plan::Name;
use crate::disk::Storage;
use crate::journal::{JournalError, Reader};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// What a journal holds of a run, in notifications.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// Records of this run.
    pub(crate) records: u64,
    /// Answered with 200, and there as they were sent.
    pub(crate) whole: u64,
    /// There more than once, as what is sent again is.
    pub(crate) repeated: u64,
    /// Lost, altered and invented ones.
    pub(crate) findings: Findings,
}

/// Looks for those that were answered with 200 in the journal in `storage`, from this sequence on.
pub(crate) fn check(
    storage: &Arc<dyn Storage>,
    from: u64,
    bodies: &Bodies,
    answered: &Names,
) -> Result<Held, JournalError> {
    let mut reading = Reading {
        bodies,
        met: Names::none_of(&bodies.plan),
        held: Held::default(),
        made: Vec::new(),
    };
    let mut reader = Reader::open(Arc::clone(storage), from)?;
    let begin = Instant::now();
    loop {
        while let Some(batch) = reader.next(None)? {
            for (sequence, record) in batch.records_from(from) {
                reading.meet(sequence, record.body);
            }
        }
        // With `ack = "received"` the journal follows.
        if answered.without(&reading.met).next().is_none() || begin.elapsed() > PATIENCE {
            break;
        }
        thread::sleep(PAUSE);
    }
    let Reading { met, mut held, .. } = reading;
    for name in answered.without(&met) {
        held.findings.note(Kind::Lost, 1, || describe(name));
    }
    held.whole = answered.count() - held.findings.lost;
    Ok(held)
}

/// One reading of the journal.
struct Reading<'b> {
    bodies: &'b Bodies,
    /// Met as they were sent.
    met: Names,
    held: Held,
    made: Vec<u8>,
}

impl Reading<'_> {
    fn meet(&mut self, sequence: u64, body: &[u8]) {
        let Some(name) = self.bodies.name_of(body) else {
            return;
        };
        let findings = &mut self.held.findings;
        self.held.records += 1;
        let (statuses, messages) = self.bodies.plan.counts();
        let is_planned = match name {
            Name::Statuses(number) => number < statuses,
            Name::Message(number) => number < messages,
        };
        let what = || format!("sequence {sequence}: {}", describe(name));
        if !is_planned {
            return findings.note(Kind::Invented, 1, what);
        }
        self.bodies.make(name, &mut self.made);
        if let Some(difference) = difference(&self.made, body) {
            return findings.note(Kind::Altered, 1, || format!("{}: {difference}", what()));
        }
        self.held.repeated += u64::from(!self.met.insert(name));
    }
}

fn describe(name: Name) -> String {
    match name {
        Name::Statuses(number) => format!("notification {number} with statuses"),
        Name::Message(number) => format!("notification {number} with a message"),
    }
}

/// How long what was answered may take to the journal.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);
