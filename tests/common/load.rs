//! Clients that keep a server busy and remember what it answered them, and the look at what it kept.

use super::client::{Answer, Client, post};
use super::{Running, Site, eventually, sign};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Half of the time for which a draining server waits for an idle connection's next request.
const IDLE_MAX: Duration = Duration::from_millis(125);

/// Clients at a time.
const CLIENTS: usize = 8;

/// What a client does after a refusal. Retry-After says seconds, which no test has.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// A server for a load on `/in`, with small segments, and a drain that nobody would wait for.
pub(crate) fn site(ack: &str) -> Site {
    Site::new()
        .server("loops = 2")
        .server("drain_timeout = \"10m\"")
        .limits("body = \"64KiB\"")
        .limits("unacknowledged = \"1MiB\"")
        .journal("segment_size = \"1MiB\"")
        .variable("SECRET", SECRET)
        .endpoint(&format!(
            "path = \"/in\"\nprovider = \"meta\"\napp_secret = {{ env = \"SECRET\" }}\nack = \"{ack}\""
        ))
}

/// What one client has done. Its requests are numbered through all its connections.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// Requests sent as a whole, or in part.
    pub(crate) sent: usize,
    /// Numbers that were answered with 200.
    pub(crate) acknowledged: Vec<usize>,
    /// Numbers that were answered with 503 and a Retry-After.
    pub(crate) refused: Vec<usize>,
    /// Requests that went unanswered for a reason that does not count.
    pub(crate) excused: usize,
    /// What went wrong.
    pub(crate) faults: Vec<String>,
}

/// The body of a client's request: who, which, and a length that varies.
pub(crate) fn body(client: &str, number: usize) -> Vec<u8> {
    let mut text = format!("{client} {number} ");
    let len = number.wrapping_mul(7919) % 1500;
    while text.len() < len {
        let _ = write!(text, "{:x}", text.len() * number);
    }
    text.into_bytes()
}

/// What all clients share.
#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    path: &'static str,
    answers: AtomicUsize,
    accepted: AtomicUsize,
    refused: AtomicUsize,
    enough: AtomicBool,
}

impl Shared {
    /// Posts in batches of `depth`, each sent when the one before is answered, until nobody listens any more or it
    /// is enough.
    fn client(&self, name: &str, depth: usize) -> Trace {
        let mut trace = Trace::default();
        while !self.enough.load(Ordering::Relaxed)
            && let Ok(stream) = TcpStream::connect(self.address)
        {
            self.connection(&mut Client::over(stream), name, depth, &mut trace);
        }
        trace
    }

    fn connection(&self, connection: &mut Client, name: &str, depth: usize, trace: &mut Trace) {
        let mut answered_before = false;
        let mut answered_at = Instant::now();
        while !self.enough.load(Ordering::Relaxed) {
            let batch = trace.sent..trace.sent + depth;
            let bytes: Vec<u8> = batch
                .clone()
                .flat_map(|number| signed(self.path, &body(name, number)))
                .collect();
            trace.sent = batch.end;
            let whole = connection.try_send(&bytes);
            let counts = whole && answered_before && answered_at.elapsed() < IDLE_MAX;
            let mut refused = false;
            for number in batch.clone() {
                let answer = match connection.next_or_cut() {
                    Ok(Some(answer)) => answer,
                    end => {
                        let first = number == batch.start;
                        if counts || !first {
                            let fault =
                                format!("{name} {number}: {end:?}, {batch:?}, whole {whole}");
                            trace.faults.push(fault);
                        }
                        trace.excused += 1;
                        return;
                    }
                };
                refused |= self.count(&answer, name, number, trace);
                if answer.closes() {
                    if number + 1 != batch.end {
                        let fault = format!("{name} {number}: closed within {batch:?}");
                        trace.faults.push(fault);
                    }
                    return;
                }
            }
            if refused {
                thread::sleep(REFUSED_PAUSE);
            }
            answered_before = true;
            answered_at = Instant::now();
        }
    }

