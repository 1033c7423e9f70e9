use super::{Each, Program, Stream, Variables};
use crate::event::Item;
use crate::feed::tests::batch;
use crate::relay::{self, Receiver};
use crate::sink::transport::{Attempt, BatchItem, Failure, FailureKind, Outcome, Transport};
use crate::worker::{EventBatch, Extraction};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// So many events, a notification each, from sequence 1 on.
fn delivery(count: u64) -> Arc<EventBatch> {
    let bodies = (1..=count).map(|number| format!("{{\"number\":{number}}}"));
    let bodies: Vec<String> = bodies.collect();
    Arc::new(Extraction::new().make(batch(1, &bodies)))
}

fn attempt(delivery: &Arc<EventBatch>, sequence: u64) -> Attempt {
    let item = Item {
        sequence,
        index: Some(0),
    };
    let batch = Arc::clone(delivery);
    Attempt {
        ticket: sequence,
        items: vec![BatchItem { batch, item }],
        number: 1,
        replay: None,
    }
}

/// A script, a directory for it, and what came of it.
struct Bench {
    dir: tempfile::TempDir,
    program: Program,
    give: relay::Sender<Outcome>,
    outcomes: Receiver<Outcome>,
}

impl Bench {
    /// The script finds the directory in `$1`.
    fn new(script: &str) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap().to_owned();
        let command = ["/bin/sh", "-c", script, "script", &path];
        let (give, outcomes) = relay::channel(4096);
        Bench {
            program: Program {
                sink: "crm".to_owned(),
                command: command.map(str::to_owned).to_vec(),
                variables: Variables::default(),
                timeout: Duration::from_secs(20),
                stop: Arc::new(AtomicBool::new(false)),
                drain: Duration::from_secs(1),
            },
            dir,
            give,
            outcomes,
        }
    }

    fn each(&self, concurrency: usize) -> Each {
        Each::new(self.program.clone(), concurrency, self.give.clone())
    }

    fn stream(&self) -> Stream {
        Stream::start(self.program.clone(), self.give.clone()).unwrap()
    }

    fn outcome(&self) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.outcomes.recv(Some(left)).unwrap() {
                Some(outcome) => return outcome,
                None => assert!(!left.is_zero(), "no outcome"),
            }
        }
    }

    fn failure(&self) -> Failure {
        let failure = self.outcome().result.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Retry { after: None });
        failure
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// Starts again what fails, as a dispatcher does, until all is done; says how often each has failed.
    fn until_done(&self, transport: &mut dyn Transport, count: u64) -> BTreeMap<u64, u32> {
        let delivery = delivery(count);
        let mut waiting: Vec<Attempt> =
            (1..=count).rev().map(|at| attempt(&delivery, at)).collect();
        let (mut under_way, mut failures) = (0, BTreeMap::new());
        while under_way > 0 || !waiting.is_empty() {
            if under_way < 16
                && let Some(next) = waiting.pop()
            {
                transport.start(next);
                under_way += 1;
                continue;
            }
            let Outcome { ticket, result } = self.outcome();
            under_way -= 1;
            if result.is_err() {
                let failed: &mut u32 = failures.entry(ticket).or_default();
                *failed += 1;
                let number = 1 + *failed;
                waiting.push(Attempt {
                    number,
                    ..attempt(&delivery, ticket)
                });
            }
        }
        failures
    }
}

/// Sequences in lines of JSON.
fn sequences(text: &str) -> Vec<u64> {
    let sequence = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let sequence = event["position"].as_str().unwrap().strip_suffix(".0");
        sequence.unwrap().parse().unwrap()
    };
    text.lines().map(sequence).collect()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// True while there is a process that is not a zombie.
fn runs(pid: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"));
    status.is_ok_and(|text| !text.contains(") Z "))
}

#[test]
fn each_event_is_read_by_a_program_of_its_own() {
    let bench = Bench::new("cat > $1/$$; env | sort > $1/env");
    let failures = bench.until_done(&mut bench.each(16), 40);
    assert!(failures.is_empty());
    let env = bench.text("env");
    fs::remove_file(bench.file("env")).unwrap();
    let mut read = Vec::new();
    for entry in fs::read_dir(bench.dir.path()).unwrap() {
        let read_by_one = sequences(&fs::read_to_string(entry.unwrap().path()).unwrap());
        assert_eq!(read_by_one.len(), 1);
        read.extend(read_by_one);
    }
    read.sort_unstable();
    assert_eq!(read, (1..=40).collect::<Vec<_>>());
    let ours: Vec<&str> = env.lines().filter(|it| it.starts_with("HOOK")).collect();
    let expected = [
        "HOOKLINE_ATTEMPT=1",
        "HOOKLINE_REPLAY=",
        "HOOKLINE_SINK=crm",
    ];
    assert_eq!(ours, expected);
    assert!(
        !env.contains("CARGO"),
        "what the server has is not passed on"
    );
}

