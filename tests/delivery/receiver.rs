//! Where an http sink delivers to: a server of its own, which misbehaves on request and keeps exact books.
//!
//! What it has answered with 200 it has taken. It knows of each update under which position and in which life of the
//! server it was taken first, so it can say what may never happen: an update before the one that precedes it in its
//! conversation, one under two positions, one twice within a life.

use super::traffic::{Lane, Update};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What comes back for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// 200.
    Take,
    /// 200, and the end of the connection within the body: it is taken.
    TakeAndCut,
    /// A status line and further fields.
    Refuse(&'static str, &'static str),
    /// Nothing, until the other side has enough.
    Hang,
    /// The end of the connection, without a word.
    Close,
    /// The end of the connection within the head of an answer.
    Cut,
}

/// A request, and the how-manieth.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) number: u64,
    pub(crate) updates: Vec<(Update, Position)>,
    pub(crate) replay: Option<String>,
    life: u32,
}

/// Sequence and index.
pub(crate) type Position = (u64, u32);

/// What was taken.
#[derive(Debug, Default)]
pub(crate) struct Book {
    seen: HashMap<(u32, Lane), Vec<Seen>>,
    /// Different updates.
    pub(crate) taken: u64,
    /// Updates that were taken again, in a later life.
    pub(crate) repeats: u64,
    /// How often each position came with the mark of a replay.
    pub(crate) replayed: BTreeMap<Position, u32>,
    /// What may never happen.
    pub(crate) faults: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    position: Position,
    life: u32,
}

type Behaviour = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A receiver that runs. It ends with the test.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    book: Mutex<Book>,
    requests: AtomicU64,
    is_away: AtomicBool,
}

impl Receiver {
    pub(crate) fn start(behaviour: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(Arc::new(behaviour)),
            book: Mutex::default(),
            requests: AtomicU64::new(0),
            is_away: AtomicBool::new(false),
        });
        let accepting = Some(accept(listener, &shared));
        Receiver {
            address,
            shared,
            accepting,
        }
    }

    /// One that takes everything.
    pub(crate) fn willing() -> Receiver {
        Receiver::start(|_| Reply::Take)
    }

    /// From now on.
    pub(crate) fn behave(&self, behaviour: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        *self.shared.behaviour.lock().expect("whole") = Arc::new(behaviour);
    }

    /// Ends all connections and listens no more.
    pub(crate) fn leave(&mut self) {
        self.shared.is_away.store(true, Ordering::SeqCst);
        if let Some(accepting) = self.accepting.take() {
            accepting.join().expect("ends by itself");
        }
    }

    /// Is there again.
    pub(crate) fn come_back(&mut self) {
        self.shared.is_away.store(false, Ordering::SeqCst);
        let listener = TcpListener::bind(self.address).expect("its own port");
        self.accepting = Some(accept(listener, &self.shared));
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock().expect("whole")
    }

    /// Different updates that were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.book().taken
    }

    /// Requests so far, whatever became of them.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// The lines of a sink that delivers here.
    pub(crate) fn sink(&self, name: &str, lines: &str) -> String {
        format!(
            "name = \"{name}\"\ntype = \"http\"\nurl = \"http://{}/hook\"\n\
             retry_min = \"10ms\"\nretry_max = \"200ms\"\nheaders = {{ X-Life = {{ env = \"LIFE\" }} }}\n{lines}",
            self.address
        )
    }

    /// Nothing has happened that may never happen.
    pub(crate) fn check(&self) {
        let book = self.book();
        let faults = &book.faults;
        assert!(
            faults.is_empty(),
            "{} faults: {:#?}",
            faults.len(),
            &faults[..faults.len().min(10)]
        );
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.is_away.store(true, Ordering::SeqCst);
    }
}

impl Book {
    /// All that were taken in the request, in its order.
    fn take(&mut self, request: &Request) {
        for (update, position) in &request.updates {
            if request.replay.is_some() {
                *self.replayed.entry(*position).or_default() += 1;
                continue;
            }
            let seen = self
                .seen
                .entry((update.conversation, update.lane))
                .or_default();
            let seen_now = Seen {
                position: *position,
                life: request.life,
            };
            let number = update.number as usize;
            let next = seen.len();
            let fault = match seen.get_mut(number) {
                Some(before) => {
                    self.repeats += 1;
                    let life = std::mem::replace(&mut before.life, request.life);
                    if before.position != *position {
                        Some(format!("was taken as {:?} before", before.position))
                    } else if life == request.life {
                        Some("was taken in this life before".to_owned())
                    } else {
                        None
                    }
                }
                None if number == next => {
                    seen.push(seen_now);
                    self.taken += 1;
                    None
                }
                None => Some(format!("overtakes the one with the number {next}")),
            };
            if let Some(fault) = fault {
                self.faults.push(format!(
                    "{update:?} {position:?} in {}: {fault}",
                    request.life
                ));
            }
        }
    }

