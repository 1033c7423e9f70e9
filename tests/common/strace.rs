//! strace on one thread of a server or on all of them, to watch system calls or to make them fail.

#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use super::{Running, Site, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// strace at work; it detaches when this is dropped.
pub(crate) struct Strace {
    child: Child,
    output: PathBuf,
}

impl Strace {
    /// Attaches to every thread there is.
    pub(crate) fn attach(server: &Running, site: &Site, arguments: &[&str]) -> Option<Strace> {
        let arguments = [&["-f"], arguments].concat();
        Strace::attach_to(server.pid(), site, &arguments)
    }

    /// Attaches to the thread of this name alone: its calls are counted from here on, and no other pays.
    pub(crate) fn attach_thread(
        server: &Running,
        name: &str,
        site: &Site,
        arguments: &[&str],
    ) -> Option<Strace> {
        let mut thread = None;
        eventually("the thread runs", || {
            thread = server.thread(name);
            thread.is_some()
        });
        Strace::attach_to(thread.expect("found"), site, arguments)
    }

    /// `None`, and a line that says why, where it cannot be.
    fn attach_to(pid: u32, site: &Site, arguments: &[&str]) -> Option<Strace> {
        let said = site.path().join("strace.stderr");
        let output = site.path().join("strace.output");
        let child = Command::new("strace")
            .args(arguments)
            .arg("-o")
            .arg(&output)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stderr(fs::File::create(&said).expect("created"))
            .spawn();
        let mut strace = match child {
            Ok(child) => Strace { child, output },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("skipped: strace is not installed");
                return None;
            }
            Err(error) => panic!("strace cannot be run: {error}"),
        };
        let mut refused = false;
        eventually("strace is attached", || {
            let ended = strace.child.try_wait().expect("can be asked").is_some();
            let text = fs::read_to_string(&said).expect("readable");
            // What it injects may have ended the server, and with it strace, already.
            let attached = text.contains("attached");
            refused = ended && !attached;
            refused || attached
        });
        if refused {
            let text = fs::read_to_string(&said).expect("readable");
            eprintln!("skipped: strace may not trace here: {}", text.trim());
            return None;
        }
        Some(strace)
    }

    /// What it has written so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Lets the server go and gives what it has written.
    pub(crate) fn detach(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        let child = &mut self.child;
        eventually("strace has detached", || {
            child.try_wait().expect("can be asked").is_some()
        });
        self.output()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
