//! What a 200 means when calls to the operating system fail, hang, or are the last thing that the process does.
//!
//! strace makes the n-th call of one thread of a server under load fail (`inject=fdatasync:error=EIO:when=N`), wait, or
//! end in SIGKILL. Whatever is injected: what was answered with 200 is in the journal after a restart, byte for byte,
//! in order, once; nothing is there that was not sent; and no sink has delivered what was not durable. After a failure
//! there is one line about it, `/readyz` says 503, whoever waits for an answer gets 503, and the process exits with 1
//! within a bounded time, however long its drain may take otherwise.
//!
//! strace can also pretend that a write was short without writing anything. No program can tell that from the truth,
//! so a short write is made by a real limit, in `tests/full.rs`.
//!
//! `HOOKLINE_FAULT_ROUNDS` says how many n there are for each fault: 1, 2, 3 and so on; by default a few. Where strace
//! is missing or may not trace, a line says so and nothing is checked.

#![expect(clippy::print_stderr, reason = "figures are worth a line")]

mod common;

use common::client::post;
use common::delivered::FileSink;
use common::load::{self, Load, Tally, Trace, author, body, check, signed, stored};
use common::strace::Strace;
use common::{Running, Site, eventually, last_words, number_from_env};
use std::collections::HashMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// Which calls are hit: a few, or all up to the number in the environment.
fn rounds(few: &[usize]) -> Vec<usize> {
    match number_from_env("HOOKLINE_FAULT_ROUNDS", 0) {
        0 => few.to_vec(),
        all => (1..=all).collect(),
    }
}

