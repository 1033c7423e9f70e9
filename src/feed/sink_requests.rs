//! `hookline sink stop` and `resume`: what somebody asks of a sink, and that it is stopped.
//!
//! Empty files in the directory `sinks` of the data directory:
//!
//! | file | says | written by |
//! |---|---|---|
//! | `NAME.stop` | the sink is to stop | the verb; the server removes it when that is done |
//! | `NAME.resume` | the sink is to go on | the verb; the server removes it when that is done |
//! | `NAME.stopped` | the sink is stopped, also after a restart | the server; where none runs, the verb, which has the journal's lock then |
//!
//! A kill between two of these leaves the request, and the next start does the rest.

use crate::disk::{self, IoContext, Storage};
use std::io::ErrorKind;
use std::sync::Arc;

/// What somebody asks of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SinkRequest {
    Resume,
    Stop,
}

/// The directory.
#[derive(Clone)]
pub struct SinkRequests {
    storage: Arc<dyn Storage>,
}

impl SinkRequest {
    const ALL: [SinkRequest; 2] = [SinkRequest::Resume, SinkRequest::Stop];

    fn suffix(self) -> &'static str {
        match self {
            SinkRequest::Resume => ".resume",
            SinkRequest::Stop => ".stop",
        }
    }
}

impl SinkRequests {
    /// What is in `storage`.
    pub fn open(storage: Arc<dyn Storage>) -> SinkRequests {
        SinkRequests { storage }
    }

    /// Asks this of a sink, durably, and not the other any more.
    pub fn ask(&self, sink: &str, request: SinkRequest) -> Result<(), disk::Error> {
        let other = match request {
            SinkRequest::Resume => SinkRequest::Stop,
            SinkRequest::Stop => SinkRequest::Resume,
        };
        self.done(sink, other)?;
        self.write(&format!("{sink}{}", request.suffix()))
    }

    /// True until the server has done it.
    pub fn is_asked(&self, sink: &str, request: SinkRequest) -> Result<bool, disk::Error> {
        Ok(self.all()?.contains(&(sink.to_owned(), request)))
    }

    /// Everything that is asked for.
    pub fn all(&self) -> Result<Vec<(String, SinkRequest)>, disk::Error> {
        let names = self.storage.list().on(&*self.storage, "list", "")?;
        let mut all = Vec::new();
        for request in SinkRequest::ALL {
            let sinks = names
                .iter()
                .filter_map(|name| name.strip_suffix(request.suffix()));
            all.extend(sinks.map(|sink| (sink.to_owned(), request)));
        }
        Ok(all)
    }

    /// It is done, or nobody can do it.
    pub fn done(&self, sink: &str, request: SinkRequest) -> Result<(), disk::Error> {
        self.remove(&format!("{sink}{}", request.suffix()))
    }

    /// True if the sink is not to run until somebody wants it to.
    pub fn is_stopped(&self, sink: &str) -> Result<bool, disk::Error> {
        let name = format!("{sink}{STOPPED}");
        let found = self.storage.identity(&name);
        Ok(found.on(&*self.storage, "look for", &name)?.is_some())
    }

    /// Writes down whether it is, durably.
    pub fn set_stopped(&self, sink: &str, stopped: bool) -> Result<(), disk::Error> {
        let name = format!("{sink}{STOPPED}");
        if stopped {
            self.write(&name)
        } else {
            self.remove(&name)
        }
    }

    /// Nothing is asked of it, and it is not stopped.
    pub fn forget(&self, sink: &str) -> Result<(), disk::Error> {
        for request in SinkRequest::ALL {
            self.done(sink, request)?;
        }
        self.set_stopped(sink, false)
    }

    fn write(&self, name: &str) -> Result<(), disk::Error> {
        let created = match self.storage.create(name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            created => created.map(drop),
        };
        let created = created.and_then(|()| self.storage.sync());
        created.on(&*self.storage, "create", name)
    }

    fn remove(&self, name: &str) -> Result<(), disk::Error> {
        let removed = match self.storage.remove(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => removed.and_then(|()| self.storage.sync()),
        };
        removed.on(&*self.storage, "remove", name)
    }
}

const STOPPED: &str = ".stopped";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;

    #[test]
    fn what_is_asked_for_stays_until_it_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let requests = SinkRequests::open(Arc::new(Disk::create(dir.path()).unwrap()));
        assert_eq!(requests.all().unwrap(), []);
        let crm = |request| [("crm".to_owned(), request)];
        requests.ask("crm", SinkRequest::Stop).unwrap();
        requests.ask("crm", SinkRequest::Stop).unwrap();
        assert_eq!(requests.all().unwrap(), crm(SinkRequest::Stop));
        requests.ask("crm", SinkRequest::Resume).unwrap();
        assert_eq!(requests.all().unwrap(), crm(SinkRequest::Resume));
        requests.done("crm", SinkRequest::Resume).unwrap();
        requests.done("crm", SinkRequest::Resume).unwrap();
        assert!(!requests.is_stopped("crm").unwrap());
        requests.set_stopped("crm", true).unwrap();
        assert!(requests.is_stopped("crm").unwrap());
        assert_eq!(requests.all().unwrap(), []);
        requests.set_stopped("crm", false).unwrap();
        requests.set_stopped("crm", false).unwrap();
        assert!(!requests.is_stopped("crm").unwrap());
    }
}