/// It goes over what is inherited, in both modes, and no word of it stands in what is printed of the program.
#[test]
fn a_program_has_the_variables_of_its_sink() {
    let values = "printf '%s' \"$API_TOKEN\" > $1/token; printf '%s' \"$HOME\" > $1/home";
    let mut bench = Bench::new(&format!("{values}; cat > /dev/null"));
    let variables = [
        ("API_TOKEN", &b"hunter2 \xff\n"[..]),
        ("HOME", b"/elsewhere"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_vec()));
    bench.program.variables = Variables(variables.to_vec());
    let shown = format!("{:?}", bench.program);
    assert!(
        shown.contains("API_TOKEN") && !shown.contains("hunter2") && !shown.contains("104, 117"),
        "{shown}"
    );
    bench.each(1).start(attempt(&delivery(1), 1));
    bench.outcome().result.unwrap();
    let has_them = || {
        assert_eq!(fs::read(bench.file("token")).unwrap(), b"hunter2 \xff\n");
        assert_eq!(bench.text("home"), "/elsewhere");
        fs::remove_file(bench.file("token")).unwrap();
        fs::remove_file(bench.file("home")).unwrap();
    };
    has_them();
    let mut stream = bench.stream();
    stream.start(attempt(&delivery(1), 1));
    // It reads its input and says nothing.
    until("it runs", || bench.text("home") == "/elsewhere");
    drop(stream);
    has_them();
}

#[test]
fn a_replayed_event_says_so() {
    let bench = Bench::new("cat > $1/event; printenv HOOKLINE_REPLAY HOOKLINE_ATTEMPT > $1/env");
    let mut each = bench.each(1);
    each.start(Attempt {
        number: 3,
        replay: Some("20261123-014500-crm".into()),
        ..attempt(&delivery(1), 1)
    });
    bench.outcome().result.unwrap();
    assert_eq!(bench.text("env"), "20261123-014500-crm\n3\n");
    let event: serde_json::Value = serde_json::from_str(&bench.text("event")).unwrap();
    assert_eq!(event["replay"], "20261123-014500-crm");
    assert_eq!(event["position"], "1.0");
}

#[test]
fn a_program_that_fails_says_how() {
    let bench = Bench::new("echo for nothing; printf 'no\\033 database\\n' >&2; exit 3");
    bench.each(1).start(attempt(&delivery(1), 1));
    let failure = bench.failure();
    assert!(
        failure.reason.contains("exit status: 3"),
        "{}",
        failure.reason
    );
    let answer = failure.answer.unwrap();
    assert_eq!((answer.status, &*answer.excerpt), (3, "no  database"));

    let bench = Bench::new("yes error >&2 & kill -9 $$");
    bench.each(1).start(attempt(&delivery(1), 1));
    let answer = bench.failure().answer.unwrap();
    assert_eq!(answer.status, 128 + 9);
    assert!(answer.excerpt.len() <= 1024);

    let mut bench = Bench::new("");
    bench.program.command = vec!["/nonexistent/program".to_owned()];
    bench.each(1).start(attempt(&delivery(1), 1));
    let failure = bench.outcome().result.unwrap_err();
    assert!(failure.reason.contains("cannot run /nonexistent/program"));
    assert_eq!(
        (failure.kind, failure.answer),
        (FailureKind::Unreached, None)
    );
}

/// More than a pipe holds goes in and comes out at the same time; what is not read does no harm.
#[test]
fn pipes_that_are_full_hold_up_nothing() {
    let body = format!("{{\"text\":\"{}\"}}", "x".repeat(1_000_000));
    let delivery = Arc::new(Extraction::new().make(batch(1, &[body])));
    let bench = Bench::new("tee $1/event >&2");
    bench.each(1).start(attempt(&delivery, 1));
    bench.outcome().result.unwrap();
    assert_eq!(sequences(&bench.text("event")), [1]);
    let bench = Bench::new("exit 0");
    bench.each(1).start(attempt(&delivery, 1));
    bench.outcome().result.unwrap();
}

