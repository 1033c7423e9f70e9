//! The directory of the journal and those in it: opened, made, or set aside where they cannot be used.

use super::ServerError;
use crate::config::Config;
use crate::dead_letter::{self, DeadLetters};
use crate::disk;
use crate::disk::{Disk, Storage};
use std::error::Error;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// The directory of the journal, made if it is not there.
pub(super) fn data_directory(path: &Path) -> Result<Arc<dyn Storage>, ServerError> {
    let disk = Disk::create(path);
    let disk = disk.map_err(ServerError::io(format!(
        "use {} as a directory for the journal (name another with --data-dir, or `dir` in [journal])",
        path.display()
    )))?;
    Ok(Arc::new(disk))
}

/// A directory in it, made if it is not there.
pub(super) fn directory(path: &Path) -> Result<Arc<dyn Storage>, ServerError> {
    let disk = Disk::create_within(path);
    let disk = disk.map_err(ServerError::io(format!("use {}", path.display())))?;
    Ok(Arc::new(disk))
}

/// A directory in it that delivery can do without: what cannot be used there is set aside, and logged.
pub(super) fn beside(path: &Path) -> Result<Arc<dyn Storage>, ServerError> {
    let made = Disk::create_within(path).and_then(|disk| {
        let usable = disk.is_usable().then_some(disk);
        usable.ok_or_else(|| ErrorKind::PermissionDenied.into())
    });
    let error = match made {
        Ok(disk) => return Ok(Arc::new(disk)),
        Err(error) if disk::is_shortage(&error) => {
            return Err(ServerError::io(format!("use {}", path.display()))(error));
        }
        Err(error) => error,
    };
    let within = path.parent().and_then(|within| Disk::open(within).ok());
    let name = path.file_name().and_then(OsStr::to_str);
    let aside = within
        .zip(name)
        .map(|(within, name)| (within.set_aside(name), within));
    let Some((Ok(aside), within)) = aside else {
        return Err(ServerError::io(format!(
            "use {}, nor set it aside: move it away, or give it to the user that serves",
            path.display()
        ))(error));
    };
    tracing::warn!(
        path = %path.display(), %error, aside = within.describe(&aside),
        "a directory of the data directory cannot be used: it is set aside and made anew; delivery goes on"
    );
    directory(path)
}

/// Sets everything aside that is in a directory, for this reason: its owner begins anew.
pub(super) fn all_aside(storage: &dyn Storage, error: &dyn Error) -> Result<(), ServerError> {
    let dir = storage.describe("");
    let names = storage.list();
    for name in names.map_err(ServerError::io(format!("list {dir}")))? {
        if !disk::is_aside(&name) {
            let aside = storage.set_aside(&name);
            aside.map_err(ServerError::io(format!("set {name} aside in {dir}")))?;
        }
    }
    tracing::warn!(dir, %error, "the files in a directory of the data directory cannot be used: all of them are set aside, and made anew; delivery goes on");
    Ok(())
}

/// Where the dead letters of a sink are.
pub(super) fn dead_letters(config: &Config, sink: &str) -> Result<DeadLetters, ServerError> {
    let all = config.journal.dir.join("dead-letters");
    beside(&all)?;
    Ok(DeadLetters::open(beside(&all.join(sink))?)?)
}

/// Takes away what no dead letter needs any more, of every sink that ever had any: verbs leave that to the server.
pub(super) fn sweep_dead_letters(config: &Config) {
    let sinks = dead_letter::list_sinks(&config.journal.dir.join("dead-letters"));
    for (_, letters) in sinks.into_iter().flatten() {
        // What is wrong with it is reported where it is used.
        let _ = letters.map(|mut letters| letters.retries());
    }
}
