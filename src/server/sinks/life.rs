//! How a sink comes into life, before its cursor is opened: [`take_over`] gives it what it had under its former name,
//! and [`begin`] has it begin where it is to if it has no cursor then. The same at a start and for a sink that comes
//! later.

use super::Common;
use crate::config::{Sink, SinkKind, Start};
use crate::dead_letter;
use crate::disk::{command, quoted};
use crate::feed::{Replays, TakeOver};
use crate::journal;
use crate::server::ServerError;
use crate::server::directories::beside;
use std::io;
use std::ops::RangeInclusive;

/// Gives a sink what it had under its former name, once: where that name has a cursor and this one has none, and what
/// a start that was cut short has left.
pub(in crate::server) fn take_over(common: &Common<'_>, sink: &Sink) -> Result<(), ServerError> {
    let Some(former) = sink.life.former_name.as_deref() else {
        return Ok(());
    };
    let (name, dir, cursors) = (&sink.name, &common.config.journal.dir, &common.cursors);
    let found = cursors.look_over(former, name)?;
    if found == TakeOver::Both {
        tracing::warn!(
            sink = name,
            former_name = former,
            remove = command(&format!("sink forget {}", quoted(former)), dir),
            "the sink and its former name both have a cursor: its own counts, and nothing is taken over; `remove` takes away what the former one has left, and former_name can go from the configuration"
        );
        return Ok(());
    }
    // The cursor comes last: until then the next start takes over what is left.
    let letters = dead_letter::take_over(&dir.join("dead-letters"), former, name);
    let letters = letters.unwrap_or_else(|error| cannot(name, former, "dead letters", &error));
    let replays = Replays::open(beside(&dir.join("replays"))?).take_over(former, name);
    let replays = replays.unwrap_or_else(|error| cannot(name, former, "replays", &error));
    let cursor = cursors.take_over(former, name)?;
    if cursor == TakeOver::Taken || letters + replays > 0 {
        tracing::info!(
            sink = name,
            former_name = former,
            dead_letters = letters,
            replays,
            "the sink takes over what it had under its former name, and goes on where that was; former_name can go from the configuration"
        );
    } else if !cursors.has(name)? {
        tracing::warn!(
            sink = name,
            former_name = former,
            list = command("cursor list", dir),
            "no sink of the former name has a cursor here, so nothing is taken over, and the sink begins as `start` says; `list` shows the names that there are"
        );
    }
    Ok(())
}

/// What cannot be taken over stays where it is, and is no reason for a server not to start.
fn cannot(sink: &str, former: &str, what: &str, error: &dyn std::error::Error) -> u64 {
    tracing::warn!(
        sink, former_name = former, %error, what,
        "`what` of the former name of the sink cannot be taken over: they stay under that name, and the next start tries again; see what the error says"
    );
    0
}

/// Has a sink begin that has no cursor, in a journal that has these sequences.
pub(in crate::server) fn begin(
    common: &Common<'_>,
    sink: &Sink,
    there: RangeInclusive<u64>,
) -> Result<(), ServerError> {
    let (name, cursors) = (&sink.name, &common.cursors);
    if cursors.has(name)? {
        return Ok(());
    }
    let (before, last) = (there.start().saturating_sub(1), *there.end());
    let behind = match sink.life.start {
        Start::Oldest if there.is_empty() => return Ok(()),
        // The cursor is made where it is opened; a crash before that is as if it had not been.
        Start::Oldest => {
            let notifications = last - before;
            tracing::info!(
                sink = name,
                notifications,
                "the sink has no cursor yet, and start is \"oldest\": all that the journal holds is delivered to it"
            );
            return Ok(());
        }
        Start::Now => last,
        Start::At(time) => journal::first_received(&common.feeds.journal, time)? - 1,
    };
    let behind = behind.clamp(before, last.max(before));
    // A crash must not have it begin later than the line says, nor an empty journal than at its begin.
    cursors.begin(name, behind).map_err(|error| {
        let action = format!(
            "make the cursor of the new sink {name}; make room, or take the sink out of the configuration until there is \
             room"
        );
        ServerError::io(action)(io::Error::other(error))
    })?;
    let notifications = behind - before;
    if notifications == 0 {
        return Ok(());
    }
    let dir = &common.config.journal.dir;
    if let SinkKind::Pull(_) = sink.kind {
        tracing::info!(
            sink = name,
            notifications,
            command = command(&format!("cursor seek {} --to start", quoted(name)), dir),
            "the sink has no cursor yet, and begins with what comes next: so many notifications that the journal holds already are left out; its consumer reads them with after=0, or from its cursor after `command`, while the server is stopped"
        );
    } else {
        let all = format!("replay --sink {} --from start --to {behind}", quoted(name));
        tracing::info!(
            sink = name,
            notifications,
            command = command(&all, dir),
            "the sink has no cursor yet, and begins with what comes next: so many notifications that the journal holds already are left out; `command` delivers them to it"
        );
    }
    Ok(())
}
