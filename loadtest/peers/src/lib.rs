//! What the servers that store nothing share: a worker that parses each body with `serde_json`, behind a queue.
//!
//! It is the design that guides to the platform recommend: take the body, hand it over, answer 200, process it
//! afterwards. Each server in `src/bin` is written the way its own documentation writes one, on one thread beside the
//! worker's, for one core is what it gets; the queue and the worker are the same for all of them, so that what differs
//! is HTTP. Those that ask a database before they answer (`axum_redis`, `axum_jetstream`) leave the parsing out.

use std::thread;

use bytes::Bytes;
use crossbeam_channel::{Sender, bounded};

/// Bodies that may wait for the worker. With more, servers wait as well: on one core that gives the worker the time that
/// it needs, where a 503 would have the client come again at once.
const QUEUE_MAX: usize = 1 << 16;

/// Where the worker takes bodies from.
#[derive(Clone)]
pub struct Queue(Sender<Bytes>);

impl Queue {
    /// Hands over a body.
    pub fn put(&self, body: Bytes) {
        self.0.send(body).expect("the worker ends with the process");
    }
}

/// Starts the worker.
pub fn worker() -> Queue {
    let (sender, receiver) = bounded::<Bytes>(QUEUE_MAX);
    thread::spawn(move || {
        let mut notifications = 0_u64;
        for body in receiver {
            let parsed = serde_json::from_slice::<serde_json::Value>(&body);
            notifications += u64::from(parsed.is_ok_and(|value| value.get("entry").is_some()));
        }
        // The result is used, so that no compiler leaves the work out.
        println!("{notifications} notifications");
    });
    Queue(sender)
}

/// Where to listen: the port that is the first argument, on loopback.
pub fn address() -> (&'static str, u16) {
    let port = argument(1).parse();
    ("127.0.0.1", port.expect("the first argument is a port"))
}

/// An argument of the command line.
pub fn argument(index: usize) -> String {
    std::env::args()
        .nth(index)
        .unwrap_or_else(|| panic!("argument {index} is missing"))
}
