//! A server that is started again and again, and what has to hold of it.

use super::common::{PATIENCE, PROGRAM, Running, Site};
use super::receiver::Receiver;
use serde_json::Value;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

/// One endpoint, `/webhook`, and a journal that does not end soon. A sink may name the life of the server in a header.
pub(crate) fn site() -> Site {
    Site::unsigned()
        .limits("body = \"1MiB\"")
        .limits("unacknowledged = \"1MiB\"")
        .journal("max_size = \"64GiB\"")
}

/// Starts the server for its `life`.
pub(crate) fn start(site: &Site, life: u32) -> Running {
    let mut command = site.command();
    command.env("LIFE", life.to_string());
    Running::spawn(command)
}

/// Runs a verb on the journal of the site.
pub(crate) fn verb(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .arg("--data-dir")
        .arg(site.journal_dir());
    command.output().expect("it runs")
}

/// The lines of JSON that a verb prints.
pub(crate) fn lines(site: &Site, arguments: &[&str]) -> Vec<Value> {
    let output = verb(site, arguments);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// The dead letters of all sinks.
pub(crate) fn dead_letters(site: &Site) -> Vec<Value> {
    lines(site, &["dead-letters", "list", "--output", "json"])
}

/// `hookline audit`, which must find that the books balance.
pub(crate) fn audit(site: &Site) -> Value {
    let output = verb(site, &["audit", "--output", "json"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// A metric of a sink.
pub(crate) fn metric(server: &Running, name: &str, sink: &str) -> u64 {
    server.metric(&format!("{name}{{sink=\"{sink}\"}}"))
}

/// No sink has lost sight of an event, and none has stopped.
pub(crate) fn assert_nothing_is_unaccounted(server: &Running) {
    let page = server.metrics();
    for line in page.lines() {
        if line.starts_with("hookline_unaccounted_events{")
            || line.starts_with("hookline_sink_stopped{")
        {
            assert!(line.ends_with(" 0"), "{line}\n{}", server.stderr());
        }
    }
}

/// Everything that is durable was delivered to the sink, and nothing is open.
pub(crate) fn is_delivered(server: &Running, sink: &str) -> bool {
    let durable = server.metric("hookline_journal_durable_sequence");
    metric(server, "hookline_sink_cursor", sink) >= durable
}

/// Waits until `goal` is reached, for as long as `progress` grows; looks at the books meanwhile.
pub(crate) fn follow(
    server: &Running,
    what: &str,
    progress: impl Fn() -> u64,
    goal: impl Fn() -> bool,
) {
    let (mut last, mut since) = (progress(), Instant::now());
    while !goal() {
        assert_nothing_is_unaccounted(server);
        thread::sleep(LOOK);
        let now = progress();
        if now > last {
            (last, since) = (now, Instant::now());
        }
        assert!(
            since.elapsed() < PATIENCE,
            "waited in vain until {what}, at {now}:\n{}\n{}",
            server
                .metrics()
                .lines()
                .filter(|line| line.starts_with("hookline_sink"))
                .collect::<Vec<_>>()
                .join("\n"),
            server.stderr()
        );
    }
}

/// Waits until the receiver has taken so many updates.
pub(crate) fn follow_to(server: &Running, receiver: &Receiver, updates: u64) {
    let taken = || receiver.taken();
    follow(server, "all is delivered", taken, || taken() == updates);
}

/// SIGTERM; everything went well.
pub(crate) fn terminate(server: Running) {
    let (status, stderr) = server.terminate();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

const LOOK: Duration = Duration::from_millis(20);
