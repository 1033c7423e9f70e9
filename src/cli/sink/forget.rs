//! `hookline sink forget`: what a sink has left that is gone for good.
//!
//! The cursor goes last: until then the sink is still one that can be forgotten.

use super::Known;
use crate::cli::error::CliError;
use crate::cli::journal::{open, open_beside};
use crate::cli::report::units::counted;
use crate::dead_letter;
use crate::disk::{Disk, Storage, command, quoted};
use crate::feed::{self, Cursors, Replays};
use crate::journal::{self, JournalError};
use std::io::{self, Write as _};
use std::sync::Arc;

pub(super) fn forget(known: &Known, sink: &str, yes: bool) -> Result<(), CliError> {
    let again = command(&format!("sink forget {}", quoted(sink)), &known.dir);
    if known.configured(sink).is_some() {
        return Err(CliError::failed(format!(
            "the sink {sink} is in the configuration: take it out there, restart the server, and then `{again}`"
        )));
    }
    if known.served(sink).is_some() {
        return Err(CliError::failed(format!(
            "the server runs the sink {sink}: take it out of the configuration, restart the server, and then `{again}`"
        )));
    }
    let disk: Arc<dyn Storage> = Arc::new(open(&known.dir)?);
    // Held to the end where no server runs: one that starts now could have this sink.
    let _lock = match journal::lock(&*disk) {
        Err(JournalError::Locked { .. }) if known.served.is_some() => None,
        Err(JournalError::Locked { holder, .. }) => {
            return Err(CliError::failed(format!(
                "a server runs here ({holder}) and its page does not say which sinks it has: name its configuration with \
                 --config, or stop it"
            )));
        }
        lock => Some(lock.map_err(|error| CliError::because("cannot take the journal", error))?),
    };
    let cursor = known.cursor(sink);
    let letters = known.dead_letters.get(sink).copied();
    let replays = known.replays.get(sink).copied();
    if cursor.is_none() && letters.is_none() && replays.is_none() {
        let names = known.names().join(", ");
        return Err(CliError::failed(format!(
            "there is no sink {sink} here; there are: {names}"
        )));
    }
    let lanes = cursor.and_then(|found| found.saved.as_ref().ok());
    let waiting = lanes.map_or(0, |it| feed::undelivered(&it.lanes, known.there.clone()));
    let (letters, replays) = (letters.unwrap_or(0), replays.unwrap_or(0));
    let waiting_text = counted(waiting, "notification");
    let what = format!(
        "{waiting_text} that it has not had, {} and {}",
        counted(letters, "dead letter"),
        counted(replays, "replay")
    );
    if !yes && waiting + letters + replays > 0 {
        return Err(CliError::Usage(format!(
            "the sink {sink} leaves {what}: say with --yes that none of that is to be delivered"
        )));
    }
    remove(known, sink)?;
    writeln!(
        io::stdout(),
        "{sink} is forgotten, with {what}; the journal still holds what its retention keeps"
    )?;
    Ok(())
}

fn remove(known: &Known, sink: &str) -> Result<(), CliError> {
    let dir = &known.dir;
    if let Some(disk) = open_beside(dir, "replays")? {
        let removed = Replays::open(Arc::new(disk)).forget(sink);
        removed.map_err(|error| CliError::because("cannot remove the replays", error))?;
    }
    let removed = dead_letter::forget(&dir.join("dead-letters"), sink);
    removed.map_err(|error| CliError::because("cannot remove the dead letters", error))?;
    if known.cursor(sink).is_some() {
        let failed = |error| CliError::because("cannot remove the cursor", error);
        let disk = Disk::open(&dir.join("cursors"));
        let disk = disk.map_err(|error| CliError::because("cannot open the cursors", error))?;
        Cursors::forget(&disk, sink).map_err(failed)?;
    }
    Ok(())
}