/// The first few of these calls, or all of them.
fn some<'a>(calls: &'a [&'a str], few: usize) -> impl Iterator<Item = &'a str> {
    let all = number_from_env("HOOKLINE_FAULT_ROUNDS", 0) > 0;
    calls
        .iter()
        .copied()
        .take(if all { calls.len() } else { few })
}

/// With a file sink.
fn site() -> (Site, FileSink) {
    let site = load::site("stored");
    let directory = site.path().to_owned();
    FileSink::add_to(site, &directory)
}

/// How the process is expected to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By itself, with exit code 1, after one line that says this.
    Says(&'static str),
    /// Killed.
    Killed,
}

/// Injects one fault into one thread of a server under load, which ends of it, and checks everything that has to hold.
/// `None` where strace cannot be used.
fn ends_of(thread: &str, inject: &str, end: End) -> Option<Tally> {
    let (site, sink) = site();
    let mut server = site.start();
    let load = Load::start(&server, "/in", 0);
    load.reach_accepted(100);
    let option = format!("inject={inject}");
    let strace = Strace::attach_thread(&server, thread, &site, &["-e", &option])?;
    // Late calls take their time: it is enough that the clients get on.
    let is_met = || {
        ["INJECTED", "+++"]
            .iter()
            .any(|word| strace.output().contains(word))
    };
    while !is_met() {
        let before = load.accepted();
        eventually("the fault is met", || {
            is_met() || load.accepted() > before + 100
        });
    }
    let (status, stderr) = server.wait();
    let calls = strace.output();
    drop(strace);
    assert!(calls.contains("INJECTED") || end == End::Killed, "{inject}");
    let traces: HashMap<_, _> = load.end().into_iter().collect();
    if let End::Says(what) = end {
        assert_eq!(status.code(), Some(1), "{inject}: {stderr}");
        assert_one_line(&stderr, what);
        for trace in traces.values() {
            assert!(trace.faults.is_empty(), "{inject}: {:#?}", trace.faults);
        }
    } else {
        assert_eq!(status.code(), None, "{inject}: {stderr}");
    }

    // Nothing of a commit that failed was reported. The kernel still has it, so nobody would miss it later.
    let durable = site.durable_before_the_last_commit();
    let mut synced = calls.lines().filter(|line| line.contains("fdatasync("));
    if synced
        .next_back()
        .is_some_and(|line| line.contains("INJECTED"))
    {
        let unsynced = site.records().into_iter().filter(|(at, _)| *at > durable);
        for (sequence, body) in unsynced {
            let (name, number) = author(&body);
            let answered = traces[&name].acknowledged.binary_search(&number).is_ok();
            assert!(
                !answered,
                "{inject}: {sequence} was answered and not synced"
            );
        }
        let delivered = sink.bodies();
        let last = delivered
            .last_key_value()
            .map_or(0, |(sequence, _)| *sequence);
        assert!(
            last <= durable,
            "{inject}: {last} was delivered, {durable} durable"
        );
    }

    let server = site.start();
    sink.check(&site.records(), 1);
    let (status, stderr) = server.terminate();
    assert_eq!(status.code(), Some(0), "{inject}: {stderr}");
    site.verify();
    sink.check_whole(&site.records(), 1);
    Some(check(&stored(&site), &traces))
}

/// The last words of the process are the one error in the log, and say what happened.
fn assert_one_line(stderr: &str, what: &str) {
    let errors = stderr.lines().filter(|line| line.contains("\"ERROR\""));
    let errors: Vec<_> = errors.collect();
    assert!(errors.len() == 1 && errors[0].contains(what), "{stderr}");
    let last = last_words(stderr);
    let said = last.starts_with("the receiver has stopped: ") && last.contains(what);
    assert!(said, "{stderr}");
}

/// The same fault at the first, the second, the third call and so on.
fn ends_of_each(thread: &str, fault: &str, end: End, few: &[usize]) {
    let mut sum = Tally::default();
    let mut rounds = rounds(few);
    if thread == "hl-segment" {
        rounds.truncate(SEGMENT_CALLS);
    }
    let count = rounds.len();
    for n in rounds {
        let Some(tally) = ends_of(thread, &format!("{fault}:when={n}"), end) else {
            return;
        };
        sum.acknowledged += tally.acknowledged;
        sum.refused += tally.refused;
        sum.kept += tally.kept;
    }
    eprintln!("{thread}, {fault}, {count} rounds: {sum:?}");
}

#[test]
fn a_sync_that_fails_is_the_end() {
    ends_of_each(
        "hl-commit",
        "fdatasync:error=EIO",
        End::Says("Input/output error"),
        &[1, 3],
    );
}

#[test]
fn a_write_that_fails_is_the_end() {
    ends_of_each(
        "hl-commit",
        "pwritev:error=EIO",
        End::Says("Input/output error"),
        &[2],
    );
    ends_of_each(
        "hl-commit",
        "pwritev:error=ENOSPC",
        End::Says("No space left"),
        &[2],
    );
}

#[test]
fn killed_in_a_sync_or_a_write() {
    ends_of_each("hl-commit", "fdatasync:signal=KILL", End::Killed, &[1, 4]);
    ends_of_each("hl-commit", "pwritev:signal=KILL", End::Killed, &[3]);
}

/// Everything that the making of a segment, and the manifest that lists it, asks of the disk.
#[test]
fn a_segment_that_cannot_be_made_is_the_end() {
    for call in ["fallocate", "openat", "/^rename", "fsync", "pwritev"] {
        // The segment, and the manifest twice, in an order that depends on when strace comes.
        let few: &[usize] = if call == "openat" { &[1, 2, 3] } else { &[2] };
        for n in rounds(few).into_iter().take(SEGMENT_CALLS) {
            let inject = format!("{call}:error=EIO:when={n}");
            if ends_of("hl-segment", &inject, End::Says("Input/output error")).is_none() {
                return;
            }
        }
    }
}

#[test]
fn killed_while_a_segment_is_made() {
    for call in ["fallocate", "openat", "/^rename", "fsync", "pwritev"] {
        ends_of_each(
            "hl-segment",
            &format!("{call}:signal=KILL"),
            End::Killed,
            &[2],
        );
    }
}

/// A client that never finishes its request, an idle one and one that never pauses: none of them keeps a failed server
/// alive until its drain is over, and meanwhile it says what it is.
#[test]
fn a_failed_journal_is_seen_and_left_within_a_bounded_time() {
    let (site, _) = site();
    let mut server = site.start();
    let load = Load::start(&server, "/in", 0);
    load.reach_accepted(100);
    let mut half = server.connect();
    half.send(&post("/in", "", b"never finished")[..40]);
    let mut idle = server.connect();
    let options = ["-e", "inject=fdatasync:error=EIO:when=3"];
    let Some(strace) = Strace::attach_thread(&server, "hl-commit", &site, &options) else {
        return;
    };
    // The half request keeps it for a moment.
    let mut said = Vec::new();
    while let Some((code, text)) = server.admin_page("/readyz") {
        said.push((code, text));
    }
    let failed = (
        503,
        "the journal has failed; the process is about to exit\n".to_owned(),
    );
    assert_eq!(said.last(), Some(&failed));
    let (status, stderr) = server.wait();
    drop(strace);
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert_one_line(&stderr, "Input/output error");
    assert!(matches!(half.next_or_cut(), Ok(None) | Err(_)));
    assert!(matches!(idle.next_or_cut(), Ok(None) | Err(_)));
    for (name, trace) in load.end() {
        assert!(trace.faults.is_empty(), "{name}: {:#?}", trace.faults);
    }
}

/// A disk that is full for a while is not a failure: what finds no room waits, and the service returns by itself.
#[test]
fn a_shortage_passes() {
    let kinds = ["ENOSPC", "EDQUOT", "EFBIG", "ENOMEM"];
    for call in some(&["fallocate", "fsync", "openat", "pwritev"], 2) {
        for n in rounds(&[1]) {
            let error = kinds[n % kinds.len()];
            let (site, sink) = site();
            let server = site.start();
            let load = Load::start(&server, "/in", 0);
            load.reach_accepted(100);
            let options = format!("inject={call}:error={error}:when={n}");
            let options = ["-e", &options];
            let Some(strace) = Strace::attach_thread(&server, "hl-segment", &site, &options) else {
                return;
            };
            eventually("it is injected", || strace.output().contains("INJECTED"));
            load.reach_accepted(2000);
            strace.detach();
            let traces: HashMap<_, _> = load.stop().into_iter().collect();
            for trace in traces.values() {
                assert!(trace.faults.is_empty(), "{:#?}", trace.faults);
            }
            let (status, stderr) = server.terminate();
            assert_eq!(status.code(), Some(0), "{call} {error}: {stderr}");
            assert!(
                stderr.contains("there is space for the journal again"),
                "{stderr}"
            );
            site.verify();
            sink.check_whole(&site.records(), 1);
            let tally = check(&stored(&site), &traces);
            eprintln!("hl-segment, {call}:error={error}: {tally:?}");
        }
    }
}

/// A disk that stands still: whoever waits gets 503 at its deadline, whoever comes later gets it at once, the memory
/// does not grow with what they send, and when the disk goes on, so does the service, without a restart.
#[test]
fn a_stalled_disk_is_waited_out() {
    for call in some(&["fdatasync", "pwritev"], 1) {
        let (site, sink) = site();
        let site = site
            .server("ack_deadline = \"300ms\"")
            // Nothing rolls in the meantime, or the wait for the disk would be another one.
            .journal("segment_size = \"64MiB\"");
        let server = site.start();
        let load = Load::start(&server, "/in", 0);
        load.reach_accepted(500);
        let before = server.memory("VmRSS");
        let options = format!("inject={call}:delay_enter={STALL_MICROS}:when=5");
        let options = ["-e", &options];
        let Some(strace) = Strace::attach_thread(&server, "hl-commit", &site, &options) else {
            return;
        };
        // On a busy machine no more than these may come within the stall.
        load.reach_refused(100);
        let accepted = load.accepted();
        // These do not wait for any answer, and send as much as anybody takes.
        let mut flood: Vec<_> = (0..64).map(|at| Flood::connect(&server, at)).collect();
        while load.accepted() == accepted {
            flood.iter_mut().for_each(Flood::send);
            thread::sleep(Duration::from_millis(1));
        }
        let stalled = server.memory("VmHWM");
        let flooded: usize = flood.iter().map(|client| client.sent).sum();
        let floods: Vec<_> = flood.into_iter().map(Flood::end).collect();
        load.reach_accepted(1000);
        drop(strace);
        let traces = load.stop().into_iter().chain(floods);
        let traces: HashMap<_, _> = traces.collect();
        for trace in traces.values() {
            assert!(trace.faults.is_empty(), "{:#?}", trace.faults);
        }
        let grown = stalled.saturating_sub(before);
        assert!(grown <= STALL_MEMORY_MAX, "{grown} bytes in a stall");
        let (status, stderr) = server.terminate();
        assert_eq!(status.code(), Some(0), "{stderr}");
        site.verify();
        sink.check_whole(&site.records(), 1);
        let tally = check(&stored(&site), &traces);
        eprintln!(
            "hl-commit, {call} stalls after {accepted} 200s: {tally:?}, {flooded} bytes sent, {grown} of memory more"
        );
    }
}

/// A client that sends one post after the other and reads no answer. No two posts are the same: the endpoint would take
/// the second one for a redelivery, of which a sink hears nothing.
struct Flood {
    stream: TcpStream,
    name: String,
    /// Which post is being sent, and what is left of it.
    number: usize,
    left: Vec<u8>,
    /// Bytes that were taken.
    sent: usize,
}

impl Flood {
    fn connect(server: &Running, at: usize) -> Flood {
        let stream = TcpStream::connect(server.address).expect("it listens");
        stream.set_nonblocking(true).expect("set");
        let name = format!("flood/{at}");
        Flood {
            left: signed("/in", &body(&name, 0)),
            stream,
            name,
            number: 0,
            sent: 0,
        }
    }

    /// Sends some posts, or what of them is taken at once.
    fn send(&mut self) {
        for _ in 0..16 {
            let Ok(bytes) = self.stream.write(&self.left) else {
                return;
            };
            self.left.drain(..bytes);
            self.sent += bytes;
            if self.left.is_empty() {
                self.number += 1;
                self.left = signed("/in", &body(&self.name, self.number));
            }
        }
    }

    /// What may be in the journal because of it.
    fn end(self) -> (String, Trace) {
        let trace = Trace {
            sent: self.number + 1,
            ..Trace::default()
        };
        (self.name, trace)
    }
}

/// No call is made more often for one segment and the manifest: the next one is the same for the next segment.
const SEGMENT_CALLS: usize = 6;

/// Several times the deadline.
const STALL_MICROS: u32 = 1_500_000;

/// What may be on the way to the disk, and room for the buffers that it is in.
const STALL_MEMORY_MAX: u64 = 16 << 20;
