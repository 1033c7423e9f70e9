//! What is known of bodies that nobody can take apart, and who finds it out.

use super::directories::{all_aside, beside, dead_letters};
use super::{ServerError, sinks};
use crate::config::Config;
use crate::dead_letter::{Child, Quarantine, WORKER};
use crate::disk::Storage;
use crate::journal::{Endpoints, JournalId};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

/// Reads what the process before this one has left. `oldest` is the first sequence of the journal.
pub(super) fn open(
    config: &Config,
    journal: JournalId,
    oldest: u64,
    endpoints: &Endpoints,
) -> Result<Arc<Quarantine>, ServerError> {
    let storage = beside(&config.journal.dir.join("poison"))?;
    let open = || {
        let endpoints = endpoints.clone();
        let paths = Box::new(move |number| sinks::path_of(&endpoints, number).unwrap_or_default());
        let letters = dead_letters(config, WORKER)?;
        let opened = Quarantine::open(&storage, (journal, oldest), letters, paths);
        Ok::<_, ServerError>(opened)
    };
    let quarantine = match open()? {
        Err(error) if !error.is_shortage() => {
            all_aside(&*storage, &error)?;
            open()??
        }
        opened => opened?,
    };
    Ok(Arc::new(quarantine))
}

/// Has suspects taken apart by children, until `stop`. Who delivers them waits for that, and nobody else. The server
/// does not wait for the thread: it has nothing to finish.
pub(super) fn examine(
    quarantine: Arc<Quarantine>,
    journal: Arc<dyn Storage>,
    child: Option<Child>,
    stop: Arc<AtomicBool>,
) -> Result<(), ServerError> {
    if !quarantine.has_to_be_examined() {
        return Ok(());
    }
    let examine = move || quarantine.examine(&journal, child.as_ref(), &stop);
    let thread = thread::Builder::new().name("hl-suspects".to_owned());
    let started = thread.spawn(examine);
    started.map_err(ServerError::io("start the thread hl-suspects"))?;
    Ok(())
}
