//! `hookline torture` as its users meet it: a server that keeps the promise passes, and one that does not is found out.
//!
//! `HOOKLINE_TORTURE_ROUNDS=500 cargo test --release --test torture` makes the first test a long one.

mod common;

use common::verb::{interrupted, names, reported};
use common::{PROGRAM, eventually, number_from_env};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Kills after 0.9 to 1 s twice, then after less than 0.3 s, and none during the first three recoveries.
const SEED: &str = "1072";

fn torture(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["torture", "--output", "json", "--connections", "4"]);
    command.arg("--data-dir").arg(dir).args(arguments);
    // Would break the server, which must not see it.
    command.env("HOOKLINE__SERVER__LISTEN", "nowhere");
    command
}

#[test]
fn nothing_is_lost_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("mine"), "untouched").expect("written");
    let rounds = number_from_env("HOOKLINE_TORTURE_ROUNDS", 3).to_string();
    let output = torture(dir.path(), &["--rounds", &rounds, "--seed", SEED]).output();
    let (code, report) = reported(&output.expect("the program runs"));
    assert_eq!((code, &report["ok"]), (0, &Value::Bool(true)), "{report}");
    assert_eq!(report["rounds"].to_string(), rounds);
    for count in [
        "lost",
        "altered",
        "invented",
        "duplicated",
        "out_of_order",
        "moved",
    ] {
        assert_eq!(report[count], 0, "{report}");
    }
    let answered = report["answered"].as_u64().expect("a number");
    assert!(
        answered > 0 && report["compared"].as_u64() >= Some(answered),
        "{report}"
    );
    assert_eq!(report["kept"], Value::Null);
    assert_eq!(names(dir.path()), ["mine"]);
}

#[test]
fn an_interrupted_run_reports_what_it_has() {
    let dir = tempfile::tempdir().expect("a directory");
    let command = torture(dir.path(), &["--for", "1h", "--seed", SEED]);
    let output = interrupted(command, Signal::INT, |stderr| {
        let mut line = String::new();
        stderr.read_line(&mut line).expect("readable");
        assert!(line.contains(": 1 round, "), "{line}");
    });
    let (code, report) = reported(&output);
    assert_eq!((code, &report["ok"]), (0, &Value::Bool(true)), "{report}");
    assert_eq!(report["cut_short"], "by a signal");
    assert!(names(dir.path()).is_empty());
}

/// A run that ended before its first answer once said that nothing was lost, and exited with 0.
#[test]
fn a_run_that_tests_nothing_proves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    for (arguments, cut_short) in [
        (&["--for", "1ms"][..], Value::Null),
        (
            &["--for", "1ms", "--rounds", "2"],
            Value::from("by the time of --for, before all of --rounds"),
        ),
    ] {
        let output = torture(dir.path(), arguments).output();
        let (code, report) = reported(&output.expect("the program runs"));
        assert_eq!((code, &report["ok"]), (1, &Value::Bool(false)), "{report}");
        assert_eq!(report["decision"], "nothing tested");
        assert_eq!(
            (&report["answered"], &report["cut_short"]),
            (&Value::from(0), &cut_short)
        );
        assert!(names(dir.path()).is_empty(), "no evidence of anything");
    }
    for arguments in [["--for", "0s"], ["--rounds", "0"]] {
        let output = torture(dir.path(), &arguments)
            .output()
            .expect("the program runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

/// The servers that work in this directory.
fn servers(dir: &Path) -> usize {
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let dir = dir.to_str().expect("UTF-8");
    let is_server = |line: &Vec<u8>| {
        let mut words = line.split(|&byte| byte == 0);
        words.nth(1) == Some(b"serve") && String::from_utf8_lossy(line).contains(dir)
    };
    lines.filter(is_server).count()
}

/// The server of a run that was killed once ran for ever, and nobody learned of its directory.
#[test]
fn a_run_that_is_killed_takes_its_server_along() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = torture(dir.path(), &["--for", "1h", "--seed", SEED])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    eventually("a server runs", || servers(dir.path()) > 0);
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    eventually("no server runs", || servers(dir.path()) == 0);
    let left = names(dir.path());
    let output = torture(dir.path(), &["--for", "1ms"]).output();
    let text = String::from_utf8(output.expect("the program runs").stderr).expect("UTF-8");
    let named = format!("/{}\n", left[0]);
    assert!(
        text.starts_with("hookline: left behind by an earlier run, remove it: ")
            && text.contains(&named),
        "{text}"
    );
    assert_eq!(names(dir.path()), left, "named, and left alone");
}

#[test]
fn a_server_wants_its_own_parent() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(PROGRAM);
    command.args([
        "serve",
        "--with-parent",
        "1",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
    ]);
    let output = command.arg(dir.path()).output().expect("the program runs");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{text}");
    let said = common::last_words(&text);
    assert!(said.starts_with("process 1 is not the parent"), "{said}");
}

