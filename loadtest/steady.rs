//! A good load as a platform sends it: requests are due at fixed times, whatever has been answered.
//!
//! `steady PORT CONNECTIONS RATE SECONDS BODY` posts the file BODY to /webhook. Each connection has a thread and one
//! request unanswered at most; what is due meanwhile goes out as soon as it may, and its time runs from the moment at
//! which it was due. Prints one line of figures, times in microseconds, as `report.lua` does. `loadtest/hostile`
//! compiles and runs it; nothing but std is needed.

mod client;

use client::{Seen, Timetable, keep_time, quantile, request};
use std::thread;
use std::time::{Duration, Instant};

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
    let threads = (0..connections).map(|number| {
        let (request, first, pause) = (request.clone(), start + each * number, each * connections);
        thread::spawn(move || keep_time(port, Timetable { first, pause, end }, |_| request.clone()))
    });
    let mut all = Seen::gather(threads.collect());
    let duration = start.elapsed().as_micros();
    all.micros.sort_unstable();
    let at = |share| quantile(&all.micros, share);
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
