//! A consumer as a process of its own, which asks for events, keeps them, and then says so.

use super::common::client::{Client, post};
use super::process::{Process, free_address};
use super::queue::{PASSWORD, Queue, Taker};
use super::target::{Delivered, SINK, Target};
use rustix::process::Signal;
use serde_json::json;
use std::env;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

pub(crate) struct Consumer {
    queue: Queue,
    /// Where Hookline is asked.
    address: SocketAddr,
    process: Process,
}

impl Consumer {
    fn spawn(&self) -> Process {
        let mut command = super::process::role("pull::consumes");
        command.env(DIRECTORY, self.queue.path());
        command.env(ADDRESS, self.address.to_string());
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        Process::spawn(quiet.stderr(Stdio::null()))
    }
}

impl Target for Consumer {
    const EXACTLY_ONCE: bool = false;
    const COUNTS_KNOWN: bool = false;
    const NO_MEANING: &'static [(&'static str, &'static str)] = &[
        (
            "too_large_is_a_dead_letter",
            "a consumer is handed any event that there is, and nothing of such a sink is ever given up",
        ),
        (
            "replayed",
            "a consumer reads again with after=, see tests/pull.rs; `hookline replay` says so",
        ),
    ];
    const SHOWS_FAILURES: bool = false;

    fn start() -> Option<Consumer> {
        let mut consumer = Consumer {
            queue: Queue::new(),
            address: free_address(),
            process: Process::none(),
        };
        consumer.process = consumer.spawn();
        Some(consumer)
    }

    fn sink(&self) -> String {
        format!(
            "name = \"{SINK}\"\ntype = \"pull\"\ntoken = {{ env = \"PULL_PASSWORD\" }}\n[pull]\nlisten = \"{}\"",
            self.address
        )
    }

    fn password(&self) -> (&'static str, &'static str) {
        ("PULL_PASSWORD", PASSWORD)
    }

    fn state(&self) -> Option<PathBuf> {
        Some(self.queue.file("queue"))
    }

    fn kill(&mut self) {
        self.process.kill();
    }

    fn start_again(&mut self) {
        self.process = self.spawn();
    }

    fn stop(&mut self) {
        self.process.signal(Signal::STOP);
    }

    fn go_on(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// It is the consumer that logs in: with another password, that is.
    fn take_login(&mut self, takes: bool) {
        self.queue.take_login(takes);
    }

    /// It is not there yet.
    fn remove(&mut self) {
        self.kill();
    }

    fn create(&mut self) {
        self.start_again();
    }

    fn limit(&mut self, _bytes: usize) -> bool {
        false
    }

    fn delivered(&mut self) -> Vec<Delivered> {
        self.queue.delivered()
    }
}

#[test]
#[ignore = "the process that other tests start"]
fn consumes() {
    let (Some(directory), Ok(address)) = (env::var_os(DIRECTORY), env::var(ADDRESS)) else {
        return;
    };
    let taker = Taker::of(Path::new(&directory));
    let address = address.parse().expect("an address");
    loop {
        if consume(&taker, address).is_none() {
            thread::sleep(PAUSE);
        }
    }
}

/// Reads a page, keeps it, and commits it; nothing if any of that fails.
fn consume(taker: &Taker, address: SocketAddr) -> Option<()> {
    let mut client = Client::over(TcpStream::connect(address).ok()?);
    let login = format!("Authorization: Bearer {}\r\n", taker.password());
    let ask = format!("GET /v1/events?sink={SINK}&wait=1s HTTP/1.1\r\nHost: h\r\n{login}\r\n");
    let page = answer(&mut client, ask.as_bytes())?;
    let next = page.field("hookline-next")?;
    taker.take(&page.body).ok()?;
    let commit = json!({ "position": next }).to_string();
    let commit = post(&format!("/v1/cursors/{SINK}"), &login, commit.as_bytes());
    answer(&mut client, &commit).map(drop)
}

/// One of 200.
fn answer(client: &mut Client, request: &[u8]) -> Option<super::common::client::Answer> {
    if !client.try_send(request) {
        return None;
    }
    let answer = client.next_or_cut().ok()??;
    (answer.code == 200).then_some(answer)
}

/// Before it asks again whoever has refused it.
const PAUSE: Duration = Duration::from_millis(20);

/// Variables of the process.
const DIRECTORY: &str = "HOOKLINE_CONSUMER_DIRECTORY";
const ADDRESS: &str = "HOOKLINE_CONSUMER_ADDRESS";
