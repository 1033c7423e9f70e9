//! Verbs that run for a while, report, and leave nothing behind.

use super::Guarded;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Exit code and report.
pub(crate) fn reported(output: &Output) -> (i32, Value) {
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("a report: {output:?}"));
    (output.status.code().expect("was not killed"), report)
}

/// Runs a command until `ready`, which may read its stderr, returns; then it gets this signal, and has to end.
pub(crate) fn interrupted(
    mut command: Command,
    signal: Signal,
    ready: impl FnOnce(&mut dyn BufRead),
) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Guarded(Some(command.spawn().expect("the program runs")));
    let running = child.0.as_mut().expect("not taken yet");
    let pid = Pid::from_child(running);
    let mut stderr = BufReader::new(running.stderr.take().expect("piped"));
    ready(&mut stderr);
    kill_process(pid, signal).expect("it runs");
    let child = child.0.take().expect("not taken yet");
    let mut output = child.wait_with_output().expect("it ends");
    let rest = stderr.read_to_end(&mut output.stderr);
    rest.expect("readable");
    output
}

/// What is in a directory.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("readable");
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("UTF-8");
    entries
        .map(|entry| name(entry.expect("readable")))
        .collect()
}
