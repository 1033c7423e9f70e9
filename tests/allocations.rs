//! A keep-alive request allocates nothing on its event loop, however it is acknowledged, pipelined or not, and
//! hardly anything on the threads behind it: all of them are at work, down to a file that is written.
//!
//! The server runs in this process under an allocator that counts what each of its threads asks for while
//! a measurement is under way, and remembers from where the loop did. Buffers for batches are counted apart: they come
//! back from the threads behind the loop, and when those are late, as they are without optimisation on a busy
//! machine, more of them are under way than a loop keeps.
//!
//! Behind the loop something may be allocated for a batch, and how many those are depends on the machine. So that is
//! measured with bodies of a hundred events: one allocation for each event would be many times what is allowed.

#![expect(unsafe_code, reason = "GlobalAlloc can be implemented in no other way")]
#![expect(clippy::print_stderr, reason = "the figures are what one wants to see")]

mod common;

use common::client::{Client, handshake, post};
use common::{Site, eventually, sign};
use hookline::testing::config::{Config, Environment, Flags};
use hookline::testing::server::Server;
use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts, and leaves the work to the system's allocator.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A measurement is under way.
static MEASURING: AtomicBool = AtomicBool::new(false);
/// Allocations of each thread of [`THREADS`], beside the loop's buffers for batches.
static COUNTS: [AtomicU64; THREADS.len()] = [const { AtomicU64::new(0) }; THREADS.len()];
/// Buffers for batches.
static BUFFERS: AtomicU64 = AtomicU64::new(0);
/// Bytes of a batch's buffer; nothing else is as large.
const BUFFER: usize = 128 << 10;
/// Where the first of them came from.
static ORIGINS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// As many backtraces as a person reads.
const ORIGINS_MAX: usize = 5;

/// In the order in which they meet an event; the loop is the first. The only worker decides what is a duplicate, too.
const THREADS: [&str; 4] = ["hl-loop-0", "hl-commit", "hl-worker-0", "hl-sink-out"];
const LOOP: usize = 0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Unknown,
    /// Of this one of [`THREADS`].
    Ours(usize),
    Others,
}

thread_local! {
    static WHOSE: Cell<Whose> = const { Cell::new(Whose::Unknown) };
}

impl Counting {
    fn count(size: usize) {
        if !MEASURING.load(Ordering::Relaxed) {
            return;
        }
        // Whatever the look itself allocates is not counted.
        let whose = WHOSE.replace(Whose::Others);
        let whose = if whose == Whose::Unknown {
            this_thread()
        } else {
            whose
        };
        if whose == Whose::Ours(LOOP) && size >= BUFFER {
            BUFFERS.fetch_add(1, Ordering::Relaxed);
        } else if let Whose::Ours(thread) = whose {
            COUNTS[thread].fetch_add(1, Ordering::Relaxed);
            let mut origins = ORIGINS.lock().expect("nobody panics with it");
            if thread == LOOP && origins.len() < ORIGINS_MAX {
                let backtrace = Backtrace::force_capture().to_string();
                let ours = backtrace.lines().filter(|line| line.contains("hookline::"));
                origins.push(ours.collect::<Vec<_>>().join("\n"));
            }
        }
        WHOSE.set(whose);
    }
}

fn this_thread() -> Whose {
    let mut name = [0; 16];
    let read = File::open("/proc/thread-self/comm").and_then(|mut file| file.read(&mut name));
    let Ok(len) = read else {
        return Whose::Others;
    };
    let is_it = |thread: &&str| name[..len].trim_ascii_end() == thread.as_bytes();
    let found = THREADS.iter().position(is_it);
    found.map_or(Whose::Others, Whose::Ours)
}

// SAFETY: every call is passed on to `System` with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::count(layout.size());
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::count(layout.size());
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::count(size);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Allocations of each thread while `run` runs, and the loop's buffers beside them.
fn count(run: impl FnOnce()) -> ([u64; THREADS.len()], u64) {
    for counter in COUNTS.iter().chain([&BUFFERS]) {
        counter.store(0, Ordering::SeqCst);
    }
    ORIGINS.lock().expect("nobody panics with it").clear();
    MEASURING.store(true, Ordering::SeqCst);
    run();
    MEASURING.store(false, Ordering::SeqCst);
    let counts = std::array::from_fn(|thread| COUNTS[thread].load(Ordering::SeqCst));
    (counts, BUFFERS.load(Ordering::SeqCst))
}

const CONNECTIONS: usize = 16;
const REQUESTS: usize = 20_000;

/// Posts to a server, and what was posted.
struct Poster {
    connections: Vec<Client>,
    notifications: u64,
    events: u64,
}

