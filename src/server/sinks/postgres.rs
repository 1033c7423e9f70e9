//! The configuration of a sink of type `postgres`, as the sink takes it.

use super::super::ServerError;
use super::{Common, Ready, SinkSetup};
use crate::config::{PostgresSink, Secret};
use crate::sink::postgres::{Options, Postgres};
use crate::sink::{Confirmation, CursorState};
use crate::worker::{EventBatch, Live};
use std::sync::Arc;

impl SinkSetup<'_> {
    /// Makes the sink; it connects to nothing yet.
    pub(super) fn postgres(
        self,
        common: &Common,
        sink: &PostgresSink,
        lives: &mut Vec<Live<Arc<EventBatch>>>,
    ) -> Result<(Confirmation, Ready), ServerError> {
        let name = &self.sink.name;
        let cursor = self.cursor_state(common);
        let options = Options {
            journal: common.cursors.journal().to_string(),
            former_name: self.sink.life.former_name.clone(),
            cursor,
            ..postgres_options(name, sink)
        };
        let made = Postgres::sink(options, Arc::clone(&self.statistics));
        let made = made.map_err(ServerError::io(format!("start the sink {name}")))?;
        self.stream(common, made, lives)
    }
}

/// Without a journal and a cursor.
pub(in crate::server) fn postgres_options(name: &str, sink: &PostgresSink) -> Options {
    let password = sink.password.as_ref().map(Secret::expose);
    Options {
        sink: name.to_owned(),
        former_name: None,
        journal: String::new(),
        target: sink.target.clone(),
        user: sink.user.clone(),
        password: password.map(<[u8]>::to_vec),
        files: sink.tls.files.clone(),
        shape: sink.shape.clone(),
        create: sink.create,
        timeout: sink.timeout,
        cursor: CursorState::default(),
    }
}
