//! `hookline size` as its users meet it: it measures, says what it found, and leaves nothing behind.
//!
//! What it finds depends on the machine, so nothing is asserted of it but where the question leaves one answer.

mod common;

use common::verb::{interrupted, names, reported};
use common::{PROGRAM, eventually};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

fn size(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("size").args(arguments);
    command.arg("--data-dir").arg(dir);
    command
}

#[test]
fn it_measures_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("hookline.toml");
    let text = "[server]\nloops = 2\nworkers = 2\n[journal]\nretention = \"1d\"\nmax_size = \"2GiB\"\n[[endpoint]]\npath = \"/in\"\nprovider = \"meta\"\n\
                app_secret = { env = \"NOT_NEEDED\" }\nverify_token = { env = \"NOT_NEEDED\" }\n";
    fs::write(&config, text).expect("written");
    let config = config.to_str().expect("UTF-8");
    // Nothing is too weak for this.
    let arguments = [
        "--messages-per-second",
        "1",
        "--for",
        "2s",
        "--output",
        "json",
    ];
    let mut answer = Value::Null;
    let measures_all = (0..10).any(|_| {
        let output = size(dir.path(), &arguments)
            .args(["--reply-ratio", "0.5", "--config", config])
            .output()
            .expect("the program runs");
        let code;
        (code, answer) = reported(&output);
        assert_eq!(code, 0, "{answer}");
        let parts = ["loops", "commit", "workers", "dedupe", "sink", "cores"];
        // The system counts a thread's time in ticks: where others have the cores, one may have had none in 2 s.
        parts.iter().all(|part| {
            let cost = &answer["shares"][part]["microseconds"];
            cost.as_f64() > Some(0.0)
        })
    });
    assert!(measures_all, "{answer}");
    assert_eq!(answer["carries"], true);
    assert_eq!(answer["webhooks_per_second"], 4);
    let bytes = answer["shares"]["disk"]["bytes"].as_f64();
    assert!(bytes > Some(400.0) && bytes < Some(2000.0), "{answer}");
    for count in [
        &answer["measured"]["notifications"],
        &answer["measured"]["written_bytes"],
        &answer["fdatasync_milliseconds"]["count"],
        &answer["bandwidth_bytes_per_second"],
    ] {
        assert!(count.as_u64() > Some(0), "{answer}");
    }
    for (takes, configured) in [("loops", 2), ("workers", 1)] {
        assert_eq!(answer["takes"][takes], 1, "{answer}");
        assert!(answer["configured"][takes].as_u64() >= Some(configured));
    }
    assert_eq!(answer["configured"]["loops"], 2);
    assert_eq!(answer["journal"]["retention_seconds"], 86_400);
    assert_eq!(answer["journal"]["max_size"], 2u64 << 30);
    assert_eq!(answer["dedupe"]["window_keys"], 4 * 8 * 86_400);
    assert_eq!(names(dir.path()), ["hookline.toml"]);
}

#[test]
fn what_is_too_much_is_said_on_one_screen() {
    let dir = tempfile::tempdir().expect("a directory");
    let arguments = ["--messages-per-second", "100000000", "--for", "1s"];
    let output = size(dir.path(), &arguments).output();
    let output = output.expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1), "{text}");
    let asked =
        "asked         100,000,000 messages/s and 0.3 replies to each: 330,000,000 webhooks/s\n";
    assert!(text.starts_with(asked), "{text}");
    for start in [
        "measured ",
        "file system ",
        "fdatasync ",
        "bandwidth ",
        "commit ",
        "dedupe ",
        "each sink ",
        "the disk ",
        "takes         server.loops = ",
        "journal ",
        "retention     7d ",
        "It does not carry 100,000,000 messages/s",
    ] {
        let has = text.lines().any(|line| line.starts_with(start));
        assert!(has, "{start}: {text}");
    }
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_signal_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let command = size(dir.path(), &["--messages-per-second", "1", "--for", "1h"]);
    let output = interrupted(command, Signal::INT, |_| {
        eventually("a server is at work", || {
            let made = names(dir.path());
            let journal = made
                .first()
                .map(|name| dir.path().join(name).join("journal"));
            journal.is_some_and(|journal| journal.join("LOCK").exists())
        });
    });
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ended by a signal"), "{said}");
    assert!(output.stdout.is_empty());
    assert!(names(dir.path()).is_empty());
}

#[test]
fn nonsense_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    for arguments in [
        &["--messages-per-second", "0"][..],
        &["--messages-per-second", "1", "--reply-ratio", "-1"],
        &["--messages-per-second", "1", "--reply-ratio", "NaN"],
        &["--messages-per-second", "1", "--for", "0s"],
        &[],
    ] {
        let output = size(dir.path(), arguments).output();
        let status = output.expect("the program runs").status;
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
    let output = size(&dir.path().join("none"), &["--messages-per-second", "1"]).output();
    let output = output.expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--data-dir"));
}