impl Poster {
    /// Posts `total` signed bodies, `depth` at a time on each connection. Each has so many statuses, all of them new.
    fn load(&mut self, path: &str, depth: usize, total: usize, statuses: u64) {
        for _ in 0..total.div_ceil(depth * self.connections.len()) {
            for connection in &mut self.connections {
                let mut bytes = Vec::new();
                for _ in 0..depth {
                    let body = body(self.events..self.events + statuses);
                    let fields = sign::meta("secret", body.as_bytes());
                    bytes.extend_from_slice(&post(path, &fields, body.as_bytes()));
                    self.notifications += 1;
                    self.events += statuses;
                }
                connection.send(&bytes);
            }
            for connection in &mut self.connections {
                assert_eq!(connection.codes(depth), vec![200; depth]);
            }
        }
    }

    /// Waits until the sink has written everything.
    fn wait_for(&self, file: &Path) {
        let last = format!("\"position\":\"{}.", self.notifications);
        eventually("everything is delivered", || {
            let mut end = String::new();
            let _ = File::open(file).and_then(|mut file| {
                let len = file.metadata()?.len();
                file.seek(SeekFrom::Start(len.saturating_sub(2048)))?;
                file.read_to_string(&mut end)
            });
            end.ends_with('\n') && end.contains(&last)
        });
    }
}

fn body(numbers: Range<u64>) -> String {
    let status = |number: u64| {
        format!(
            "{{\"id\":\"wamid.{number}\",\"status\":\"sent\",\"timestamp\":\"1750000000\",\"recipient_id\":\"1555{number:07}\"}}"
        )
    };
    let statuses: Vec<String> = numbers.map(status).collect();
    format!(
        "{{\"object\":\"whatsapp_business_account\",\"entry\":[{{\"id\":\"1\",\"changes\":[{{\"field\":\"messages\",\"value\":{{\"messaging_product\":\"whatsapp\",\"metadata\":{{\"phone_number_id\":\"2\"}},\"statuses\":[{}]}}}}]}}]}}",
        statuses.join(",")
    )
}

/// One test, for there is one allocator and one count.
#[test]
fn a_keep_alive_request_allocates_nothing() {
    let endpoint = |path: &str| {
        format!(
            "path = \"/{path}\"\nprovider = \"meta\"\nverify_token = {{ env = \"SECRET\" }}\napp_secret = {{ env = \"SECRET\" }}\nack = \"{path}\""
        )
    };
    let site = Site::new()
        .journal("segment_size = \"64MiB\"")
        .endpoint(&endpoint("stored"))
        .endpoint(&endpoint("received"));
    let file = site.path().join("out.ndjson");
    let site = site.sink(&format!(
        "name = \"out\"\ntype = \"file\"\npath = \"{}\"",
        file.display()
    ));
    let environment = Environment::from([("SECRET".into(), "secret".into())]);
    let config = Config::load(Some(&site.write_config()), &environment, &Flags::default());
    let (config, _) = config.expect("a good configuration");
    let server = Server::start(&config).expect("it starts");
    let connect = |_| Client::connect(server.address());
    let mut poster = Poster {
        connections: (0..CONNECTIONS).map(connect).collect(),
        notifications: 0,
        events: 0,
    };

    // That the count counts: a handshake allocates.
    let control = count(|| {
        let connection = &mut poster.connections[0];
        connection.send(&handshake("/stored", "secret", "1"));
        assert_eq!(connection.answer().code, 200);
    });
    assert!(control.0[LOOP] > 0);

    for (path, depth) in [
        ("/received", 1),
        ("/stored", 1),
        ("/received", 8),
        ("/stored", 8),
    ] {
        poster.load(path, depth, REQUESTS / 4, 1);
        let recycled = (0..TRIES).any(|_| {
            let (counts, buffers) = count(|| poster.load(path, depth, REQUESTS, 1));
            eprintln!(
                "{path}, {depth} at a time: {} allocations and {buffers} buffers in {REQUESTS} requests",
                counts[LOOP]
            );
            let origins = ORIGINS.lock().expect("nobody panics with it").join("\n\n");
            assert!(counts[LOOP] <= GROWTH, "{counts:?}, as here:\n{origins}");
            buffers * 50 <= REQUESTS as u64
        });
        assert!(recycled, "buffers do not come back");
    }

    for path in ["/received", "/stored"] {
        poster.load(path, 1, BATCHES / 4, STATUSES);
        poster.wait_for(&file);
        let events = poster.events;
        let (counts, _) = count(|| {
            poster.load(path, 1, BATCHES, STATUSES);
            poster.wait_for(&file);
        });
        let events = poster.events - events;
        eprintln!("{path}: allocations for {events} events");
        for (thread, allocations) in THREADS.iter().zip(counts) {
            eprintln!("  {thread:<12} {allocations}");
            assert!(allocations * 4 <= events, "{thread}: {allocations}");
        }
    }
    server.stop(&crossbeam_channel::never()).expect("it stops");
    site.verify();
}

/// Bodies of many statuses each, so that what is allocated for a batch is little beside one for each event, whatever
/// number of bodies a batch has.
const BATCHES: usize = 480;
const STATUSES: u64 = 100;

/// Times that a list may grow because more is under way than ever before. What is allocated for each request,
/// each batch or each second comes to more.
const GROWTH: u64 = 3;

/// Measurements in one of which the threads behind the loop must have kept up.
const TRIES: usize = 5;
