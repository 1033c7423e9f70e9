//! A private server for each test, as a process of its own with its own directory and port, and a client that
//! shows every byte.
//!
//! Waits are generous and end with a panic that says what was waited for; no test measures time.

#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses its own part of this"
)]

pub(crate) mod client;
pub(crate) mod delivered;
pub(crate) mod disk;
pub(crate) mod load;
pub(crate) mod sign;
pub(crate) mod strace;
pub(crate) mod verb;

use hookline::testing::disk::Disk;
use hookline::testing::journal::Reader;
use hookline::testing::journal::batch::Batch;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longest wait for anything that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A directory with a configuration and a journal: what stays when a server goes.
#[derive(Debug)]
pub(crate) struct Site {
    directory: tempfile::TempDir,
    server: String,
    limits: String,
    journal: String,
    rest: String,
    variables: Vec<(String, String)>,
}

impl Site {
    /// One loop, one worker, any free port, no endpoint yet. A disk that others keep busy makes answers wait, and no
    /// test fails for that: the deadline is the longest.
    pub(crate) fn new() -> Site {
        let server = "listen = \"127.0.0.1:0\"\nack_deadline = \"1m\"\nloops = 1\nworkers = 1\npin = false\n";
        Site {
            directory: tempfile::tempdir().expect("a directory"),
            server: server.to_owned(),
            limits: String::new(),
            journal: "segment_size = \"16MiB\"\nmax_size = \"1GiB\"\n".to_owned(),
            rest: String::new(),
            variables: Vec::new(),
        }
    }

    /// One endpoint, `/webhook`, that takes unsigned posts and knows the token `token`.
    pub(crate) fn unsigned() -> Site {
        Site::new().endpoint(UNSIGNED).variable("TOKEN", "token")
    }

    /// A line of `[server]`, in place of an earlier one with the same key.
    pub(crate) fn server(mut self, line: &str) -> Site {
        set(&mut self.server, line);
        self
    }

    /// A line of `[limits]`.
    pub(crate) fn limits(mut self, line: &str) -> Site {
        set(&mut self.limits, line);
        self
    }

    /// A line of `[journal]`.
    pub(crate) fn journal(mut self, line: &str) -> Site {
        set(&mut self.journal, line);
        self
    }

    /// The lines of an `[[endpoint]]`.
    pub(crate) fn endpoint(mut self, lines: &str) -> Site {
        let _ = write!(self.rest, "[[endpoint]]\n{lines}\n");
        self
    }

    /// Takes all endpoints and sinks away.
    pub(crate) fn without_endpoints(mut self) -> Site {
        self.rest.clear();
        self
    }

    /// The lines of a `[[sink]]`.
    pub(crate) fn sink(mut self, lines: &str) -> Site {
        let _ = write!(self.rest, "[[sink]]\n{lines}\n");
        self
    }

