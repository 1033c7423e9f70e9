//! A receiver of requests as a process of its own: it keeps an event before it answers with 200.

use super::process::{Process, free_address};
use super::queue::{ATTEMPTS, FEW_ATTEMPTS, PASSWORD, Queue, Taker};
use super::target::{Delivered, SINK, Target};
use rustix::process::Signal;
use std::env;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

pub(crate) struct HttpReceiver {
    queue: Queue,
    address: SocketAddr,
    process: Process,
    max_attempts: u32,
}

impl HttpReceiver {
    fn spawn(&self) -> Process {
        let mut command = super::process::role("http::receives");
        command.env(DIRECTORY, self.queue.path());
        command.env(ADDRESS, self.address.to_string());
        Process::start(&mut command, self.address)
    }
}

impl Target for HttpReceiver {
    const EXACTLY_ONCE: bool = false;
    const COUNTS_KNOWN: bool = false;
    const KNOWS_SIZES: bool = false;

    fn start() -> Option<HttpReceiver> {
        let mut receiver = HttpReceiver {
            queue: Queue::new(),
            address: free_address(),
            process: Process::none(),
            max_attempts: ATTEMPTS,
        };
        receiver.process = receiver.spawn();
        Some(receiver)
    }

    fn sink(&self) -> String {
        format!(
            "name = \"{SINK}\"\ntype = \"http\"\nurl = \"http://{}/events\"\nunit = \"event\"\nmode = \"structured\"\n\
             headers = {{ Authorization = {{ env = \"HTTP_PASSWORD\" }} }}\nretry_min = \"10ms\"\n\
             retry_max = \"200ms\"\nmax_attempts = {}",
            self.address, self.max_attempts
        )
    }

    fn password(&self) -> (&'static str, &'static str) {
        ("HTTP_PASSWORD", PASSWORD)
    }

    fn give_up_soon(&mut self) {
        self.max_attempts = FEW_ATTEMPTS;
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

    fn take_login(&mut self, takes: bool) {
        self.queue.take_login(takes);
    }

    fn remove(&mut self) {
        self.queue.remove();
    }

    fn create(&mut self) {
        self.queue.create();
    }

    fn limit(&mut self, bytes: usize) -> bool {
        self.queue.limit(bytes);
        true
    }

    fn delivered(&mut self) -> Vec<Delivered> {
        self.queue.delivered()
    }
}

#[test]
#[ignore = "the process that other tests start"]
fn receives() {
    let (Some(directory), Ok(address)) = (env::var_os(DIRECTORY), env::var(ADDRESS)) else {
        return;
    };
    let directory = PathBuf::from(directory);
    let listener = TcpListener::bind(address).expect("its port is free");
    for stream in listener.incoming().map_while(Result::ok) {
        let directory = directory.clone();
        thread::spawn(move || serve(stream, &directory));
    }
}

/// Requests over one connection.
fn serve(stream: TcpStream, directory: &Path) {
    stream.set_nodelay(true).expect("set");
    let taker = Taker::of(directory);
    let mut reader = BufReader::new(stream);
    while let Some((authorization, mut body)) = request(&mut reader) {
        body.push(b'\n');
        let answer = if authorization != taker.password() {
            "401 Unauthorized"
        } else if body.len() > taker.limit() {
            "413 Content Too Large"
        } else if taker.take(&body).is_ok() {
            "200 OK"
        } else {
            "404 Not Found"
        };
        let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// What it shows, and its body.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut authorization, mut len) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.clone_into(&mut authorization),
            "content-length" => len = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    Some((authorization, body))
}

/// Variables of the process.
const DIRECTORY: &str = "HOOKLINE_RECEIVER_DIRECTORY";
const ADDRESS: &str = "HOOKLINE_RECEIVER_ADDRESS";