    /// The position under which each update was taken.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (Update, Position)> {
        self.seen.iter().flat_map(|(&(conversation, lane), all)| {
            let numbered = (0..).zip(all);
            numbered.map(move |(number, seen)| {
                let update = Update {
                    conversation,
                    lane,
                    number,
                };
                (update, seen.position)
            })
        })
    }
}

fn accept(listener: TcpListener, shared: &Arc<Shared>) -> JoinHandle<()> {
    listener.set_nonblocking(true).expect("set");
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        while !shared.is_away.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok((stream, _)) => {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || shared.serve(stream));
                }
                Err(_) => thread::sleep(TURN),
            }
        }
    })
}

impl Shared {
    /// Requests and answers, one after the other, until one side ends.
    fn serve(&self, mut stream: TcpStream) {
        stream.set_nonblocking(false).expect("set");
        stream.set_nodelay(true).expect("set");
        stream.set_read_timeout(Some(10 * TURN)).expect("set");
        let mut received = Vec::new();
        while let Some(request) = self.request(&mut stream, &mut received) {
            let behaviour = Arc::clone(&self.behaviour.lock().expect("whole"));
            let reply = behaviour(&request);
            let bytes = match reply {
                Reply::Take => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK".to_owned(),
                Reply::TakeAndCut => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nO".to_owned(),
                Reply::Refuse(status, fields) => {
                    format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n{fields}\r\nno")
                }
                Reply::Cut => "HTTP/1.1 200 OK\r\nConte".to_owned(),
                Reply::Close => return,
                Reply::Hang => {
                    while !matches!(stream.read(&mut [0]), Ok(0)) {
                        if self.is_away.load(Ordering::SeqCst) {
                            return;
                        }
                    }
                    return;
                }
            };
            if matches!(reply, Reply::Take | Reply::TakeAndCut) {
                // Before the answer: whatever follows from it comes later.
                self.book.lock().expect("whole").take(&request);
            }
            if stream.write_all(bytes.as_bytes()).is_err()
                || matches!(reply, Reply::TakeAndCut | Reply::Cut)
                || self.is_away.load(Ordering::SeqCst)
            {
                return;
            }
        }
    }

    fn request(&self, stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<Request> {
        let mut chunk = [0; 16 << 10];
        loop {
            if let Some((head, body, len)) = cut(received) {
                let number = self.requests.fetch_add(1, Ordering::SeqCst);
                let request = read(number, &head, &received[body..len]);
                received.drain(..len);
                return Some(request);
            }
            match stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(len) => received.extend_from_slice(&chunk[..len]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if received.is_empty() && self.is_away.load(Ordering::SeqCst) {
                        return None;
                    }
                }
                Err(_) => return None,
            }
        }
    }
}

/// The head of the first request, where its body begins, and its length.
fn cut(received: &[u8]) -> Option<(String, usize, usize)> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = str::from_utf8(&received[..end])
        .expect("ASCII")
        .to_ascii_lowercase();
    let len: usize = field(&head, "content-length")?.parse().expect("a number");
    (received.len() >= end + len).then_some((head, end, end + len))
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let lines = head.lines().skip(1);
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    values.next()
}

fn read(number: u64, head: &str, body: &[u8]) -> Request {
    let kind = field(head, "content-type").unwrap_or_default();
    let json: Value = serde_json::from_slice(body).expect("JSON");
    let mut replay = field(head, "hookline-replay").map(ToOwned::to_owned);
    let updates = if kind.starts_with("application/cloudevents") {
        let one = std::slice::from_ref(&json);
        let events = json.as_array().map_or(one, Vec::as_slice);
        replay = replay.or(events[0]["replay"].as_str().map(ToOwned::to_owned));
        events.iter().map(of_event).collect()
    } else {
        let sequence = field(head, "hookline-sequence").expect("it is there");
        let sequence = sequence.parse().expect("a number");
        let updates = Update::all_of(&json).into_iter().zip(0..);
        updates
            .map(|(update, index)| (update, (sequence, index)))
            .collect()
    };
    Request {
        number,
        updates,
        replay,
        life: field(head, "x-life")
            .and_then(|life| life.parse().ok())
            .unwrap_or(0),
    }
}

/// The update in an event, and its position.
pub(crate) fn of_event(event: &Value) -> (Update, Position) {
    let position = event["position"].as_str().expect("text");
    let (sequence, index) = position.split_once('.').expect("SEQ.INDEX");
    let position = (
        sequence.parse().expect("a number"),
        index.parse().expect("a number"),
    );
    (Update::of_data(&event["data"]), position)
}

/// How often a thread looks whether it is to go on.
const TURN: Duration = Duration::from_millis(2);
