//! Which sinks are read by consumers, so that nobody can deliver to them again: a file `SINK.pull` for each, which the
//! server writes when it starts.

use super::Replays;
use super::error::ReplayError;
use crate::disk::{IoContext, Storage};

impl Replays {
    /// Notes these sinks of type `pull`, and that others are none.
    pub fn note_consumers(&self, sinks: &[&str]) -> Result<(), ReplayError> {
        let storage: &dyn Storage = &*self.storage;
        let names = storage.list().on(storage, "list", "")?;
        for name in &names {
            let sink = name.strip_suffix(SUFFIX);
            if sink.is_some_and(|sink| !sinks.contains(&sink)) {
                self.remove(name)?;
            }
        }
        for name in sinks.iter().map(|sink| file_name(sink)) {
            if !names.contains(&name) {
                let stored = storage.replace(&name, CONTENT);
                stored.on(storage, "replace", &name)?;
            }
        }
        Ok(())
    }

    /// True if the sink is of type `pull`, as far as the last start of a server says.
    #[must_use]
    pub fn has_consumer(&self, sink: &str) -> bool {
        self.is_there(&file_name(sink))
    }
}

fn file_name(sink: &str) -> String {
    format!("{sink}{SUFFIX}")
}

const SUFFIX: &str = ".pull";

/// For people.
const CONTENT: &[u8] = b"hookline_pull 1\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use std::sync::Arc;

    #[test]
    fn a_sink_that_becomes_another_one_is_noted() {
        let dir = tempfile::tempdir().unwrap();
        let mut replays = Replays::open(Arc::new(Disk::create(dir.path()).unwrap()));
        let found = |replays: &Replays| ["crm", "erp"].map(|sink| replays.has_consumer(sink));
        assert_eq!(found(&replays), [false, false]);
        replays.note_consumers(&["crm", "erp"]).unwrap();
        replays.note_consumers(&["crm", "erp"]).unwrap();
        assert_eq!(found(&replays), [true, true]);
        replays.note_consumers(&["erp"]).unwrap();
        assert_eq!(found(&replays), [false, true]);
        assert!(replays.ids().unwrap().is_empty());
        assert!(replays.under_way().unwrap().is_empty());
    }
}
