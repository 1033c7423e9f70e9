//! A server as a process of the test.

use super::common::{Guarded, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// A process that does not outlive the test.
pub(crate) struct Process(Guarded);

impl Process {
    /// Starts it, and waits until somebody listens at `address`.
    pub(crate) fn start(command: &mut Command, address: SocketAddr) -> Process {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = Process::spawn(quiet.stderr(Stdio::null()));
        eventually("the target listens", || TcpStream::connect(address).is_ok());
        process
    }

    /// One that nobody connects to.
    pub(crate) fn spawn(command: &mut Command) -> Process {
        Process(Guarded(Some(command.spawn().expect("it runs"))))
    }

    /// None yet.
    pub(crate) fn none() -> Process {
        Process(Guarded(None))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.0.0.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("it runs");
    }

    /// Waits for its end, which comes by itself.
    pub(crate) fn wait(&mut self) {
        let Some(child) = &mut self.0.0 else {
            return;
        };
        eventually("the process ends", || {
            child.try_wait().expect("can be asked").is_some()
        });
    }

    /// `kill -9`, and waits for its end.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.0.0.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
        }
    }
}

/// This program as the process that one of its ignored tests is.
pub(crate) fn role(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("it runs"));
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command
}

/// An address that nobody listens at.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it has one")
}

/// The program of this name, from the variable or the path; none is a line that names it.
pub(crate) fn program(variable: &str, names: &[&str]) -> Option<String> {
    if let Ok(path) = std::env::var(variable) {
        return Some(path);
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let dirs = path.split(':').chain(["/usr/sbin", "/usr/local/bin"]);
    let mut paths = dirs.flat_map(|dir| names.iter().map(move |name| format!("{dir}/{name}")));
    let found = paths.find(|path| Path::new(path).is_file());
    if found.is_none() {
        let names = names.join(" or ");
        let required = std::env::var_os("HOOKLINE_TARGETS_REQUIRED").is_some();
        assert!(!required, "there is no {names}, which tests/run installs");
        eprintln!("skipped: there is no {names}; install it, or name it by {variable}");
    }
    found
}
