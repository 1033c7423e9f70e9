//! What the loads have in common: requests as a platform sends them, on connections that stay open.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// When the requests of one connection are due.
#[derive(Clone, Copy)]
pub struct Timetable {
    pub first: Instant,
    pub pause: Duration,
    pub end: Instant,
}

/// What one connection has seen, or several.
#[derive(Default)]
pub struct Seen {
    /// How long each answer took from the moment at which the request was due.
    pub micros: Vec<u64>,
    pub refused: usize,
    pub socket: usize,
}

impl Seen {
    /// What all connections have seen.
    pub fn gather(threads: Vec<JoinHandle<Seen>>) -> Seen {
        let mut all = Seen::default();
        for thread in threads {
            let seen = thread.join().expect("no thread panics");
            all.micros.extend(seen.micros);
            all.refused += seen.refused;
            all.socket += seen.socket;
        }
        all
    }
}

/// The time that this share of them does not exceed. They are sorted.
pub fn quantile(micros: &[u64], share: f64) -> u64 {
    let at = (micros.len() as f64 * share) as usize;
    micros.get(at).copied().unwrap_or(0)
}

/// Posts on one connection what `make` gives for each moment at which a request is due, whatever has been answered; one
/// request is unanswered at most.
pub fn keep_time(
    port: u16,
    Timetable { first, pause, end }: Timetable,
    mut make: impl FnMut(Instant) -> Vec<u8>,
) -> Seen {
    let (mut seen, mut due, mut open) = (Seen::default(), first, None);
    while due < end {
        // Whatever keeps us from it is late, not left out.
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            thread::sleep(early);
        }
        match ask(&mut open, port, &make(due)) {
            Ok(true) => {}
            Ok(false) => seen.refused += 1,
            Err(_) => {
                seen.socket += 1;
                open = None;
            }
        }
        seen.micros.push(due.elapsed().as_micros() as u64);
        due += pause;
    }
    seen
}

/// A post of this body to /webhook.
pub fn request(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: h\r\nUser-Agent: facebookexternalua\r\nAccept: */*\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// One request and its answer. True when that was 200.
fn ask(open: &mut Option<TcpStream>, port: u16, request: &[u8]) -> Result<bool> {
    let stream = match open {
        Some(stream) => stream,
        None => open.insert(connect(port)?),
    };
    stream.write_all(request)?;
    let (mut answer, mut len) = ([0; 4096], 0);
    while !answer[..len].ends_with(b"\r\n\r\n") {
        match stream.read(&mut answer[len..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => len += read,
        }
    }
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}

/// A connection that gives up after 10 s without an answer.
pub fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}
