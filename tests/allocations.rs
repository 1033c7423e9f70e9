//! A keep-alive request allocates nothing on its event loop, however it is acknowledged, pipelined or not.
//!
//! The server runs in this process under an allocator that counts what the thread `hl-loop-0` asks for while
//! a measurement is under way, and remembers from where. Buffers for batches are counted apart: they come
//! back from the threads behind the loop, and when those are late, as they are without optimisation on a busy
//! machine, more of them are under way than a loop keeps.

#![expect(unsafe_code, reason = "GlobalAlloc can be implemented in no other way")]
#![expect(clippy::print_stderr, reason = "the figures are what one wants to see")]

mod common;

use common::client::{Client, handshake, post};
use common::{Site, sign};
use hookline::config::{Config, Environment, Flags};
use hookline::server::Server;
use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::fs::File;
use std::io::Read as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts, and leaves the work to the system's allocator.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A measurement is under way.
static MEASURING: AtomicBool = AtomicBool::new(false);
/// Allocations of the loop's thread, beside buffers for batches.
static COUNT: AtomicU64 = AtomicU64::new(0);
/// Buffers for batches.
static BUFFERS: AtomicU64 = AtomicU64::new(0);
/// Octets of a batch's buffer; nothing else is as large.
const BUFFER: usize = 128 << 10;
/// Where the first of them came from.
static ORIGINS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// As many backtraces as a person reads.
const ORIGINS_MAX: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Unknown,
    Loops,
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
        if whose == Whose::Loops && size >= BUFFER {
            BUFFERS.fetch_add(1, Ordering::Relaxed);
        } else if whose == Whose::Loops {
            COUNT.fetch_add(1, Ordering::Relaxed);
            let mut origins = ORIGINS.lock().expect("nobody panics with it");
            if origins.len() < ORIGINS_MAX {
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
    match read {
        Ok(len) if name[..len].starts_with(b"hl-loop-0") => Whose::Loops,
        _ => Whose::Others,
    }
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

/// Allocations of the loop while `run` runs, and buffers among them.
fn count(run: impl FnOnce()) -> (u64, u64) {
    for counter in [&COUNT, &BUFFERS] {
        counter.store(0, Ordering::SeqCst);
    }
    ORIGINS.lock().expect("nobody panics with it").clear();
    MEASURING.store(true, Ordering::SeqCst);
    run();
    MEASURING.store(false, Ordering::SeqCst);
    (COUNT.load(Ordering::SeqCst), BUFFERS.load(Ordering::SeqCst))
}

const CONNECTIONS: usize = 16;
const REQUESTS: usize = 20_000;

/// Posts `total` signed bodies, `depth` at a time on each connection.
fn load(connections: &mut [Client], path: &str, depth: usize, total: usize) {
    let body =
        b"{\"object\":\"whatsapp_business_account\",\"entry\":[{\"id\":\"1\",\"changes\":[]}]}";
    let octets = post(path, &sign::meta("secret", body), body).repeat(depth);
    for _ in 0..total.div_ceil(depth * connections.len()) {
        for connection in &mut *connections {
            connection.send(&octets);
        }
        for connection in &mut *connections {
            assert_eq!(connection.codes(depth), vec![200; depth]);
        }
    }
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
    let environment = Environment::from([("SECRET".into(), "secret".into())]);
    let config = Config::load(Some(&site.write_config()), &environment, &Flags::default());
    let (config, _) = config.expect("a good configuration");
    let server = Server::start(&config).expect("it starts");
    let connect = |_| Client::connect(server.address());
    let mut connections: Vec<Client> = (0..CONNECTIONS).map(connect).collect();

    // That the count counts: a handshake allocates.
    let control = count(|| {
        connections[0].send(&handshake("/stored", "secret", "1"));
        assert_eq!(connections[0].answer().code, 200);
    });
    assert!(control.0 > 0);

    for (path, depth) in [
        ("/received", 1),
        ("/stored", 1),
        ("/received", 8),
        ("/stored", 8),
    ] {
        load(&mut connections, path, depth, REQUESTS / 4);
        let recycled = (0..TRIES).any(|_| {
            let (allocations, buffers) = count(|| load(&mut connections, path, depth, REQUESTS));
            eprintln!(
                "{path}, {depth} at a time: {allocations} allocations and {buffers} buffers in {REQUESTS} requests"
            );
            let origins = ORIGINS.lock().expect("nobody panics with it").join("\n\n");
            assert!(allocations <= GROWTH, "{allocations}, as here:\n{origins}");
            buffers * 50 <= REQUESTS as u64
        });
        assert!(recycled, "buffers do not come back");
    }
    server.stop().expect("it stops");
    site.verify();
}

/// Times that a list may grow because more is under way than ever before. What is allocated for each request,
/// each batch or each second comes to more.
const GROWTH: u64 = 3;

/// Measurements in one of which the threads behind the loop must have kept up.
const TRIES: usize = 5;
