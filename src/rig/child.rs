//! The server on trial: a child process that is started, listened to and killed.
//!
//! Its configuration comes over its standard input and its secrets over the environment, so no file is needed; other
//! variables of Hookline are taken from its environment. What it says goes to a log.

use super::samples::random;
use super::site::Site;
use aws_lc_rs::hmac;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How to start one.
pub(crate) struct Launcher {
    program: PathBuf,
    journal: PathBuf,
    secret: String,
    config: String,
    log: Arc<Mutex<Log>>,
}

/// What all servers have said: in a file, and the end of it for messages.
struct Log {
    file: File,
    last: String,
}

impl Launcher {
    /// `settings` is a configuration without endpoints; [`PATH`] is added to it.
    pub(crate) fn new(program: PathBuf, site: &Site, settings: &str) -> io::Result<Launcher> {
        let last = String::new();
        let file = site.log()?;
        Ok(Launcher {
            program,
            journal: site.journal(),
            // Good for this trial alone, on a loopback address: it has to be new, and no more.
            secret: format!("{:016x}{:016x}", random(), random()),
            config: format!("{settings}{ENDPOINT}"),
            log: Arc::new(Mutex::new(Log { file, last })),
        })
    }

    /// What its servers want posts to be signed with.
    pub(crate) fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes())
    }

    pub(crate) fn start(&self) -> io::Result<Server> {
        let mut command = Command::new(&self.program);
        // A `kill -9` of this process must not leave one behind that runs for ever. This is the main thread, as it
        // has to be: the server goes when the thread ends that started it.
        let parent = std::process::id().to_string();
        command.args(["serve", "--with-parent", &parent]);
        command.args(["--config", "/dev/stdin", "--data-dir"]);
        command.arg(&self.journal);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(name)) {
            command.env_remove(name);
        }
        command.env(SECRET, &self.secret).env(TOKEN, &self.secret);
        // The greeting is read below.
        command.env("HOOKLINE__LOG__FORMAT", "text");
        // A Ctrl-C on the terminal is for this process, which then ends its child.
        command.process_group(0);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn()?;
        let input = child.stdin.take();
        let output = child.stderr.take();
        let (greeting_sender, greeting) = bounded(1);
        let (metrics_sender, metrics) = bounded(1);
        // Guarded from here on.
        let mut server = Server {
            child,
            started,
            greeting,
            metrics,
            reading: None,
            log: Arc::clone(&self.log),
        };
        if let Some(mut input) = input {
            // One that has ended already says why.
            let _ = input.write_all(self.config.as_bytes());
        }
        if let Some(output) = output.map(BufReader::new) {
            let log = Arc::clone(&self.log);
            let read = move || listen(output, &log, &greeting_sender, &metrics_sender);
            let thread = thread::Builder::new().name("server-log".to_owned());
            server.reading = Some(thread.spawn(read)?);
        }
        Ok(server)
    }
}

/// A server that was started. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    started: Instant,
    greeting: Receiver<(SocketAddr, Instant)>,
    metrics: Receiver<SocketAddr>,
    reading: Option<JoinHandle<()>>,
    log: Arc<Mutex<Log>>,
}

/// One that takes posts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) address: SocketAddr,
    /// From the start until it said so, recovery included.
    pub(crate) after: Duration,
}

impl Server {
    /// Waits until it takes posts; the error says why it does not.
    pub(crate) fn ready(&mut self) -> Result<Ready, String> {
        match self.greeting.recv_timeout(PATIENCE) {
            Ok((address, at)) => Ok(Ready {
                address,
                after: at.duration_since(self.started),
            }),
            Err(RecvTimeoutError::Timeout) => Err(format!(
                "it does not take posts after {} s",
                PATIENCE.as_secs()
            )),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    /// Where its metrics are, for one that has an admin listener.
    pub(crate) fn metrics(&self) -> Option<SocketAddr> {
        self.metrics.recv_timeout(END_MAX).ok()
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, for one that has by itself.
    pub(crate) fn ended(&mut self) -> String {
        let deadline = Instant::now() + END_MAX;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status.to_string(),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
                Ok(None) => return "it still runs".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        self.read_to_end();
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{status}; it said: {}", log.last)
    }

    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_none() {
            // With all that it may have started itself.
            kill_process_group(Pid::from_child(&self.child), Signal::KILL)?;
            self.child.wait()?;
        }
        self.read_to_end();
        Ok(())
    }

    /// Waits until all that it has said is in the log.
    fn read_to_end(&mut self) {
        if let Some(reading) = self.reading.take() {
            // It has nothing but the log to panic with.
            let _ = reading.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Twice does no harm.
        let _ = self.end();
    }
}

/// Puts every line in the log, and reports where posts are taken.
fn listen(
    output: impl BufRead,
    log: &Mutex<Log>,
    greeting: &Sender<(SocketAddr, Instant)>,
    metrics: &Sender<SocketAddr>,
) {
    for line in output.lines().map_while(Result::ok) {
        // Each is said once by each server; further lines are only logged.
        if let Some(address) = address(&line, "POST to") {
            let _ = greeting.try_send((address, Instant::now()));
        } else if let Some(address) = address(&line, "metrics") {
            let _ = metrics.try_send(address);
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk is found by the server as well.
        let _ = writeln!(log.file, "{line}");
        log.last = line;
    }
}

/// `hookline: POST to  http://127.0.0.1:8080/webhook`
fn address(line: &str, label: &str) -> Option<SocketAddr> {
    let rest = line.strip_prefix("hookline: ")?.strip_prefix(label)?;
    let rest = rest.trim_start();
    rest.strip_prefix("http://")?
        .split('/')
        .next()?
        .parse()
        .ok()
}

fn is_ours(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"HOOKLINE")
}

/// Where posts are taken.
pub(crate) const PATH: &str = "/webhook";

const SECRET: &str = "HOOKLINE_TRIAL_SECRET";
const TOKEN: &str = "HOOKLINE_TRIAL_TOKEN";

const ENDPOINT: &str = r#"
[[endpoint]]
path = "/webhook"
provider = "meta"
app_secret = { env = "HOOKLINE_TRIAL_SECRET" }
verify_token = { env = "HOOKLINE_TRIAL_TOKEN" }
"#;

/// Longest recovery.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a server may take to end after its connections have.
const END_MAX: Duration = Duration::from_secs(5);
