//! One sink: what is to become of it, and what runs.

use super::{Asked, FileIdentity, Opened, Ready};
use crate::config::{self, SinkKind};
use crate::feed::{Cursor, RetentionHold};
use crate::server::sources::ShownSink;
use crate::sink::{Confirmation, Pull, Statistics};
use crate::worker::{EventBatch, Live};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A sink by its name.
pub(super) struct SinkEntry {
    pub(super) name: String,
    /// As the configuration has it; `None` once it is gone from there.
    pub(super) wanted: Option<config::Sink>,
    /// So it could not be started, and it goes on as it was.
    pub(super) refused: Option<config::Sink>,
    /// Why it is not to run.
    pub(super) block: Option<Block>,
    pub(super) state: State,
    /// Somebody has asked for it to go on.
    pub(super) is_resumed: bool,
    /// What ran last; `None` before the first time.
    pub(super) present: Option<Present>,
}

/// Why a sink does not run although it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Somebody has stopped it.
    Asked,
    /// It has stopped for good by itself.
    Ended,
    /// It could not be started.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Runs,
    /// It was asked to leave.
    Leaves {
        since: Instant,
        /// There was a line that says that it takes long.
        is_late: bool,
    },
    /// It does not run; `ran` if it did well up to then.
    Idle {
        ran: bool,
    },
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    Leave,
    Start,
    Forget,
}

/// A sink that runs, or did.
pub(super) struct Present {
    pub(super) sink: config::Sink,
    confirmation: Confirmation,
    pub(super) statistics: Arc<Statistics>,
    pub(super) lives: Vec<Live<Arc<EventBatch>>>,
    /// `None` where there is no cursor.
    hold: Option<RetentionHold>,
    pub(super) file: Option<FileIdentity>,
    pub(super) asked: Option<Asked>,
    pub(super) pull: Option<Arc<Pull>>,
}

impl SinkEntry {
    pub(super) fn new(sink: config::Sink) -> SinkEntry {
        SinkEntry {
            name: sink.name.clone(),
            wanted: Some(sink),
            refused: None,
            block: None,
            state: State::Idle { ran: false },
            is_resumed: false,
            present: None,
        }
    }

    /// The configuration has it so now.
    pub(super) fn want(&mut self, wanted: Option<config::Sink>) {
        let is_other = match (&self.wanted, &wanted) {
            (Some(before), Some(now)) => !is_same(before, now),
            (before, now) => before.is_some() != now.is_some(),
        };
        self.refused = None;
        match self.block {
            Some(Block::Failed) => self.block = None,
            Some(Block::Ended) if is_other => self.block = None,
            _ => {}
        }
        self.wanted = wanted;
    }

    pub(super) fn next_step(&self) -> Step {
        match self.state {
            State::Leaves { .. } => Step::Nothing,
            State::Runs => match &self.wanted {
                Some(wanted) if self.block.is_none() && !self.is_to_change(wanted) => Step::Nothing,
                _ => Step::Leave,
            },
            State::Idle { .. } => match (&self.wanted, self.block) {
                (None, _) => Step::Forget,
                (Some(_), None) => Step::Start,
                (Some(_), Some(_)) => Step::Nothing,
            },
        }
    }

    fn is_to_change(&self, wanted: &config::Sink) -> bool {
        let runs = self.present.as_ref().map(|it| &it.sink);
        let is_it = |other: Option<&config::Sink>| other.is_some_and(|it| is_same(it, wanted));
        !is_it(runs) && !is_it(self.refused.as_ref())
    }

    /// True if that sink cannot begin before this one has ended: it would write into the lines of this one, or takes
    /// over what this one has.
    pub(super) fn is_in_the_way_of(&self, sink: &config::Sink) -> bool {
        let is_idle = matches!(self.state, State::Idle { .. });
        let is_former = sink.life.former_name.as_ref() == Some(&self.name);
        let present = self.present.as_ref();
        !is_idle && (is_former || present.is_some_and(|it| it.sink.kind.collides(&sink.kind)))
    }

    /// Asks it to leave. One that is read has left at once.
    pub(super) fn leave(&mut self) {
        self.state = State::Leaves {
            since: Instant::now(),
            is_late: false,
        };
        let Some(present) = &mut self.present else {
            return;
        };
        present.lives.clear();
        if let Some(pull) = present.pull.take() {
            pull.close();
            self.state = State::Idle { ran: true };
        } else if let Some(asked) = &present.asked {
            asked.to_leave();
        }
    }

    /// Says once that it has not left within `patience`.
    pub(super) fn log_late(&mut self, patience: Duration) {
        let State::Leaves { since, is_late } = &mut self.state else {
            return;
        };
        if since.elapsed() >= patience && !std::mem::replace(is_late, true) {
            tracing::warn!(
                sink = self.name,
                seconds = since.elapsed().as_secs(),
                "the sink has not ended yet, since what it waits for hangs: it ends when that answers, and only then is what the configuration says of it done; a restart ends it at once"
            );
        }
    }

    /// Takes note of what was opened, which goes on where the one before has ended, and gives what is to run.
    pub(super) fn opened(&mut self, sink: config::Sink, opened: Opened) -> Ready {
        let (ready, pull) = match opened.ready {
            Ready::Pulled(pull) => (Ready::Pulled(Arc::clone(&pull)), Some(pull)),
            ready => (ready, None),
        };
        self.put(Present {
            sink,
            confirmation: opened.confirmation,
            statistics: opened.statistics,
            lives: opened.lives,
            hold: Some(opened.hold),
            file: opened.file,
            asked: Some(opened.asked),
            pull,
        });
        self.state = State::Runs;
        ready
    }

