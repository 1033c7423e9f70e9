//! Another configuration, taken over while the server runs: its endpoints at once, and its sinks one by one, as
//! [`keeper`](super::sinks::keeper) says.

use super::sinks::keeper::Keeping;
use super::sources::Sources;
use super::{ServerError, descriptors, endpoints};
use crate::config::Config;
use crate::journal;
use crate::reactor::Control;
use crate::worker::Forms;
use mio::Waker;
use std::sync::Arc;

/// Takes over the endpoints and sinks of another configuration. Paths and forms that are new are written down first: a
/// disk that stalls holds up whoever calls this, and nothing else.
#[derive(Clone)]
pub struct Reloader {
    pub(super) endpoints: journal::Endpoints,
    pub(super) forms: Arc<Forms>,
    pub(super) control: Arc<Control>,
    pub(super) wakers: Vec<Arc<Waker>>,
    pub(super) sources: Arc<Sources>,
    pub(super) sinks: Keeping,
}

impl Reloader {
    /// Takes over the endpoints, and asks for the sinks, which the log says more of; everything else of the
    /// configuration needs a restart. With an error everything stays as it was.
    pub fn reload(&self, config: &Config) -> Result<(), ServerError> {
        let table = endpoints::table(
            config,
            self.wakers.len(),
            &self.endpoints,
            &self.forms,
            Some(&self.sources.table()),
        )?;
        let table = Arc::new(table);
        self.sources.set_table(Arc::clone(&table));
        self.control.set_table(table);
        for waker in &self.wakers {
            // A full counter is a loop that is awake.
            let _ = waker.wake();
        }
        descriptors::make_room(config);
        self.sinks.change(config.sinks.clone());
        Ok(())
    }
}
