//! Signed notifications over pipelined connections, until the server is gone: what was sent, and what was answered.
//!
//! Each thread has a few connections and goes round them: it sends some requests on each, in one write, and then reads
//! what it is owed, so that the journal always has something to write while the next requests are made. Answers
//! come in order, so the n-th one on a connection belongs to the n-th request.

use super::super::{answer, exchange};
use super::body::{Bodies, Name};
use super::stream::Stream;
use crate::disk::block::ALIGNMENT;
use crate::random::Random;
use aws_lc_rs::hmac;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What is to be sent in a round.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    pub(crate) key: hmac::Key,
    pub(crate) bodies: Bodies,
    pub(crate) round: u32,
    pub(crate) connections: u32,
    /// Requests that may be under way on a connection, 32 at most: drawn anew each time.
    pub(crate) depth: u64,
    /// Bytes that the journal may take at most in this round.
    pub(crate) bytes: u64,
}

/// The threads of a round.
pub(crate) struct Load {
    threads: Vec<JoinHandle<Vec<Link>>>,
    /// Has a message when it cannot go on.
    pub(crate) ended: Receiver<Ended>,
}

/// Why a round cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its bytes are sent.
    Spent,
    /// A connection has ended.
    Broken,
}

/// What a round came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// By connection.
    pub(crate) streams: Vec<Stream>,
    /// What should not have happened, and when.
    pub(crate) breaks: Vec<Break>,
}

/// The end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Break {
    pub(crate) at: Instant,
    pub(crate) reason: String,
    /// False where a server that is killed is reason enough.
    pub(crate) is_wrong: bool,
}

impl Load {
    /// Starts to send.
    pub(crate) fn start(plan: &Plan) -> io::Result<Load> {
        let cores = thread::available_parallelism()
            .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        let count = cores.min(THREADS_MAX).min(plan.connections);
        let (sender, ended) = bounded(1);
        let bytes = Arc::new(AtomicU64::new(plan.bytes));
        let threads = (0..count).map(|index| {
            let streams = (index..plan.connections).step_by(count as usize);
            let mut sending = Sending {
                plan: plan.clone(),
                head: format!(
                    "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n",
                    plan.path, plan.address
                ),
                bytes: Arc::clone(&bytes),
                ended: sender.clone(),
                random: Random(plan.bodies.seed ^ u64::from(plan.round) << 16 ^ u64::from(index)),
                body: Vec::new(),
                requests: Vec::new(),
            };
            let links = streams.map(Link::new).collect();
            thread::Builder::new()
                .name(format!("load-{index}"))
                .spawn(move || sending.run(links))
        });
        Ok(Load {
            threads: threads.collect::<io::Result<_>>()?,
            ended,
        })
    }

    /// Waits for the end of all connections: the server must be gone.
    pub(crate) fn join(self) -> Outcome {
        let mut links: Vec<Link> = Vec::new();
        let mut outcome = Outcome::default();
        for thread in self.threads {
            match thread.join() {
                Ok(of_thread) => links.extend(of_thread),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        links.sort_by_key(|link| link.stream);
        for link in links {
            outcome.streams.push(link.ledger);
            outcome.breaks.extend(link.broken);
        }
        outcome
    }
}

/// One thread's means.
struct Sending {
    plan: Plan,
    /// Of all requests.
    head: String,
    bytes: Arc<AtomicU64>,
    ended: Sender<Ended>,
    random: Random,
    body: Vec<u8>,
    requests: Vec<u8>,
}

/// One numbered stream of requests; its connection may be renewed after a refusal.
struct Link {
    stream: u32,
    ledger: Stream,
    socket: Option<TcpStream>,
    received: Vec<u8>,
    /// The last answer was a 503, behind which a connection may end.
    was_refused: bool,
    broken: Option<Break>,
}

impl Link {
    fn new(stream: u32) -> Link {
        Link {
            stream,
            ledger: Stream::default(),
            socket: None,
            received: Vec::new(),
            was_refused: false,
            broken: None,
        }
    }

    /// Behind a 503 a connection may end: what was under way then may be stored or not, and another one takes over.
    fn forgives(&mut self, error: &io::Error) -> bool {
        let forgiven = self.was_refused && error.kind() != ErrorKind::InvalidData;
        if forgiven {
            self.ledger.refuse(self.ledger.sent - self.ledger.answered);
            self.socket = None;
            self.received.clear();
            self.was_refused = false;
        }
        forgiven
    }

    fn fail(&mut self, error: &io::Error) {
        self.broken = Some(Break {
            at: Instant::now(),
            reason: format!("connection {}: {error}", self.stream),
            is_wrong: error.kind() == ErrorKind::InvalidData,
        });
        self.socket = None;
    }
}

impl Sending {
    fn run(&mut self, mut links: Vec<Link>) -> Vec<Link> {
        let is_open = |link: &&mut Link| link.broken.is_none();
        while links.iter().any(|link| link.broken.is_none()) {
            for link in links.iter_mut().filter(is_open) {
                let sent = self.send(link);
                self.note(link, sent);
            }
            for link in links.iter_mut().filter(is_open) {
                let received = receive(link);
                self.note(link, received);
            }
        }
        links
    }

    fn note(&self, link: &mut Link, result: io::Result<()>) {
        if let Err(error) = result
            && !link.forgives(&error)
        {
            link.fail(&error);
            self.report(Ended::Broken);
        }
    }

    fn report(&self, ended: Ended) {
        // The first report is enough.
        let _ = self.ended.try_send(ended);
    }

    fn send(&mut self, link: &mut Link) -> io::Result<()> {
        self.requests.clear();
        for _ in 0..=self.random.below(self.plan.depth) {
            self.request(link);
        }
        let socket = match &mut link.socket {
            Some(socket) => socket,
            none => none.insert(connect(self.plan.address)?),
        };
        socket.write_all(&self.requests)
    }

    /// Appends the next request of this connection, which counts as sent from now on.
    fn request(&mut self, link: &mut Link) {
        let name = Name {
            round: self.plan.round,
            stream: link.stream,
            number: link.ledger.sent,
        };
        self.plan.bodies.make(name, &mut self.body);
        self.charge();
        link.ledger.sent += 1;
        let key = Some(&self.plan.key);
        exchange::post(&self.head, key, &self.body, &mut self.requests);
    }

    /// Counts what this request takes in the journal at most, with a frame of its own.
    fn charge(&self) {
        let bytes = (self.body.len() as u64 + BESIDE_BODY).next_multiple_of(ALIGNMENT as u64);
        let spent = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            });
        if spent.is_err() {
            self.report(Ended::Spent);
        }
    }
}

