//! Whether a journal of Hookline holds what was answered with 200, byte for byte.
//!
//! The journal is read from where it ended before the run. Each record that has an id of this run is made again and
//! compared; what others have sent meanwhile is passed over.

use crate::cli::journal::{open, refused};
use crate::cli::moment::extent_of;
use crate::cli::{CliError, configuration};
use crate::disk::Storage;
use crate::journal::{JournalError, Reader};
use crate::rig::open_loop::body::Bodies;
use crate::rig::open_loop::ledger::Names;
use crate::rig::open_loop::plan::Name;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// A journal, and where it ended before the run.
#[derive(Debug)]
pub(super) struct Witness {
    storage: Arc<dyn Storage>,
    from: u64,
}

/// What it holds, in notifications.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Records of this run.
    pub(super) records: u64,
    /// Answered with 200, and there as they were sent.
    pub(super) whole: u64,
    /// There more than once, as what is sent again is.
    pub(super) repeated: u64,
    /// Answered with 200, and not there as they were sent.
    pub(super) lost: u64,
    /// There with other bytes.
    pub(super) altered: u64,
    /// There though this run has none of that name.
    pub(super) invented: u64,
    /// The first of what is wrong, each in a line.
    pub(super) examples: Vec<String>,
}

impl Findings {
    /// True when nothing is wrong.
    pub(super) fn is_clean(&self) -> bool {
        self.lost + self.altered + self.invented == 0
    }

    fn note(&mut self, example: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }
}

impl Witness {
    /// The journal in a directory, or the one that a configuration names.
    pub(super) fn find(path: &Path) -> Result<Witness, CliError> {
        let configured;
        let dir = if path.is_file() {
            configured = configuration(Some(path))?.journal.dir;
            configured.as_path()
        } else {
            path
        };
        let storage: Arc<dyn Storage> = Arc::new(open(dir)?);
        let from = extent_of(&*storage)?.end;
        Ok(Witness { storage, from })
    }

    /// Looks for those that were answered with 200.
    pub(super) fn look(&self, bodies: &Bodies, answered: &Names) -> Result<Findings, CliError> {
        let failed = |error: JournalError| refused("cannot read the journal", error);
        let mut look = Look {
            bodies,
            met: Names::none_of(&bodies.plan),
            findings: Findings::default(),
            made: Vec::new(),
        };
        let mut reader = Reader::open(Arc::clone(&self.storage), self.from).map_err(failed)?;
        let begin = Instant::now();
        loop {
            while let Some(batch) = reader.next(None).map_err(failed)? {
                for (sequence, record) in batch.records_from(self.from) {
                    look.meet(sequence, record.body);
                }
            }
            // With `ack = "received"` the journal follows.
            if answered.without(&look.met).next().is_none() || begin.elapsed() > PATIENCE {
                break;
            }
            thread::sleep(PAUSE);
        }
        let Look {
            met, mut findings, ..
        } = look;
        for name in answered.without(&met) {
            findings.lost += 1;
            findings.note(|| format!("lost: {}", describe(name)));
        }
        findings.whole = answered.count() - findings.lost;
        Ok(findings)
    }
}

/// One reading of the journal.
struct Look<'b> {
    bodies: &'b Bodies,
    /// Met as they were sent.
    met: Names,
    findings: Findings,
    made: Vec<u8>,
}

impl Look<'_> {
    fn meet(&mut self, sequence: u64, body: &[u8]) {
        let Some(name) = self.bodies.name_of(body) else {
            return;
        };
        let findings = &mut self.findings;
        findings.records += 1;
        let (statuses, messages) = self.bodies.plan.counts();
        let is_planned = match name {
            Name::Statuses(number) => number < statuses,
            Name::Message(number) => number < messages,
        };
        if !is_planned {
            findings.invented += 1;
            return findings.note(|| format!("invented: sequence {sequence}: {}", describe(name)));
        }
        self.bodies.make(name, &mut self.made);
        if self.made != body {
            let same = self.made.iter().zip(body).take_while(|(a, b)| a == b);
            let at = same.count();
            findings.altered += 1;
            return findings.note(|| {
                let name = describe(name);
                format!("altered: sequence {sequence}: {name}: other from byte {at} on")
            });
        }
        findings.repeated += u64::from(!self.met.insert(name));
    }
}

fn describe(name: Name) -> String {
    match name {
        Name::Statuses(number) => format!("notification {number} with statuses"),
        Name::Message(number) => format!("notification {number} with a message"),
    }
}

/// Findings that are listed one by one.
const EXAMPLES_MAX: usize = 20;

/// How long what was answered may take to the journal.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);
