//! NDJSON on standard output: one event a line, written at once with each batch.

use super::lines::Lines;
use super::statistics::Confirmation;
use super::stream::Sink;
use crate::feed::{Selection, Tally};
use crate::worker::EventBatch;
use std::io;
use std::thread;
use std::time::Duration;

/// The sink. Two of them in one process would mix their lines.
#[derive(Debug, Default)]
pub struct Stdout {
    lines: Lines,
}

impl Sink for Stdout {
    fn deliver(
        &mut self,
        delivery: &EventBatch,
        from: u64,
        wanted: &Selection,
    ) -> io::Result<Tally> {
        self.lines.begin(delivery, from);
        loop {
            let is_whole = self.lines.fill(delivery, wanted);
            // Past the buffer of `io::stdout`, which would keep what could not be written.
            self.lines
                .write_to(|rest| match rustix::io::write(io::stdout(), rest) {
                    // Whoever shares the pipe may have made it one that does not wait.
                    Err(rustix::io::Errno::AGAIN) => {
                        thread::sleep(FULL_PAUSE);
                        Err(io::ErrorKind::Interrupted.into())
                    }
                    written => Ok(written?),
                })?;
            if is_whole {
                return Ok(self.lines.finish());
            }
        }
    }

    fn confirm(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn confirmation(&self) -> Confirmation {
        Confirmation::Memory
    }
}

/// How long a pipe is left alone that is full and does not wait.
const FULL_PAUSE: Duration = Duration::from_millis(5);