/// Reads until every request is answered.
fn receive(link: &mut Link) -> io::Result<()> {
    while link.ledger.answered < link.ledger.sent {
        let Some(socket) = &mut link.socket else {
            return Ok(());
        };
        let start = link.received.len();
        link.received.resize(start + RECEIVE_BYTES, 0);
        let count = socket.read(&mut link.received[start..]);
        link.received
            .truncate(start + *count.as_ref().unwrap_or(&0));
        match count {
            Ok(0) => {
                return Err(io::Error::new(
                    ErrorKind::UnexpectedEof,
                    "the server closed it",
                ));
            }
            Ok(_) => take_answers(link)?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let message = format!("no answer in {} s", PATIENCE.as_secs());
                return Err(io::Error::new(ErrorKind::InvalidData, message));
            }
            Err(error) => return Err(error),
        }
    }
    if !link.received.is_empty() {
        return Err(unasked());
    }
    if link.was_refused {
        thread::sleep(AFTER_REFUSAL);
    }
    Ok(())
}

fn take_answers(link: &mut Link) -> io::Result<()> {
    let mut taken = 0;
    let not_http = |error| io::Error::new(ErrorKind::InvalidData, error);
    while taken < link.received.len()
        && let Some(answer) = answer::parse(&link.received[taken..], false).map_err(not_http)?
    {
        taken += answer.length;
        if link.ledger.answered == link.ledger.sent {
            return Err(unasked());
        }
        link.was_refused = answer.status == 503;
        match answer.status {
            200 => link.ledger.answered += 1,
            503 => link.ledger.refuse(1),
            other => {
                let number = link.ledger.answered;
                let message = format!("number {number} was answered with {other}");
                return Err(io::Error::new(ErrorKind::InvalidData, message));
            }
        }
    }
    link.received.drain(..taken);
    Ok(())
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn unasked() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "an answer that nobody asked for")
}

/// More would take the cores from the server, and these are good for some 200,000 requests a second.
const THREADS_MAX: u32 = 4;

/// Answers of 32 requests, and more.
const RECEIVE_BYTES: usize = 8 << 10;

/// Longest wait for an answer; the server gives 503 long before.
const PATIENCE: Duration = Duration::from_mins(1);

/// What refuses needs time, as a full disk does.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// Headers that are kept, and the fixed parts of record and frame.
const BESIDE_BODY: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    const REFUSED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

    /// A connection on which so many requests are under way.
    fn link(sent: u64) -> Link {
        let mut link = Link::new(0);
        link.ledger.sent = sent;
        link
    }

    fn take(link: &mut Link, bytes: &[&[u8]]) -> io::Result<()> {
        link.received.extend_from_slice(&bytes.concat());
        take_answers(link)
    }

    #[test]
    fn answers_belong_to_requests_in_their_order() {
        let mut link = link(4);
        take(&mut link, &[OK, REFUSED, OK, &OK[..20]]).expect("right answers");
        let Stream {
            answered, refused, ..
        } = &link.ledger;
        let second = 1..2;
        assert_eq!((*answered, refused.as_slice()), (3, &[second][..]));
        assert_eq!(link.received, OK[..20]);
        take(&mut link, &[&OK[20..]]).expect("the rest of it");
        assert_eq!((link.ledger.answered, link.ledger.stored()), (4, 3));
        assert!(link.received.is_empty());
    }

    #[test]
    fn only_200_and_503_are_right() {
        let wrong = [
            &b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n",
        ];
        for answer in wrong {
            let mut link = link(2);
            let error = take(&mut link, &[OK, answer]).expect_err("wrong");
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
            assert_eq!(link.ledger.answered, 1);
        }
        let mut link = link(1);
        let error = take(&mut link, &[OK, OK]).expect_err("one too many");
        assert_eq!(error.to_string(), unasked().to_string());
    }

    #[test]
    fn an_end_is_forgiven_behind_a_503_alone() {
        let end = io::Error::from(ErrorKind::UnexpectedEof);
        let mut link = link(4);
        take(&mut link, &[OK]).expect("a right answer");
        assert!(!link.forgives(&end));
        take(&mut link, &[REFUSED]).expect("a right answer");
        assert!(!link.forgives(&unasked()), "whatever was before");
        assert!(link.forgives(&end));
        assert_eq!((link.ledger.answered, link.ledger.stored()), (4, 1));
        assert!(!link.forgives(&end), "only once");
    }
}
