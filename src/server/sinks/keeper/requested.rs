//! What somebody asks of a sink by `hookline sink`, and who takes long to leave.

use super::super::Common;
use super::super::entry::{Block, State};
use super::Keeper;
use crate::disk::{self, Disk};
use crate::feed::{SinkRequest, SinkRequests};
use std::error::Error;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

impl Keeper {
    /// What somebody asks for, and who takes long.
    pub(super) fn look(&mut self) {
        let patience = self.common.config.server.drain_timeout + LATE;
        for entry in &mut self.entries {
            entry.log_late(patience);
        }
        let Some(requests) = requests(&self.common) else {
            return;
        };
        let asked = requests.all();
        for (name, request) in asked.iter().flatten() {
            if let Err(error) = self.take_up(&requests, name, *request) {
                self.log_unreadable(&error);
            }
        }
        if let Err(error) = asked {
            self.log_unreadable(&error);
        }
    }

    fn take_up(
        &mut self,
        requests: &SinkRequests,
        name: &str,
        request: SinkRequest,
    ) -> Result<(), disk::Error> {
        let mut all = self.entries.iter_mut();
        let Some(entry) = all.find(|it| it.name == name && it.wanted.is_some()) else {
            if request == SinkRequest::Resume {
                requests.set_stopped(name, false)?;
            }
            tracing::warn!(
                sink = name,
                "`hookline sink` names a sink that is not in the configuration: that changes nothing here"
            );
            return requests.done(name, request);
        };
        if request == SinkRequest::Resume {
            requests.set_stopped(name, false)?;
            entry.is_resumed = entry.block.take().is_some();
            return requests.done(name, request);
        }
        if entry.block != Some(Block::Asked) {
            requests.set_stopped(name, true)?;
            entry.block = Some(Block::Asked);
        }
        if matches!(entry.state, State::Idle { .. }) {
            entry.note_stopped(STOPPED);
            self.has_stopped(name);
        }
        Ok(())
    }

    /// A sink that somebody has stopped has ended.
    pub(super) fn has_stopped(&mut self, name: &str) {
        let done = requests(&self.common).map(|it| it.done(name, SinkRequest::Stop));
        tracing::info!(
            sink = name,
            "the sink is stopped, as `hookline sink stop` has asked: nothing is delivered to it, and the journal keeps what it has not had; `hookline sink resume` lets it go on"
        );
        if let Some(Err(error)) = done {
            self.log_unreadable(&error);
        }
    }

    pub(super) fn log_unreadable(&self, error: &dyn Error) {
        if let Some(times) = self.unreadable.count() {
            tracing::warn!(
                %error,
                times,
                "what `hookline sink` asks for, or what sinks have left, cannot be read or written down: it is tried again; give the directory to the user that serves, or make room"
            );
        }
    }
}

/// What somebody asks for by `hookline sink`, who has made the directory if there ever was anybody.
pub(super) fn requests(common: &Common) -> Option<SinkRequests> {
    let dir = common.config.journal.dir.join("sinks");
    match Disk::open(&dir) {
        Ok(disk) => Some(SinkRequests::open(Arc::new(disk))),
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::debug!(%error, "the directory of requests to sinks cannot be opened");
            }
            None
        }
    }
}

pub(super) fn is_stopped(requests: Option<&SinkRequests>, sink: &str) -> bool {
    requests.is_some_and(|it| it.is_stopped(sink).unwrap_or(false))
}

/// Why it does not run, in `status`.
pub(super) const STOPPED: &str =
    "somebody has run `hookline sink stop`; `hookline sink resume` lets it go on";

/// How much longer than `drain_timeout` a sink may take to leave before there is a line.
const LATE: Duration = Duration::from_secs(5);