    /// It does not run, and its cursor, if it has one, stands there.
    pub(super) fn parked(&mut self, sink: config::Sink, cursor: Option<&Cursor>, reason: &str) {
        let statistics = match &self.present {
            Some(present) => present.statistics.carried_on(),
            None => Statistics::default(),
        };
        if let Some(cursor) = cursor {
            statistics.note_progress(cursor);
        }
        statistics.note_stopped(reason);
        self.put(Present {
            confirmation: confirmation(&sink.kind),
            sink,
            statistics: Arc::new(statistics),
            lives: Vec::new(),
            hold: cursor.map(Cursor::hold),
            file: None,
            asked: None,
            pull: None,
        });
    }

    fn put(&mut self, mut present: Present) {
        if let Some(before) = self.present.take() {
            match (before.hold, &present.hold) {
                (Some(hold), Some(_)) => hold.release(),
                // As long as nobody else keeps the journal for it.
                (hold, _) => present.hold = present.hold.or(hold),
            }
        }
        self.present = Some(present);
    }

    /// Nothing is kept for it any more.
    pub(super) fn release(self) {
        let hold = self.present.and_then(|it| it.hold);
        if let Some(hold) = hold {
            hold.release();
        }
    }

    /// What is shown of it; nothing before it was opened for the first time.
    pub(super) fn shown(&self) -> Option<ShownSink> {
        let present = self.present.as_ref()?;
        Some(ShownSink {
            name: self.name.clone(),
            kind: present.sink.kind.name(),
            confirmation: present.confirmation,
            statistics: Arc::clone(&present.statistics),
            runs: present.pull.is_none() && !matches!(self.state, State::Idle { .. }),
        })
    }

    /// Why it does not run, for people.
    pub(super) fn note_stopped(&self, reason: &str) {
        if let Some(present) = &self.present {
            present.statistics.note_stopped(reason);
        }
    }
}

/// True if it is the same sink: where one begins that has no cursor concerns only that.
fn is_same(one: &config::Sink, other: &config::Sink) -> bool {
    one.name == other.name && one.filter == other.filter && one.kind == other.kind
}

/// What a sink that never ran would give.
fn confirmation(kind: &SinkKind) -> Confirmation {
    match kind {
        SinkKind::File(_) | SinkKind::Pull(_) => Confirmation::Fsynced,
        _ => Confirmation::Memory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(name: &str) -> config::Sink {
        config::Sink {
            name: name.to_owned(),
            filter: config::Filter::default(),
            kind: SinkKind::Stdout,
            life: config::Life::default(),
        }
    }

    fn other(name: &str) -> config::Sink {
        let mut other = sink(name);
        other.filter.types = vec!["whatsapp.message.*".to_owned()];
        other
    }

    fn running() -> SinkEntry {
        let mut entry = SinkEntry::new(sink("out"));
        assert_eq!(entry.next_step(), Step::Start);
        entry.parked(sink("out"), None, "");
        entry.state = State::Runs;
        entry
    }

    const LEAVES: fn() -> State = || State::Leaves {
        since: Instant::now(),
        is_late: false,
    };

    #[test]
    fn who_is_the_same_is_not_touched_and_who_is_not_ends_first() {
        let mut entry = running();
        entry.want(Some(sink("out")));
        assert_eq!(entry.next_step(), Step::Nothing);
        entry.want(Some(other("out")));
        assert_eq!(entry.next_step(), Step::Leave);
        entry.state = LEAVES();
        assert_eq!(entry.next_step(), Step::Nothing);
        // What was asked for is asked for no more: it has to begin again all the same.
        entry.want(Some(sink("out")));
        assert_eq!(entry.next_step(), Step::Nothing);
        entry.state = State::Idle { ran: true };
        assert_eq!(entry.next_step(), Step::Start);
    }

    #[test]
    fn who_is_gone_from_the_configuration_is_forgotten_once_it_has_ended() {
        let mut entry = running();
        entry.want(None);
        assert_eq!(entry.next_step(), Step::Leave);
        entry.state = LEAVES();
        assert_eq!(entry.next_step(), Step::Nothing);
        entry.state = State::Idle { ran: true };
        assert_eq!(entry.next_step(), Step::Forget);
        entry.want(Some(sink("out")));
        assert_eq!(entry.next_step(), Step::Start, "it is back");
    }

    #[test]
    fn who_was_stopped_stays_so_until_somebody_wants_it_or_what_stopped_it_has_changed() {
        let mut entry = running();
        entry.block = Some(Block::Asked);
        assert_eq!(entry.next_step(), Step::Leave);
        entry.state = State::Idle { ran: true };
        entry.want(Some(other("out")));
        assert_eq!(entry.next_step(), Step::Nothing);
        entry.block = None;
        assert_eq!(entry.next_step(), Step::Start);

        for (block, unchanged) in [(Block::Ended, Step::Nothing), (Block::Failed, Step::Start)] {
            let mut entry = running();
            entry.state = State::Idle { ran: false };
            entry.block = Some(block);
            entry.want(Some(sink("out")));
            assert_eq!(entry.next_step(), unchanged, "{block:?}");
            entry.want(Some(other("out")));
            assert_eq!(entry.next_step(), Step::Start, "{block:?}");
        }
    }

    #[test]
    fn what_could_not_be_started_is_tried_again_with_the_next_configuration_only() {
        let mut entry = running();
        entry.want(Some(other("out")));
        entry.refused = Some(other("out"));
        assert_eq!(entry.next_step(), Step::Nothing);
        entry.want(Some(other("out")));
        assert_eq!(entry.next_step(), Step::Leave);
    }
}
