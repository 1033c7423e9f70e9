//! Another configuration, taken over while the server runs.

use super::sources::Sources;
use super::{ServerError, endpoints};
use crate::config::Config;
use crate::journal;
use crate::reactor::Control;
use crate::worker::Forms;
use mio::Waker;
use std::sync::Arc;

/// Takes over the endpoints of another configuration. Paths and forms that are new are written down first: a disk that
/// stalls holds up whoever calls this, and nothing else.
#[derive(Clone)]
pub struct Reloader {
    pub(super) endpoints: journal::Endpoints,
    pub(super) forms: Arc<Forms>,
    pub(super) control: Arc<Control>,
    pub(super) wakers: Vec<Arc<Waker>>,
    pub(super) sources: Arc<Sources>,
}

impl Reloader {
    /// Takes over the endpoints; everything else of the configuration needs a restart.
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
        Ok(())
    }
}