#[test]
fn a_program_that_takes_too_long_is_ended_with_all_that_it_started() {
    let script = "trap '' TERM; sh -c 'echo $$ > $1/pid; while :; do sleep 1; done' x $1";
    let mut bench = Bench::new(script);
    bench.program.timeout = Duration::from_millis(300);
    bench.each(1).start(attempt(&delivery(1), 1));
    let failure = bench.failure();
    assert!(
        failure.reason.contains("longer than 300ms"),
        "{}",
        failure.reason
    );
    let pid = bench.text("pid");
    until("its child is gone", || !runs(&pid));
}

/// A program that was ended by a stop after 5 s, whatever the configuration said, had failed.
#[test]
fn a_stop_is_no_attempt() {
    let hangs = "echo $$ > $1/pid; trap 'exit 0' TERM; cat > /dev/null & sleep 600 & wait";
    let bench = Bench::new(hangs);
    let mut each = bench.each(1);
    each.start(attempt(&delivery(1), 1));
    until("it runs", || !bench.text("pid").is_empty());
    bench.program.stop.store(true, Ordering::Release);
    let failure = bench.outcome().result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Untried, "{failure:?}");
    assert!(!runs(&bench.text("pid")));
    // There is no time for another one.
    fs::remove_file(bench.file("pid")).unwrap();
    each.start(attempt(&delivery(1), 1));
    let failure = bench.outcome().result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Untried, "{failure:?}");
    assert!(!bench.file("pid").exists());

    let bench = Bench::new(hangs);
    let mut stream = bench.stream();
    let delivery = delivery(3);
    (1..=3).for_each(|at| stream.start(attempt(&delivery, at)));
    until("it runs", || !bench.text("pid").is_empty());
    bench.program.stop.store(true, Ordering::Release);
    for _ in 0..3 {
        let failure = bench.outcome().result.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Untried, "{failure:?}");
    }
    assert!(!runs(&bench.text("pid")));
}

/// What stops the server may reach its programs too.
#[test]
fn a_signal_during_a_stop_is_no_failure() {
    let mut bench = Bench::new("echo $$ > $1/pid; cat > /dev/null; exec sleep 600");
    bench.program.drain = Duration::from_mins(5);
    let mut each = bench.each(1);
    each.start(attempt(&delivery(1), 1));
    until("it runs", || bench.text("pid").ends_with('\n'));
    bench.program.stop.store(true, Ordering::Release);
    let pid = bench.text("pid").trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let failure = bench.outcome().result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Untried, "{failure:?}");
}

/// A program has its time when the server stops: it ends by itself.
#[test]
fn a_program_under_way_is_waited_for_when_the_server_stops() {
    let script = "echo $$ > $1/pid; until [ -e $1/go ]; do sleep 0.05; done";
    let mut bench = Bench::new(script);
    bench.program.drain = Duration::from_mins(5);
    bench.program.timeout = Duration::from_mins(5);
    let mut each = bench.each(1);
    each.start(attempt(&delivery(1), 1));
    until("it runs", || !bench.text("pid").is_empty());
    bench.program.stop.store(true, Ordering::Release);
    // Longer than it had before.
    std::thread::sleep(Duration::from_secs(6));
    assert!(runs(&bench.text("pid")));
    fs::write(bench.file("go"), "").unwrap();
    bench.outcome().result.unwrap();
}

/// With a program that hangs there is no success yet; the others do not wait for that.
#[test]
fn one_slow_program_holds_up_no_other() {
    let script = "read -r line; case $line in *'\"position\":\"1.0\"'*) \
        until [ -e $1/go ]; do sleep 0.05; done;; esac";
    let bench = Bench::new(script);
    let (mut each, delivery) = (bench.each(4), delivery(4));
    (1..=4).for_each(|at| each.start(attempt(&delivery, at)));
    let first = [bench.outcome(), bench.outcome(), bench.outcome()];
    assert!(first.iter().all(|it| it.result.is_ok() && it.ticket != 1));
    fs::write(bench.file("go"), "").unwrap();
    assert_eq!(bench.outcome().ticket, 1);
}

