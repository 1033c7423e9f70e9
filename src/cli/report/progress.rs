//! How far something is, on stderr: on a terminal one line that is drawn again, else a line every ten seconds.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// The line.
pub(in crate::cli) struct Progress {
    is_terminal: bool,
    last: Option<Instant>,
}

impl Progress {
    /// Shows the first line at once.
    pub(in crate::cli) fn new() -> Progress {
        Progress {
            is_terminal: io::stderr().is_terminal(),
            last: None,
        }
    }

    /// Waits with the first line as with any other, so that nothing is shown of what is over soon.
    pub(in crate::cli) fn patient() -> Progress {
        Progress {
            last: Some(Instant::now()),
            ..Progress::new()
        }
    }

    /// Shows nothing where there is no terminal.
    pub(in crate::cli) fn on_terminal() -> Option<Progress> {
        let progress = Progress::patient();
        progress.is_terminal.then_some(progress)
    }

    /// Shows what `line` makes, if it is time.
    pub(in crate::cli) fn show(&mut self, line: impl FnOnce() -> String) {
        let pause = if self.is_terminal { REDRAW } else { LINE };
        if self.last.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        self.last = Some(Instant::now());
        // Without a stderr there is nobody to read it.
        let _ = if self.is_terminal {
            write!(io::stderr(), "\r\x1b[K{}", line())
        } else {
            writeln!(io::stderr(), "{}", line())
        };
    }

    /// Takes the line away, for what is said next; on a terminal the next one comes at once.
    pub(in crate::cli) fn clear(&mut self) {
        if self.is_terminal && self.last.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

const REDRAW: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(10);
