//! What is known of bodies that nobody can take apart, and who finds it out.

use super::{ServerError, all_aside, beside, letters, sinks};
use crate::config::Config;
use crate::disk::Storage;
use crate::feed::{Child, Poison, WORKER};
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
) -> Result<Arc<Poison>, ServerError> {
    let storage = beside(&config.journal.dir.join("poison"))?;
    let open = || {
        let endpoints = endpoints.clone();
        let paths = Box::new(move |number| sinks::path_of(&endpoints, number).unwrap_or_default());
        let letters = letters(config, WORKER)?;
        let opened = Poison::open(&storage, (journal, oldest), letters, paths);
        Ok::<_, ServerError>(opened)
    };
    let poison = match open()? {
        Err(error) if !error.is_shortage() => {
            all_aside(&*storage, &error)?;
            open()??
        }
        opened => opened?,
    };
    Ok(Arc::new(poison))
}

/// Has suspects taken apart by children, until `stop`. Who delivers them waits for that, and nobody else. The server
/// does not wait for the thread: it has nothing to finish.
pub(super) fn examine(
    poison: Arc<Poison>,
    journal: Arc<dyn Storage>,
    child: Option<Child>,
    stop: Arc<AtomicBool>,
) -> Result<(), ServerError> {
    if !poison.has_to_be_examined() {
        return Ok(());
    }
    let examine = move || poison.examine(&journal, child.as_ref(), &stop);
    let thread = thread::Builder::new().name("hl-suspects".to_owned());
    let started = thread.spawn(examine);
    started.map_err(ServerError::io("start the thread hl-suspects"))?;
    Ok(())
}