    /// An environment variable. The server gets no others.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Site {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn journal_dir(&self) -> PathBuf {
        self.path().join("journal")
    }

    /// Writes the configuration and gives its path.
    pub(crate) fn write_config(&self) -> PathBuf {
        let path = self.path().join("hookline.toml");
        let text = format!(
            "[server]\n{}[limits]\n{}[journal]\ndir = \"{}\"\n{}[admin]\nlisten = \"127.0.0.1:0\"\n{}",
            self.server,
            self.limits,
            self.journal_dir().display(),
            self.journal,
            self.rest,
        );
        fs::write(&path, text).expect("written");
        path
    }

    /// The command that serves here.
    pub(crate) fn command(&self) -> Command {
        let config = self.write_config();
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg("--config").arg(config);
        command.env_clear().current_dir(self.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a server and waits until it answers.
    pub(crate) fn start(&self) -> Running {
        Running::spawn(self.command())
    }

    /// Runs the server until it ends by itself, as it does when it cannot start.
    pub(crate) fn run(&self) -> Output {
        ended(self.command())
    }

    /// Every stored body, in order, as `hookline tail --bodies` prints it.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        bodies(&self.journal_dir())
    }

    /// Every event, in order, as `hookline tail` prints it.
    pub(crate) fn events(&self) -> Vec<Value> {
        let output = tail(&self.journal_dir(), &[]);
        let lines = output.stdout.split(|&byte| byte == b'\n');
        lines
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("each line is JSON"))
            .collect()
    }

    /// Every stored body with its sequence, read through the library.
    pub(crate) fn records(&self) -> Vec<(u64, Vec<u8>)> {
        let mut records = Vec::new();
        self.each_batch(|batch| {
            let numbered = (batch.first_sequence()..).zip(batch.records());
            records.extend(numbered.map(|(sequence, record)| (sequence, record.body.to_vec())));
        });
        records
    }

    /// Highest sequence that was durable when the last frame was written. All frames that say the same were to be made
    /// durable together.
    pub(crate) fn durable_before_the_last_commit(&self) -> u64 {
        let mut durable = 0;
        self.each_batch(|batch| {
            let field = batch.frame()[40..].first_chunk().expect("a whole header");
            durable = u64::from_le_bytes(*field);
        });
        durable
    }

    fn each_batch(&self, mut look: impl FnMut(&Batch)) {
        let disk = Disk::open(&self.journal_dir()).expect("there is a journal");
        let mut reader = Reader::open(Arc::new(disk), 0).expect("it can be read");
        while let Some(batch) = reader.next(None).expect("it is whole") {
            look(&batch);
        }
    }

    /// `hookline journal verify` finds nothing wrong.
    pub(crate) fn verify(&self) {
        let arguments = ["journal", "verify", "--output", "json", "--data-dir"];
        let output = Command::new(PROGRAM)
            .args(arguments)
            .arg(self.journal_dir())
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "the journal is whole: {output:?}");
    }
}

/// Every stored body of the journal in `dir`, in order.
pub(crate) fn bodies(dir: &Path) -> Vec<Vec<u8>> {
    let output = tail(dir, &["--bodies"]);
    let text = String::from_utf8(output.stdout).expect("base64");
    text.lines().map(sign::from_base64).collect()
}

fn tail(dir: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(PROGRAM)
        .arg("tail")
        .args(arguments)
        .arg("--data-dir")
        .arg(dir)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    output
}

/// Runs a command that has to end by itself.
pub(crate) fn ended(mut command: Command) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut child = Guarded(Some(child));
    let running = child.0.as_mut().expect("not taken yet");
    eventually("the program ends", || {
        running.try_wait().expect("can be asked").is_some()
    });
    let child = child.0.take().expect("not taken yet");
    child.wait_with_output().expect("its output is readable")
}

