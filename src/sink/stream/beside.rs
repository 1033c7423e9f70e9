//! Several that deliver for one sink: each lane on a thread of its own.

use super::{Runner, Sink, SinkError};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

/// Runs them beside each other, each into a stream of its own. Where one ends for good, the others do where they stand.
pub fn run_beside(all: Vec<(Runner, Box<dyn Sink>)>) -> Result<(), SinkError> {
    thread::scope(|scope| {
        let mut running = Vec::new();
        for (runner, mut sink) in all {
            let (leave, stop) = (Arc::clone(&runner.leave), Arc::clone(&runner.stop));
            let lane = runner.cursor.lane().map_or("", |lane| lane.name());
            let name = format!("hl-sink-{}-{lane}", runner.cursor.sink());
            let run = move || {
                let ended = runner.run(&mut *sink);
                if ended.is_err() {
                    leave.ask();
                    stop.store(true, Ordering::Release);
                }
                ended
            };
            let started = thread::Builder::new().name(name).spawn_scoped(scope, run);
            running.push(started.map_err(|error| {
                SinkError::Broken(format!("a thread of the sink cannot be started: {error}"))
            })?);
        }
        let mut result = Ok(());
        for thread in running {
            let ended = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            let is_news =
                ended.is_err() && matches!(result, Ok(()) | Err(SinkError::Unfinished(_)));
            if is_news {
                result = ended;
            }
        }
        result
    })
}
