//! The other ends of a delivery: who sends notifications, each a new one, and who takes them in the end.
//!
//! - `delivery send PORT CONNECTIONS RATE SECONDS BODY` posts to /webhook at fixed times, whatever has been answered,
//!   with one request unanswered on each connection at most. Times run from the moment at which a request was due.
//! - `delivery fill PORT CONNECTIONS COUNT BODY...` posts so many as fast as they are taken, [`DEPTH`] of them
//!   unanswered on each connection, each body in its turn.
//! - `delivery receive PORT RATE` answers 200, `RATE` times a second at most, one after the other; until its standard
//!   input ends. A delivery is there when it is answered, so what waits for its turn counts as waiting.
//!
//! A BODY is a file with one message or status; each request gets it with a name of its own, `wamid.` and the
//! microseconds since 1970 at which it was due, from one of [`PARTIES`] parties. That is how the receiver knows the
//! lag. Each prints one line of figures, times in microseconds. `loadtest/delivery` compiles and runs it; nothing but
//! std is needed.

mod client;

use client::{Seen, Timetable, connect, keep_time, quantile, request};
use std::io::{BufRead, BufReader, ErrorKind, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Requests that are unanswered on a connection while it fills.
const DEPTH: usize = 32;

/// So many parties take turns, in no order that is theirs alone.
const PARTIES: usize = 10_000;

/// How far behind its rate the receiver may be and make up for it.
const BURST: Duration = Duration::from_millis(10);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["send", port, connections, rate, seconds, body] => send(
            number(port),
            number(connections),
            number(rate),
            number(seconds),
            &Template::of(body),
        ),
        ["fill", port, connections, count, bodies @ ..] if !bodies.is_empty() => {
            let templates: Vec<Template> = bodies.iter().map(|body| Template::of(body)).collect();
            fill(number(port), number(connections), number(count), &templates);
        }
        ["receive", port, rate] => receive(number(port), number(rate)),
        _ => panic!("send, fill or receive, and what they need"),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is no number of this kind"))
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).expect("after 1970");
    since
        .as_micros()
        .try_into()
        .expect("before the year 500000")
}

/// A request in which some digits are replaced.
#[derive(Clone)]
struct Template {
    request: Vec<u8>,
    names: Vec<usize>,
    phones: Vec<usize>,
    users: Vec<usize>,
}

impl Template {
    fn of(path: &str) -> Template {
        let body = std::fs::read(path).expect("a file");
        let request = request(&body);
        let find = |text: &str, skip: usize| {
            let found = places(&request, text.as_bytes());
            found.map(|at| at + skip).collect()
        };
        let names = find(NAME, NAME.len());
        let phones = find("\"15550100042\"", "\"1555010".len());
        let users = find("\"US.14000000000000000042\"", "\"US.1400000000000000".len());
        Template {
            request,
            names,
            phones,
            users,
        }
    }

    /// The request with this number, due at `due`.
    fn make(&mut self, due: u64, number: usize) -> &[u8] {
        let name = format!("{due:016}{number:012}");
        // Neighbours are of different parties, and each party comes again after all others.
        let party = number.wrapping_mul(7919) % PARTIES;
        let mut put = |places: &[usize], text: &str| {
            for at in places {
                self.request[*at..at + text.len()].copy_from_slice(text.as_bytes());
            }
        };
        put(&self.names, &name);
        put(&self.phones, &format!("{party:04}"));
        put(&self.users, &format!("{party:04}"));
        &self.request
    }
}

const NAME: &str = "\"wamid.";

fn places<'t>(text: &'t [u8], wanted: &'t [u8]) -> impl Iterator<Item = usize> + 't {
    let windows = text.windows(wanted.len()).enumerate();
    windows
        .filter(move |(_, window)| *window == wanted)
        .map(|(at, _)| at)
}

fn send(port: u16, connections: u32, rate: f64, seconds: u64, template: &Template) {
    let start = Instant::now() + Duration::from_millis(200);
    let wall = SystemTime::now() + Duration::from_millis(200);
    let end = start + Duration::from_secs(seconds);
    let each = Duration::from_secs_f64(1.0 / rate);
    let numbers = Arc::new(AtomicUsize::new(0));
    let threads = (0..connections).map(|place| {
        let (mut template, numbers) = (template.clone(), Arc::clone(&numbers));
        let (first, pause) = (start + each * place, each * connections);
        let make = move |due| {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let request = template.make(micros(wall + (due - start)), number);
            request.to_vec()
        };
        thread::spawn(move || keep_time(port, Timetable { first, pause, end }, make))
    });
    let mut all = Seen::gather(threads.collect());
    let (refused, socket) = (all.refused, all.socket);
    println!(
        "FIGURES {} refused={refused} socket={socket}",
        percentiles("", &mut all.micros)
    );
}

