//! Lines of a file, and lines of the standard output.

use super::common::{Running, Site};
use super::process::Process;
use super::queue::{self, Queue};
use super::target::{Delivered, SINK, Target};
use rustix::process::Signal;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A file in a directory that may be away.
pub(crate) struct FileOfLines(Queue);

impl Target for FileOfLines {
    const EXACTLY_ONCE: bool = true;
    const COUNTS_KNOWN: bool = false;
    const NO_MEANING: &'static [(&'static str, &'static str)] = &[
        (
            "killed_under_load",
            "there is no process; a disk that fails is in tests/faults.rs and tests/full.rs",
        ),
        (
            "stopped_for_a_while",
            "there is no process; a disk that stalls is in tests/device",
        ),
        ("slow", "the same"),
        (
            "wrong_login_at_a_reconnect",
            "a file is opened once; one that may not be opened is in tests/directories.rs",
        ),
        (
            "restarted_with_another_state",
            "a file that somebody has changed is in tests/kill_file.rs",
        ),
        ("too_large_is_a_dead_letter", "a line has any length"),
    ];
    const SHOWS_FAILURES: bool = false;

    fn start() -> Option<FileOfLines> {
        Some(FileOfLines(Queue::new()))
    }

    fn sink(&self) -> String {
        let path = self.0.file("queue/taken");
        format!(
            "name = \"{SINK}\"\ntype = \"file\"\npath = \"{}\"",
            path.display()
        )
    }

    fn password(&self) -> (&'static str, &'static str) {
        ("UNUSED", "unused")
    }

    fn kill(&mut self) {
        unreachable!("it has no process");
    }

    fn start_again(&mut self) {
        unreachable!("it has no process");
    }

    fn stop(&mut self) {
        unreachable!("it has no process");
    }

    fn go_on(&mut self) {
        unreachable!("it has no process");
    }

    fn take_login(&mut self, _takes: bool) {
        unreachable!("it has no login");
    }

    fn remove(&mut self) {
        self.0.remove();
    }

    fn create(&mut self) {
        self.0.create();
    }

    fn limit(&mut self, _bytes: usize) -> bool {
        unreachable!("it has no limit");
    }

    fn delivered(&mut self) -> Vec<Delivered> {
        self.0.delivered()
    }
}

/// A pipe with a reader that keeps what it reads; one of each for each life of Hookline.
pub(crate) struct Pipe {
    directory: tempfile::TempDir,
    readers: Vec<Process>,
}

impl Pipe {
    fn kept(&self, life: usize) -> PathBuf {
        self.directory.path().join(format!("life-{life}"))
    }

    fn reader(&self) -> &Process {
        self.readers.last().expect("Hookline runs")
    }
}

impl Target for Pipe {
    const EXACTLY_ONCE: bool = false;
    const COUNTS_KNOWN: bool = false;
    const NO_MEANING: &'static [(&'static str, &'static str)] = &[
        (
            "killed_under_load",
            "what a reader has read and not kept is lost with it, and the pipe is broken until Hookline starts again",
        ),
        ("wrong_login_at_a_reconnect", "there is no login"),
        ("missing_and_made_later", "a process has its pipe or none"),
        ("restarted_with_another_state", "as for one that is killed"),
        ("too_large_is_a_dead_letter", "a line has any length"),
    ];

    fn start() -> Option<Pipe> {
        Some(Pipe {
            directory: tempfile::tempdir().expect("a directory"),
            readers: Vec::new(),
        })
    }

    fn sink(&self) -> String {
        format!("name = \"{SINK}\"\ntype = \"stdout\"")
    }

    fn password(&self) -> (&'static str, &'static str) {
        ("UNUSED", "unused")
    }

    fn serve(&mut self, site: &Site, _life: u32) -> Running {
        let (reader, writer) = io::pipe().expect("a pipe");
        let kept = File::create(self.kept(self.readers.len())).expect("a new file");
        let mut command = Command::new("cat");
        self.readers
            .push(Process::spawn(command.stdin(reader).stdout(kept)));
        Running::spawn_onto(site.command(), Stdio::from(writer))
    }

    fn settle(&mut self) {
        self.readers.iter_mut().for_each(Process::wait);
    }

    fn kill(&mut self) {
        unreachable!("its reader is not killed");
    }

    fn start_again(&mut self) {
        unreachable!("its reader is not killed");
    }

    fn stop(&mut self) {
        self.reader().signal(Signal::STOP);
    }

    fn go_on(&mut self) {
        self.reader().signal(Signal::CONT);
    }

    fn take_login(&mut self, _takes: bool) {
        unreachable!("it has no login");
    }

    fn remove(&mut self) {
        unreachable!("it is not away");
    }

    fn create(&mut self) {
        unreachable!("it is not away");
    }

    fn limit(&mut self, _bytes: usize) -> bool {
        unreachable!("it has no limit");
    }

    fn delivered(&mut self) -> Vec<Delivered> {
        let lives = 0..self.readers.len();
        lives
            .flat_map(|life| queue::delivered(&self.kept(life)))
            .collect()
    }
}
