//! The consumers of the manual, as they stand there: killed with SIGKILL over and over, as the server is once, each
//! handles every event at least once and in order.
//!
//! `HOOKLINE_CONSUMER_KILLS` says how often each is killed (4). One whose interpreter is missing is skipped with a line
//! that says so.

#![expect(
    clippy::print_stderr,
    reason = "it says what was done, and what was left out"
)]

mod common;

use common::client::post;
use common::{Running, Site, eventually, number_from_env};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

#[test]
fn the_consumer_in_python_skips_nothing() {
    check("python3", "python", "consumer.py");
}

#[test]
fn the_consumer_in_node_skips_nothing() {
    check("node", "js", "consumer.mjs");
}

fn check(program: &str, language: &str, file: &str) {
    let version = Command::new(program).arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {program} is not installed");
        return;
    }
    let site = Site::unsigned()
        .variable("CRM_TOKEN", "secret")
        .sink("name = \"crm\"\ntype = \"pull\"\ntoken = { env = \"CRM_TOKEN\" }\n[pull]\nlisten = \"127.0.0.1:0\"\n");
    fs::write(site.path().join(file), block(language)).expect("written");
    let mut consumer = Consumer {
        command: (program.to_owned(), file.to_owned()),
        directory: site.path().to_owned(),
        runs: 0,
        child: None,
    };

    let mut server = site.start();
    let kills = number_from_env("HOOKLINE_CONSUMER_KILLS", 4);
    for kill in 0..kills {
        store(&server, kill, EVENTS);
        let handled = consumer.handled().len();
        consumer.start(&server);
        // At some place within a page, or between a page and its commit.
        eventually("some events are handled", || {
            consumer.handled().len() > handled + 37 * (kill + 1) % EVENTS
        });
        consumer.kill();
        if kill == kills / 2 {
            consumer.start(&server);
            server.kill();
            server = site.start();
            consumer.kill();
        }
    }
    store(&server, kills, EVENTS);
    let stored = site.events();
    let stored: Vec<&str> = stored
        .iter()
        .map(|event| event["position"].as_str().expect("a string"))
        .collect();
    consumer.start(&server);
    let last = stored.last().expect("there are some");
    eventually("the last event is handled", || {
        consumer.handled().last().is_some_and(|it| it == last)
    });
    let end = (stored.len()).to_string();
    let cursor = site.journal_dir().join("cursors/crm.cursor");
    let committed = format!("messages {end} {end}\n");
    eventually("it is committed", || {
        fs::read_to_string(&cursor).is_ok_and(|text| text.contains(&committed))
    });
    consumer.kill();

    let handled = consumer.handled();
    let mut seen = BTreeSet::new();
    for sequence in &handled {
        let place = stored.iter().position(|it| it == sequence);
        let place = place.expect("it is in the journal");
        assert!(
            place <= seen.len(),
            "{sequence} was handled before one that precedes it"
        );
        seen.insert(place);
    }
    assert_eq!(seen.len(), stored.len(), "every event was handled");
    assert_eq!(
        server.metric("hookline_unaccounted_events{sink=\"crm\"}"),
        0
    );
    eprintln!(
        "{program}: {} events, {} handled, killed {kills} times",
        stored.len(),
        handled.len()
    );
}

/// The first block in this language of the chapter.
fn block(language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual/pull.md");
    let chapter = fs::read_to_string(path).expect("there is one");
    let fence = format!("\n```{language}\n");
    let (_, block) = chapter.split_once(&fence).expect("there is a consumer");
    let (block, _) = block.split_once("\n```\n").expect("it ends");
    block.to_owned()
}

/// Stores so many notifications of one event each, none of which says what another one does.
fn store(server: &Running, round: usize, count: usize) {
    let mut client = server.connect();
    for at in 0..count {
        client.send(&post(
            "/webhook",
            "",
            format!("{{\"round\":{round},\"at\":{at}}}").as_bytes(),
        ));
    }
    assert!(client.codes(count).iter().all(|code| *code == 200));
}

/// A consumer, whose every run prints what it handles to a file of its own.
struct Consumer {
    command: (String, String),
    directory: PathBuf,
    runs: usize,
    child: Option<Child>,
}

impl Consumer {
    fn start(&mut self, server: &Running) {
        let (program, file) = &self.command;
        let output = File::create(self.output(self.runs)).expect("writable");
        let child = Command::new(program)
            .arg(file)
            .current_dir(&self.directory)
            .env("HOOKLINE", format!("http://{}", server.pull()))
            .env("CRM_TOKEN", "secret")
            .stdin(Stdio::null())
            .stdout(output)
            // It says that the server has gone, when that is killed.
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("it runs"));
        self.runs += 1;
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, because the server was gone.
            let _ = child.kill();
            child.wait().expect("it ends");
        }
    }

    fn output(&self, run: usize) -> PathBuf {
        self.directory.join(format!("run-{run}"))
    }

    /// The sequences of everything that was handled, in that order; a line that a kill has cut does not count.
    fn handled(&self) -> Vec<String> {
        let mut handled = Vec::new();
        for run in 0..self.runs {
            let text = fs::read_to_string(self.output(run)).expect("readable");
            let lines = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            let sequences = lines.map(|line| line.split(' ').next().expect("a field").to_owned());
            handled.extend(sequences);
        }
        handled
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Stored each time that one is started.
const EVENTS: usize = 500;