fn percentiles(name: &str, micros: &mut [u64]) -> String {
    micros.sort_unstable();
    let at = |share| quantile(micros, share);
    format!(
        "{name}count={} {name}p50={} {name}p99={} {name}p999={} {name}max={}",
        micros.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        micros.last().unwrap_or(&0)
    )
}

fn fill(port: u16, connections: usize, count: usize, templates: &[Template]) {
    let numbers = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let (mut templates, numbers) = (templates.to_vec(), Arc::clone(&numbers));
            thread::spawn(move || -> Result<usize> {
                let mut stream = connect(port)?;
                let (mut taken, mut bytes, mut answers) = (0, Vec::new(), vec![0; 64 << 10]);
                loop {
                    let first = numbers.fetch_add(DEPTH, Ordering::Relaxed);
                    let some = DEPTH.min(count.saturating_sub(first));
                    if some == 0 {
                        return Ok(taken);
                    }
                    bytes.clear();
                    let now = micros(SystemTime::now());
                    for number in first..first + some {
                        let template = number % templates.len();
                        bytes.extend_from_slice(templates[template].make(now, number));
                    }
                    stream.write_all(&bytes)?;
                    let (mut here, mut kept) = (0, 0);
                    while here < some {
                        let read = stream.read(&mut answers[kept..])?;
                        if read == 0 {
                            return Err(ErrorKind::UnexpectedEof.into());
                        }
                        let len = kept + read;
                        let ends = places(&answers[..len], b"\r\n\r\n");
                        let Some(end) = ends.inspect(|_| here += 1).last() else {
                            kept = len;
                            continue;
                        };
                        taken += places(&answers[..end], b"HTTP/1.1 200 ").count();
                        answers.copy_within(end + 4..len, 0);
                        kept = len - end - 4;
                    }
                }
            })
        })
        .collect();
    let taken: usize = threads
        .into_iter()
        .map(|thread| {
            thread
                .join()
                .expect("no thread panics")
                .expect("no connection fails")
        })
        .sum();
    println!(
        "FIGURES count={taken} duration={}",
        started.elapsed().as_micros()
    );
}

/// What the receiver has had: the lag of each message, and of each status.
#[derive(Default)]
struct Taken {
    messages: Vec<u64>,
    statuses: Vec<u64>,
    next: Option<Instant>,
}

fn receive(port: u16, rate: f64) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let taken = Arc::new(Mutex::new(Taken::default()));
    let all = Arc::clone(&taken);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let taken = Arc::clone(&all);
            // One that ends its connection, or sends something else, is not heard any more.
            thread::spawn(move || take(stream, &taken, Duration::from_secs_f64(1.0 / rate)));
        }
    });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let mut taken = taken.lock().expect("no thread panics");
    let messages = percentiles("messages_", &mut taken.messages);
    let statuses = percentiles("statuses_", &mut taken.statuses);
    println!("FIGURES {messages} {statuses}");
}

fn take(stream: TcpStream, taken: &Mutex<Taken>, each: Duration) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut answers = stream.try_clone()?;
    let mut input = BufReader::with_capacity(64 << 10, stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let field = line.trim_end();
            if field.is_empty() {
                break;
            }
            if let Some((name, value)) = field.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = number(value.trim());
            }
        }
        body.resize(length, 0);
        input.read_exact(&mut body)?;
        let turn = {
            let mut taken = taken.lock().expect("no thread panics");
            let oldest = Instant::now() - BURST;
            let turn = taken.next.unwrap_or(oldest).max(oldest);
            taken.next = Some(turn + each);
            turn
        };
        if let Some(early) = turn.checked_duration_since(Instant::now()) {
            thread::sleep(early);
        }
        let begin = places(&body, NAME.as_bytes())
            .next()
            .map_or(0, |at| at + NAME.len());
        let due = body
            .get(begin..begin + 16)
            .and_then(|digits| str::from_utf8(digits).ok());
        let due: u64 = number(due.unwrap_or_default());
        let lag = micros(SystemTime::now()).saturating_sub(due);
        let is_status = places(&body, b"\"statuses\":").next().is_some();
        let mut taken = taken.lock().expect("no thread panics");
        let lane = if is_status {
            &mut taken.statuses
        } else {
            &mut taken.messages
        };
        lane.push(lag);
        drop(taken);
        answers.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}