/// A stand-in for the server, that does something to the journal in `$dir` and then is the server.
fn stand_in(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("server");
    let text = format!("#!/bin/sh\nfor dir; do :; done\n{script}\nexec {PROGRAM} \"$@\"\n");
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    path
}

/// What torture says of this stand-in, and where it keeps the evidence.
fn found_out(script: &str) -> (Value, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let server = stand_in(dir.path(), script);
    // It ends at the first thing that it finds; on a busy machine that takes more rounds.
    let mut command = torture(dir.path(), &["--rounds", "1000", "--seed", SEED]);
    let output = command.arg("--server").arg(server).output();
    let (code, report) = reported(&output.expect("the program runs"));
    assert_eq!((code, &report["ok"]), (1, &Value::Bool(false)), "{report}");
    let kept = PathBuf::from(report["kept"].as_str().expect("evidence is kept"));
    let names = names(&kept);
    for name in ["journal", "server.log"] {
        assert!(names.iter().any(|kept| kept == name), "{names:?}");
    }
    (report, dir)
}

#[test]
fn a_disk_that_goes_back_to_an_older_state_is_found_out() {
    let (report, _dir) = found_out(
        "if [ -d \"$dir.old\" ]; then rm -r \"$dir\"; mv \"$dir.old\" \"$dir\"\n\
         elif [ -d \"$dir\" ]; then cp -r \"$dir\" \"$dir.old\"; fi",
    );
    assert_eq!(report["rounds"], 2, "found as soon as it can be");
    assert!(report["lost"].as_u64() > Some(0), "{report}");
    for count in ["altered", "invented", "duplicated"] {
        assert_eq!(report[count], 0, "{report}");
    }
    let example = report["found"][0].as_str().expect("an example");
    assert!(
        example.starts_with("lost: round 1, connection 0: "),
        "{example}"
    );
}

/// What was missing at the front of the journal once counted as retired, whenever it went.
#[test]
fn a_server_that_retires_too_early_is_found_out() {
    // The latest rounds stay, so that only the older ones are missing.
    let (report, _dir) = found_out(
        "export HOOKLINE__LIMITS__BODY=1MiB HOOKLINE__JOURNAL__SEGMENT_SIZE=4MiB HOOKLINE__JOURNAL__MAX_SIZE=48MiB",
    );
    assert!(report["lost"].as_u64() > Some(0), "{report}");
    for count in ["altered", "invented", "duplicated"] {
        assert_eq!(report[count], 0, "{report}");
    }
    let example = report["found"][0].as_str().expect("an example");
    assert!(example.starts_with("lost: round 0, "), "{example}");
}

#[test]
fn a_server_that_does_not_come_back_is_found_out() {
    let (report, _dir) = found_out("rm -f \"$dir/manifest\"");
    let failure = report["found"][0].as_str().expect("a failure");
    assert!(
        failure.starts_with("the server does not start: exit status: 1; it said: hookline: ")
            && failure.contains("manifest is missing"),
        "{failure}"
    );
}

#[test]
fn a_server_that_ends_by_itself_is_found_out() {
    let (report, _dir) = found_out(
        "(until [ -e \"$dir/manifest\" ]; do sleep 0.05; done; sleep 0.2; kill -TERM $$) &",
    );
    let failure = report["found"][0].as_str().expect("a failure");
    // It drains, unless it is asked to end before it listens to signals.
    let ended = ["exit status: 0", "signal: 15"];
    assert!(
        ended.iter().any(|status| failure.contains(status)),
        "{failure}"
    );
}

#[test]
fn there_has_to_be_a_directory_and_a_server() {
    let nowhere = Path::new("/nonexistent");
    let dir = tempfile::tempdir().expect("a directory");
    for (mut command, part) in [
        (
            torture(nowhere, &[]),
            "cannot use /nonexistent; see --data-dir",
        ),
        (
            torture(dir.path(), &["--server", "/nonexistent/hookline"]),
            "cannot find the server to test",
        ),
    ] {
        let output = command.output().expect("the program runs");
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(
            text.starts_with("hookline: ") && text.contains(part),
            "{text}"
        );
    }
    assert!(names(dir.path()).is_empty());
}
