//! A panic is a line of the log.

use super::queue::flush;
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::thread;
use std::time::Duration;

/// Panics are logged from now on. The hook of the standard library writes to stderr itself, and would wait there.
pub fn log_panics() {
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    let place = panic.location().map(ToString::to_string);
    let place = place.unwrap_or_default();
    let message = message(panic.payload());
    // Only where RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(
        thread = name,
        place,
        panic = message,
        backtrace,
        "a thread panicked; this is a bug in Hookline"
    );
    // Behind this the process ends.
    if name == "main" {
        flush(PATIENCE);
    }
}

fn message(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let owned = || payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(owned).unwrap_or("without a message")
}

/// How long the last line may take.
const PATIENCE: Duration = Duration::from_secs(1);
