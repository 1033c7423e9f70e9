//! A good load as a platform sends it: requests are due at fixed times, whatever has been answered.
//!
//! `steady PORT CONNECTIONS RATE SECONDS BODY` posts the file BODY to /webhook. Each connection has a thread and one
//! request unanswered at most; what is due meanwhile goes out as soon as it may, and its time runs from the moment at
//! which it was due. Prints one line of figures, times in microseconds, as `report.lua` does. `loadtest/hostile`
//! compiles and runs it; nothing but std is needed.

mod client;

use client::{ask, request};
use std::thread;
use std::time::{Duration, Instant};

/// What one connection has seen.
#[derive(Default)]
struct Seen {
    micros: Vec<u32>,
    refused: usize,
    socket: usize,
}

/// When the requests of one connection are due.
#[derive(Clone, Copy)]
struct Timetable {
    first: Instant,
    pause: Duration,
    end: Instant,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, connections, rate, seconds, body] = arguments.as_slice() else {
        panic!("steady PORT CONNECTIONS RATE SECONDS BODY");
    };
    let port: u16 = port.parse().expect("a port");
    let connections: u32 = connections.parse().expect("a number of connections");
    let rate: f64 = rate.parse().expect("requests a second");
    let seconds: u64 = seconds.parse().expect("seconds");
    let request = request(&std::fs::read(body).expect("a file"));

    let start = Instant::now() + Duration::from_millis(200);
    let end = start + Duration::from_secs(seconds);
    let each = Duration::from_secs_f64(1.0 / rate);
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let (request, first, pause) =
                (request.clone(), start + each * number, each * connections);
            thread::spawn(move || connection(port, &request, Timetable { first, pause, end }))
        })
        .collect();
    let mut all = Seen::default();
    for thread in threads {
        let seen = thread.join().expect("no thread panics");
        all.micros.extend(seen.micros);
        all.refused += seen.refused;
        all.socket += seen.socket;
    }
    let duration = start.elapsed().as_micros();
    all.micros.sort_unstable();
    let at = |share: f64| {
        all.micros
            .get((all.micros.len() as f64 * share) as usize)
            .unwrap_or(&0)
    };
    println!(
        "FIGURES requests={} duration={duration} refused={} socket={} p50={} p99={} p999={}",
        all.micros.len(),
        all.refused,
        all.socket,
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

fn connection(port: u16, request: &[u8], Timetable { first, pause, end }: Timetable) -> Seen {
    let (mut seen, mut due, mut open) = (Seen::default(), first, None);
    while due < end {
        // Whatever keeps us from it is late, not left out.
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            thread::sleep(early);
        }
        match ask(&mut open, port, request) {
            Ok(true) => {}
            Ok(false) => seen.refused += 1,
            Err(_) => {
                seen.socket += 1;
                open = None;
            }
        }
        seen.micros
            .push(due.elapsed().as_micros().try_into().unwrap_or(u32::MAX));
        due += pause;
    }
    seen
}
