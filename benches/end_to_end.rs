//! A whole server on loopback: the time for one request, in both ways of answering, on one connection and on 64.
//!
//! `stored` waits for the disk, so it measures the disk under the temporary directory first of all; with 64 connections
//! one sync serves many. The client is one thread that writes to all connections and then reads from all, so the
//! figures hold its work too. For rates and for the server's own CPU time see `loadtest/run`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel::never;
use hookline::testing::config::{Config, Environment, Flags};
use hookline::testing::server::Server;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tempfile::TempDir;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = requests
}
criterion_main!(benches);

fn requests(criterion: &mut Criterion) {
    let request = request();
    for ack in ["received", "stored"] {
        let (server, directory) = start(ack);
        let mut group = criterion.benchmark_group(ack);
        for count in [1, 64] {
            let mut connections: Vec<_> = (0..count).map(|_| connect(server.address())).collect();
            group.throughput(Throughput::Elements(count));
            group.bench_function(BenchmarkId::new("connections", count), |bencher| {
                bencher.iter(|| {
                    for connection in &mut connections {
                        connection.write_all(&request).expect("the server reads");
                    }
                    for connection in &mut connections {
                        read_ok(connection);
                    }
                });
            });
        }
        group.finish();
        server.stop(&never()).expect("everything is stored");
        drop(directory);
    }
}

/// A server of its own, with a journal that goes when the directory is dropped.
fn start(ack: &str) -> (Server, TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("hookline.toml");
    let journal = directory.path().join("journal");
    let journal = journal.display();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n\
         [journal]\ndir = {journal:?}\nsegment_size = \"64MiB\"\nretention = \"0s\"\n\
         [admin]\nlisten = \"off\"\n\
         [[endpoint]]\npath = \"/webhook\"\nprovider = \"meta\"\naccept_unsigned = true\nack = \"{ack}\"\n"
    );
    fs::write(&path, text).expect("the configuration is written");
    let (config, _) = Config::load(Some(&path), &Environment::new(), &Flags::default())
        .expect("the configuration is right");
    (
        Server::start(&config).expect("the server starts"),
        directory,
    )
}

fn connect(address: SocketAddr) -> TcpStream {
    let connection = TcpStream::connect(address).expect("the server listens");
    connection.set_nodelay(true).expect("the option is known");
    connection
}

/// Reads one answer: 200 without a body.
fn read_ok(connection: &mut TcpStream) {
    let mut answer = [0; 512];
    let mut len = 0;
    while !answer[..len].ends_with(b"\r\n\r\n") {
        let read = connection.read(&mut answer[len..]).expect("an answer");
        assert!(read > 0, "the server closed the connection");
        len += read;
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "refused");
}

fn request() -> Vec<u8> {
    let body = include_str!("../src/rig/samples/text.json");
    format!(
        "POST /webhook HTTP/1.1\r\nHost: hooks.example.com\r\nUser-Agent: facebookexternalua\r\n\
         Accept: */*\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
