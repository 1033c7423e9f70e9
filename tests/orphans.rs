//! What programs of an `exec` sink leave behind does not stay as zombies where Hookline inherits it: as process 1 of a
//! container, or as a subreaper, which is what it is here. And no status of a program is lost by that.

#![expect(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use common::client::post;
use common::{PROGRAM, Running, Site, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::Command;

/// `prctl(PR_SET_CHILD_SUBREAPER)` outlives `execve`.
const AS_SUBREAPER: &str = "import ctypes, os, sys
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])";

/// Leaves a process behind that ends a little later, and takes every third event only at the second attempt.
const SCRIPT: &str = r#"read -r line
sleep 0.3 & echo $! >> "$1/left"
case $line in *[369]".0\""*) [ "$HOOKLINE_ATTEMPT" -gt 1 ] || exit 3;; esac
echo x >> "$1/done""#;

#[test]
fn what_programs_leave_behind_does_not_stay() {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: python3 is not installed");
        return;
    }
    let site = Site::unsigned();
    let dir = site.path().to_str().expect("UTF-8").to_owned();
    fs::write(site.path().join("script"), SCRIPT).expect("written");
    let site = site.sink(&format!(
        "name = \"run\"\ntype = \"exec\"\nmode = \"each\"\nretry_min = \"10ms\"\nmax_attempts = 5\n\
         command = [\"/bin/sh\", \"{dir}/script\", \"{dir}\"]"
    ));
    let mut command = Command::new("python3");
    command
        .args(["-c", AS_SUBREAPER, PROGRAM, "serve", "--config"])
        .arg(site.write_config())
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("TOKEN", "token")])
        .current_dir(site.path());
    let server = Running::spawn(command);
    let mut client = server.connect();
    for number in 0..30 {
        client.send(&post("/webhook", "", number.to_string().as_bytes()));
        assert_eq!(client.answer().code, 200);
    }
    let lines = |name: &str| {
        let text = fs::read_to_string(site.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    eventually("everything is delivered", || server.is_delivered("run"));
    assert_eq!(lines("done").len(), 30, "each was taken once");
    let label = "{sink=\"run\"}";
    let retries = server.metric(&format!("hookline_sink_retries_total{label}"));
    assert!(
        retries >= 9,
        "statuses of failed programs arrive: {retries}"
    );
    assert_eq!(
        server.metric(&format!("hookline_sink_dead_total{label}")),
        0
    );
    let left = lines("left");
    assert!(left.len() > 30);
    eventually("nothing is left of what they have started", || {
        let stat = |pid: &String| fs::read_to_string(format!("/proc/{pid}/stat"));
        left.iter().all(|pid| stat(pid).is_err())
    });
    let (status, stderr) = server.terminate();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(
        !stderr.contains("cannot run"),
        "no status was taken: {stderr}"
    );
}

/// As process 1 of a namespace in which `/proc` is still that of the one above, with other numbers.
#[test]
fn nor_where_proc_shows_other_numbers() {
    let alone = Command::new("unshare").args(["-pf", "true"]).output();
    if !alone.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no namespace of processes can be made");
        return;
    }
    let site = Site::unsigned().sink(
        "name = \"run\"\ntype = \"exec\"\nmode = \"each\"\n\
         command = [\"/bin/sh\", \"-c\", \"read -r line; sleep 0.3 &\"]",
    );
    let mut command = Command::new("unshare");
    command
        .args(["-pf", PROGRAM, "serve", "--config"])
        .arg(site.write_config())
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("TOKEN", "token")])
        .current_dir(site.path());
    let mut server = Running::spawn(command);
    let inner = children(server.pid(), "S");
    let [inner] = inner.as_slice() else {
        panic!("one process: {inner:?}")
    };
    let mut client = server.connect();
    for number in 0..10 {
        client.send(&post("/webhook", "", number.to_string().as_bytes()));
        assert_eq!(client.answer().code, 200);
    }
    eventually("something is left", || !children(*inner, "Z").is_empty());
    eventually("everything is delivered", || server.is_delivered("run"));
    eventually("nothing stays", || children(*inner, "").is_empty());
    let pid = Pid::from_raw(i32::try_from(*inner).expect("a number")).expect("not 0");
    kill_process(pid, Signal::TERM).expect("it runs");
    let (status, stderr) = server.wait();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

/// The children of a process whose state begins so.
fn children(of: u32, state: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("mounted").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest);
        rest.is_some_and(|rest| {
            rest.starts_with(state) && rest.split(' ').nth(1) == Some(&of.to_string())
        })
    };
    numbers.filter(is_child).collect()
}