/// Reads lines, gives the position of each in `$at`, and counts the programs.
const READS: &str = r#"echo $$ >> $1/pids
while read -r line; do at=${line#*\"position\":\"}; at=${at%%\"*}
"#;

fn reading(answers: &str) -> Bench {
    Bench::new(&format!("{READS}\n{answers}\ndone"))
}

#[test]
fn one_program_reads_a_stream_and_answers_for_each() {
    let bench = reading("echo \"$at\" >> $1/read; echo \"ok $at\"");
    let failures = bench.until_done(&mut bench.stream(), 500);
    assert!(failures.is_empty());
    let expected: Vec<String> = (1..=500).map(|at| format!("{at}.0")).collect();
    assert_eq!(bench.text("read").lines().collect::<Vec<_>>(), expected);
    let pids = bench.text("pids");
    assert_eq!(pids.lines().count(), 1);
    assert!(!runs(&pids), "it ended with the transport");
}

#[test]
fn what_a_program_wants_again_comes_again() {
    let answers = r#"case $at in 7.0) [ -e $1/seen ] || { echo "retry $at not yet"; : > $1/seen; continue; };; esac
echo hello; echo "ok 9999.0"; echo "ok $at""#;
    let bench = reading(answers);
    let failures = bench.until_done(&mut bench.stream(), 20);
    assert_eq!(failures, BTreeMap::from([(7, 1)]));
    assert_eq!(bench.text("pids").lines().count(), 1);
}

/// One event ends the program three times: it alone has failed, and all others are done without another attempt.
#[test]
fn an_event_that_ends_the_program_fails_alone() {
    let answers = r#"case $at in 50.0) echo x >> $1/crashes; [ $(wc -l < $1/crashes) -gt 3 ] || { echo oh >&2; exit 1; };; esac
echo "$at" >> $1/read; echo "ok $at""#;
    let bench = reading(answers);
    let failures = bench.until_done(&mut bench.stream(), 100);
    let innocent = failures.iter().filter(|(at, _)| **at != 50).count();
    let read = bench.text("read");
    assert_eq!(read.lines().count(), 100);
    assert_eq!(failures.get(&50), Some(&3), "{failures:?}");
    assert_eq!(bench.text("pids").lines().count(), 4);
    // When it comes first in a new program, nobody can tell whether that works at all.
    assert!(innocent <= 32, "{failures:?}");
}

#[test]
fn a_program_that_does_not_answer_is_ended() {
    let answers = r#"case $at in 5.0) [ -e $1/hung ] || { : > $1/hung; exec sleep 600; };; esac
echo "ok $at""#;
    let mut bench = reading(answers);
    bench.program.timeout = Duration::from_millis(500);
    let failures = bench.until_done(&mut bench.stream(), 20);
    assert_eq!(failures, BTreeMap::from([(5, 1)]));
    let pids = bench.text("pids");
    let pids: Vec<&str> = pids.lines().collect();
    assert_eq!(pids.len(), 2);
    assert!(!runs(pids[0]) && !runs(pids[1]));
}

/// It lives on, but reads no more.
#[test]
fn a_program_that_closes_its_input_is_ended() {
    let answers =
        r#"echo "ok $at"; [ -e $1/closed ] || { : > $1/closed; exec <&-; exec sleep 600; }"#;
    let mut bench = reading(answers);
    // More than a shell needs to start on a machine that is busy.
    bench.program.timeout = Duration::from_secs(2);
    bench.until_done(&mut bench.stream(), 100);
    let pids = bench.text("pids");
    let pids: Vec<&str> = pids.lines().collect();
    assert_eq!(pids.len(), 2);
    assert!(!runs(pids[0]));
}

#[test]
fn a_program_that_does_not_work_fails_everything() {
    let bench = Bench::new("echo no licence >&2; exit 4");
    let delivery = delivery(3);
    let mut stream = bench.stream();
    (1..=3).for_each(|at| stream.start(attempt(&delivery, at)));
    for _ in 0..3 {
        let failure = bench.failure();
        let answer = failure.answer.unwrap();
        assert_eq!((answer.status, &*answer.excerpt), (4, "no licence"));
    }
    let mut bench = Bench::new("");
    bench.program.command = vec!["/nonexistent/program".to_owned()];
    let mut stream = bench.stream();
    stream.start(attempt(&delivery, 1));
    let failure = bench.outcome().result.unwrap_err();
    assert!(failure.reason.contains("cannot run /nonexistent"));
    assert_eq!(failure.kind, FailureKind::Unreached);
}