    /// True for a 503 that says when to come again.
    fn count(&self, answer: &Answer, name: &str, number: usize, trace: &mut Trace) -> bool {
        self.answers.fetch_add(1, Ordering::Relaxed);
        match answer.code {
            200 => {
                trace.acknowledged.push(number);
                self.accepted.fetch_add(1, Ordering::Relaxed);
            }
            503 if answer.field("retry-after").is_some() => {
                trace.refused.push(number);
                self.refused.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            code => trace.faults.push(format!("{name} {number}: {code}")),
        }
        false
    }
}

/// A post as the platform sends it, for endpoints that check and for those that do not.
pub(crate) fn signed(path: &str, body: &[u8]) -> Vec<u8> {
    post(path, &sign::meta(SECRET, body), body)
}

/// Clients that run until the server is gone, or [`Load::stop`].
pub(crate) struct Load {
    clients: Vec<(String, JoinHandle<Trace>)>,
    shared: Arc<Shared>,
}

impl Load {
    /// `round` tells the bodies of this load from those of others.
    pub(crate) fn start(server: &Running, path: &'static str, round: usize) -> Load {
        let shared = Arc::new(Shared {
            address: server.address,
            path,
            answers: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            enough: AtomicBool::new(false),
        });
        let clients = (0..CLIENTS).map(|at| {
            let name = format!("{round}/{at}");
            let (shared, who, depth) = (Arc::clone(&shared), name.clone(), [1, 1, 2, 5][at % 4]);
            let run = move || shared.client(&who, depth);
            (name, thread::spawn(run))
        });
        Load {
            clients: clients.collect(),
            shared,
        }
    }

    /// Waits for so many answers, of any kind.
    pub(crate) fn reach(&self, answers: usize) {
        eventually("the clients are answered", || {
            self.shared.answers.load(Ordering::Relaxed) >= answers
        });
    }

    /// Waits for so many more 200s.
    pub(crate) fn reach_accepted(&self, more: usize) {
        let wanted = self.accepted() + more;
        eventually("the clients are served", || self.accepted() >= wanted);
    }

    /// Waits for so many more 503s.
    pub(crate) fn reach_refused(&self, more: usize) {
        let wanted = self.refused() + more;
        eventually("the clients are refused", || self.refused() >= wanted);
    }

    /// 200s so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// 503s so far.
    pub(crate) fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Lets every client wait for the answers that it is owed, and end.
    pub(crate) fn stop(self) -> Vec<(String, Trace)> {
        self.shared.enough.store(true, Ordering::Relaxed);
        self.end()
    }

    /// Waits until nobody listens any more.
    pub(crate) fn end(self) -> Vec<(String, Trace)> {
        let end = |(name, client): (String, JoinHandle<Trace>)| {
            (name, client.join().expect("the client ends by itself"))
        };
        self.clients.into_iter().map(end).collect()
    }
}

/// The numbers of each client's bodies in the journal, in its order. Every body is exactly what was sent, and the
/// sequences have no gap.
pub(crate) fn stored(site: &Site) -> HashMap<String, Vec<usize>> {
    let mut stored: HashMap<String, Vec<usize>> = HashMap::new();
    let records = site.records();
    let first = records.first().map_or(1, |(sequence, _)| *sequence);
    for ((sequence, bytes), expected) in records.into_iter().zip(first..) {
        assert_eq!(sequence, expected, "sequences are contiguous");
        let (name, number) = author(&bytes);
        stored.entry(name).or_default().push(number);
    }
    stored
}

/// Who sent a body, and which of theirs it is. It is exactly what was sent.
pub(crate) fn author(bytes: &[u8]) -> (String, usize) {
    let text = str::from_utf8(bytes).expect("ASCII");
    let mut words = text.split(' ');
    let name = words.next().expect("a name");
    let number = words.next().and_then(|number| number.parse().ok());
    let number = number.expect("a number");
    assert!(bytes == body(name, number), "{name} {number}");
    (name.to_owned(), number)
}

/// What one load or several came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
    pub(crate) kept: usize,
}

/// The oracle: everything that was answered with 200 is in the journal, byte for byte, in the order of its client,
/// once, and the journal holds nothing that was not sent.
pub(crate) fn check(
    stored: &HashMap<String, Vec<usize>>,
    traces: &HashMap<String, Trace>,
) -> Tally {
    let mut tally = Tally::default();
    for name in stored.keys() {
        assert!(traces.contains_key(name), "{name} is an invention");
    }
    for (name, trace) in traces {
        let numbers = stored.get(name).map_or(&[][..], Vec::as_slice);
        // Ever larger numbers: each once and in order.
        let in_order = numbers.is_sorted_by(|one, next| one < next);
        assert!(
            in_order && numbers.last().is_none_or(|&last| last < trace.sent),
            "{name}: {} sent, {numbers:?}",
            trace.sent
        );
        let lost: Vec<_> = trace
            .acknowledged
            .iter()
            .filter(|number| numbers.binary_search(number).is_err())
            .collect();
        assert!(lost.is_empty(), "{name}: answered and not stored: {lost:?}");
        tally.acknowledged += trace.acknowledged.len();
        tally.refused += trace.refused.len();
        tally.kept += numbers.len();
    }
    tally
}

/// What the clients sign with.
pub(crate) const SECRET: &str = "secret";
