//! NDJSON on standard output: one event a line, flushed with each batch.

use super::{Confirmation, Sink};
use crate::event;
use crate::feed::Delivery;
use std::io::{self, Write as _};

/// The sink. Two of them in one process would mix their lines.
#[derive(Debug, Default)]
pub struct Stdout {
    lines: Vec<u8>,
}

impl Sink for Stdout {
    fn deliver(&mut self, delivery: &Delivery, from: u64) -> io::Result<u64> {
        let events = render(delivery, from, &mut self.lines);
        let mut stdout = io::stdout().lock();
        stdout.write_all(&self.lines)?;
        stdout.flush()?;
        Ok(events)
    }

    fn confirm(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn confirmation(&self) -> Confirmation {
        Confirmation::Memory
    }
}

/// Replaces `lines` by the events as NDJSON and says how many there are.
pub(super) fn render(delivery: &Delivery, from: u64, lines: &mut Vec<u8>) -> u64 {
    lines.clear();
    let mut events = 0;
    for notification in delivery.notifications(from) {
        for event in notification.events() {
            event::render(event, notification.record.body, lines);
            lines.push(b'\n');
            events += 1;
        }
    }
    events
}
