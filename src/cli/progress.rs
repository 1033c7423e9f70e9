//! How far something is, on stderr: on a terminal one line that is drawn again, else a line every ten seconds.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    is_terminal: bool,
    last: Option<Instant>,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress {
            is_terminal: io::stderr().is_terminal(),
            last: None,
        }
    }

    /// Shows what `line` makes, if it is time.
    pub(super) fn show(&mut self, line: impl FnOnce() -> String) {
        let pause = if self.is_terminal { REDRAW } else { LINE };
        if self.last.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        self.last = Some(Instant::now());
        // Without a stderr there is nobody to tell.
        let _ = if self.is_terminal {
            write!(io::stderr(), "\r\x1b[K{}", line())
        } else {
            writeln!(io::stderr(), "{}", line())
        };
    }

    /// Takes the line away, for the report.
    pub(super) fn clear(&self) {
        if self.is_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

const REDRAW: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(10);
