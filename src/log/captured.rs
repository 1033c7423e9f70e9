//! What is logged, for tests.

use parking_lot::Mutex;
use std::io::{self, Write};
use std::sync::Arc;

/// The lines that this thread logs meanwhile, and whichever has its subscriber.
pub(crate) fn captured(run: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone());
    tracing::subscriber::with_default(subscriber.finish(), run);
    let lines = lines.0.lock().clone();
    String::from_utf8(lines).expect("text")
}

#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