/// A child that does not outlive the test, whatever happens.
pub(crate) struct Guarded(pub(crate) Option<Child>);

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A server that runs. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Where posts are taken.
    pub(crate) address: SocketAddr,
    /// Where metrics are.
    pub(crate) admin: Option<SocketAddr>,
    stderr: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts the command and reads its greeting.
    pub(crate) fn spawn(command: Command) -> Running {
        Running::spawn_onto(command, Stdio::null())
    }

    /// With this as its stdout.
    pub(crate) fn spawn_onto(mut command: Command, stdout: Stdio) -> Running {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let stderr = Arc::new(Mutex::new(String::new()));
        let (greeted, greeting) = mpsc::channel();
        let text = Arc::clone(&stderr);
        let reading = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut text = text.lock().expect("nobody panics with it");
                text.push_str(&line);
                text.push('\n');
                let _ = greeted.send(line);
            }
        });
        let mut running = Running {
            child,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            admin: None,
            stderr,
            reading: Some(reading),
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = greeting.recv_timeout(left) else {
                panic!("no greeting from the server:\n{}", running.stderr());
            };
            if running.is_greeted_by(&line) {
                return running;
            }
        }
    }

    /// The event that has the addresses, or the last of the lines at a terminal.
    fn is_greeted_by(&mut self, line: &str) -> bool {
        if let Ok(event) = serde_json::from_str::<Value>(line) {
            let address = |key: &str| event[key].as_str().and_then(|text| text.parse().ok());
            if event["message"] != "hookline runs" {
                return false;
            }
            self.address = address("address").expect("it has one");
            self.admin = address("admin");
            return true;
        }
        if let Some(address) = address_after(line, "hookline: POST to  http://") {
            self.address = address;
        } else if let Some(address) = address_after(line, "hookline: metrics  http://") {
            self.admin = Some(address);
        }
        line.starts_with("hookline: try ")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its first sink of type `pull` is read.
    pub(crate) fn pull(&self) -> SocketAddr {
        let text = self.stderr();
        let mut events = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let address = events.find_map(|event| event["pull"].as_str()?.parse().ok());
        address.expect("it says so when it starts")
    }

    /// The id of its thread of this name, of which Linux keeps 15 bytes.
    pub(crate) fn thread(&self, name: &str) -> Option<u32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
        let is_it = |path: &PathBuf| {
            fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        let mut paths = tasks.map(|task| task.expect("readable").path());
        let path = paths.find(is_it)?;
        path.file_name()?.to_str()?.parse().ok()
    }

    /// Everything on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().expect("nobody panics with it").clone()
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> client::Client {
        client::Client::connect(self.address)
    }

    /// The metrics page.
    pub(crate) fn metrics(&self) -> String {
        let (code, text) = self.admin_page("/metrics").expect("it is served");
        assert_eq!(code, 200);
        text
    }

    /// Code and text of an admin page; `None` once the server is gone.
    pub(crate) fn admin_page(&self, path: &str) -> Option<(u16, String)> {
        let admin = self.admin.expect("the admin pages are served");
        let mut client = client::Client::over(TcpStream::connect(admin).ok()?);
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        client.try_send(request.as_bytes());
        let answer = client.next_or_cut().ok()??;
        let text = String::from_utf8(answer.body).expect("text");
        Some((answer.code, text))
    }

    /// The value of one line of the metrics page, 0 when there is none.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let page = self.metrics();
        let line = page.lines().find_map(|line| {
            line.strip_prefix(series)
                .and_then(|rest| rest.strip_prefix(' '))
        });
        line.map_or(0, |value| value.parse().expect("a whole number"))
    }

    /// True once the sink has confirmed everything that is durable, in each lane.
    pub(crate) fn is_delivered(&self, sink: &str) -> bool {
        let page = self.metrics();
        let prefix = format!("hookline_sink_lag_notifications{{sink=\"{sink}\",");
        let lanes: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with(&prefix))
            .collect();
        assert_eq!(lanes.len(), 3, "{page}");
        lanes.iter().all(|line| line.ends_with(" 0"))
    }

    /// `VmRSS` and the like, in bytes.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|rest| rest.trim_matches([':', ' ', '\t']).strip_suffix(" kB"));
        kib.expect("the field is there")
            .trim()
            .parse::<u64>()
            .expect("a number")
            * 1024
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM, and the wait for the end.
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let child = &mut self.child;
        eventually("the server ends", || {
            child.try_wait().expect("can be asked").is_some()
        });
        let status = self.child.wait().expect("has ended");
        if let Some(reading) = self.reading.take() {
            reading.join().expect("reads to the end");
        }
        (status, self.stderr())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has said at its end.
pub(crate) fn last_words(stderr: &str) -> String {
    let last = stderr.lines().last().unwrap_or_default();
    match serde_json::from_str::<Value>(last) {
        Ok(event) if event["level"] == "ERROR" => {
            event["message"].as_str().unwrap_or_default().to_owned()
        }
        _ => last
            .strip_prefix("hookline: ")
            .unwrap_or_default()
            .to_owned(),
    }
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The number in an environment variable, or `default`.
pub(crate) fn number_from_env(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn address_after(line: &str, prefix: &str) -> Option<SocketAddr> {
    line.strip_prefix(prefix)?.split('/').next()?.parse().ok()
}

/// Puts `line` in the place of the line with the same key, or at the end.
fn set(lines: &mut String, line: &str) {
    let key = line.split(' ').next().expect("a key");
    let kept = lines
        .lines()
        .filter(|kept| kept.split(' ').next() != Some(key));
    let mut kept: String = kept.flat_map(|kept| [kept, "\n"]).collect();
    kept.push_str(line);
    kept.push('\n');
    *lines = kept;
}

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_hookline");

/// Takes posts from anyone, and handshakes with `$TOKEN`.
pub(crate) const UNSIGNED: &str = "path = \"/webhook\"\nprovider = \"meta\"\nverify_token = { env = \"TOKEN\" }\naccept_unsigned = true\n";
