//! Signals in the first moments of a server. Each is obeyed at once, or remembered; none waits for something else to
//! end, and none ends the process where it stands.

mod common;

use common::client::post;
use common::{PROGRAM, Running, Site, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A server of which nothing is read: it is killed if the test fails.
struct Started(Child);

impl Started {
    fn new(mut command: Command) -> Started {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Started(command.stderr(Stdio::null()).spawn().expect("it runs"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    /// Waits until the process has taken this signal over.
    fn has_taken_over(&self, signal: Signal) {
        let path = format!("/proc/{}/status", self.0.id());
        eventually("the signal is taken over", || {
            let status = fs::read_to_string(&path).expect("it runs");
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = u64::from_str_radix(caught.expect("stands there").trim(), 16);
            caught.expect("a mask") >> (signal.as_raw() - 1) & 1 == 1
        });
    }

    fn ends(mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", || {
            status = self.0.try_wait().expect("can be asked");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// SIGHUP ended the process until the configuration was read, and then SIGTERM waited until it was.
#[test]
fn signals_are_obeyed_while_the_configuration_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("pipe");
    let made = Command::new("mkfifo").arg(&config).status();
    assert!(made.expect("it runs").success());
    let mut command = Command::new(PROGRAM);
    command.arg("serve").arg("--config").arg(&config);
    let server = Started::new(command);
    server.has_taken_over(Signal::HUP);
    server.signal(Signal::HUP);
    server.signal(Signal::HUP);
    server.signal(Signal::USR1);
    server.signal(Signal::TERM);
    let status = server.ends();
    assert_eq!(status.code(), Some(0), "{:?}", status.signal());
}

/// With a pipe in the place of the configuration, nothing is read until somebody writes. The server goes on meanwhile.
#[test]
fn a_reload_that_stalls_holds_up_nothing() {
    let site = Site::unsigned();
    let server = site.start();
    let config = site.write_config();
    let text = fs::read_to_string(&config).expect("there");
    fs::remove_file(&config).expect("ours");
    let made = Command::new("mkfifo").arg(&config).status();
    assert!(made.expect("it runs").success());
    stalls(&server);
    assert_eq!(answer(&server, "/webhook"), 200);
    server.signal(Signal::HUP);
    let again = "another SIGHUP while the configuration is still being read";
    eventually("that is logged", || server.stderr().contains(again));
    assert_eq!(answer(&server, "/new"), 404);

    // It is read once, and once more for the second signal.
    let new = common::UNSIGNED.replace("/webhook", "/new");
    let text = format!("{text}[[endpoint]]\n{new}");
    for times in 1..=2 {
        fs::write(&config, &text).expect("somebody reads");
        eventually("it is reloaded", || {
            server.stderr().matches("endpoints are reloaded").count() == times
        });
    }
    assert_eq!(answer(&server, "/new"), 200);

    // And a stop does not wait for it.
    stalls(&server);
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
    assert_eq!(site.bodies().len(), 2);
}

/// The reload has begun, and waits for what it reads.
fn stalls(server: &Running) {
    server.signal(Signal::HUP);
    eventually("it is read", || server.thread("hl-reload").is_some());
}

fn answer(server: &Running, path: &str) -> u16 {
    let mut client = server.connect();
    client.send(&post(path, "", b"a body"));
    client.answer().code
}
