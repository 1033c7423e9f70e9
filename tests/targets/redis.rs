//! redis-server as Debian has it, Valkey for what that lacks, and a client of a few lines that shows what lies there.

mod client;
mod cases;

use super::common::eventually;
use super::process::{Process, free_address, program};
use super::target::{Delivered, SINK, Target};
pub(crate) use client::{Client, Entry, Reply};
use rustix::process::Signal;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// A private server, with a stream.
pub(crate) struct RedisServer {
    program: String,
    directory: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    process: Process,
    takes_login: bool,
    /// Further lines of its configuration.
    settings: String,
}

/// It with a sink whose ids are positions.
pub(crate) struct ByPosition(pub(crate) RedisServer);

/// It with a sink that leaves ids to the server.
pub(crate) struct ByServer(pub(crate) RedisServer);

impl RedisServer {
    fn prepared(program: String, settings: &str) -> RedisServer {
        RedisServer {
            program,
            directory: tempfile::tempdir().expect("a directory"),
            address: free_address(),
            process: Process::none(),
            takes_login: true,
            settings: settings.to_owned(),
        }
    }

    fn started(program: String, settings: &str) -> RedisServer {
        let mut server = RedisServer::prepared(program, settings);
        server.start_again();
        server.create();
        server
    }

    /// Debian's, with the stream in place.
    pub(crate) fn start(settings: &str) -> Option<RedisServer> {
        let program = program("HOOKLINE_REDIS_SERVER", &["redis-server"])?;
        Some(RedisServer::started(program, settings))
    }

    /// Valkey, which has `WAITAOF`.
    pub(crate) fn valkey(settings: &str) -> Option<RedisServer> {
        let program = program("HOOKLINE_VALKEY_SERVER", &["valkey-server"])?;
        Some(RedisServer::started(program, settings))
    }

    fn config(&self) -> PathBuf {
        let password = if self.takes_login {
            PASSWORD
        } else {
            "another"
        };
        let directory = self.directory.path().join("data");
        fs::create_dir_all(&directory).expect("made");
        let text = format!(
            "bind 127.0.0.1\nport {}\ndir {}\nappendonly yes\nappendfsync everysec\nsave \"\"\n\
             user default on nopass ~* &* +@all\nuser hookline on >{password} ~* &* +@all\n{}\n",
            self.address.port(),
            directory.display(),
            self.settings
        );
        let path = self.directory.path().join("redis.conf");
        fs::write(&path, text).expect("written");
        path
    }

    fn spawn(&self) -> Process {
        let mut command = Command::new(&self.program);
        Process::start(command.arg(self.config()), self.address)
    }

    pub(crate) fn client(&self) -> Client {
        let mut client = None;
        eventually("the server answers", || {
            client = Client::connect(self.address);
            let answer = client.as_mut().and_then(|it| it.try_ask(&["PING"]));
            answer == Some(Reply::Text("PONG".to_owned()))
        });
        client.expect("it does")
    }

    /// Runs a command, which must not fail.
    pub(crate) fn run(&self, words: &[&str]) -> Reply {
        let answer = self.client().ask(words);
        assert!(!matches!(answer, Reply::Error(_)), "{words:?}: {answer:?}");
        answer
    }

    pub(crate) fn entries(&self, stream: &str) -> Vec<Entry> {
        Entry::all(self.run(&["XRANGE", stream, "-", "+"]))
    }

    /// A field of the hash beside the stream.
    pub(crate) fn position(&self, field: &str) -> String {
        match self.run(&["HGET", POSITION, field]) {
            Reply::Text(text) => text,
            other => format!("{other:?}"),
        }
    }

    fn start_again(&mut self) {
        self.process = self.spawn();
        self.client();
    }

    fn take_login(&mut self, takes: bool) {
        self.takes_login = takes;
        let password = if takes { PASSWORD } else { "another" };
        self.run(&[
            "ACL",
            "SETUSER",
            "hookline",
            "resetpass",
            &format!(">{password}"),
        ]);
        self.run(&["CLIENT", "KILL", "USER", "hookline"]);
    }

    fn create(&mut self) {
        self.run(&["XGROUP", "CREATE", STREAM, "readers", "$", "MKSTREAM"]);
    }

    fn remove(&mut self) {
        self.run(&["DEL", STREAM]);
    }

    /// The lines of a sink, with these beside the usual ones.
    pub(crate) fn sink(&self, lines: &str) -> String {
        format!(
            "name = \"{SINK}\"\ntype = \"redis\"\nurl = \"redis://hookline@{}/0\"\npassword = {{ env = \
             \"REDIS_PASSWORD\" }}\ntimeout = \"5s\"\n{lines}",
            self.address
        )
    }

    fn delivered(&self) -> Vec<Delivered> {
        let streams = [STREAM, REPLAYS].map(|stream| self.entries(stream));
        streams.iter().flatten().map(Entry::delivered).collect()
    }
}

/// The same for both: only the lines of the sink differ.
macro_rules! target {
    ($name:ident, $lines:expr, $exactly_once:literal) => {
        impl Target for $name {
            const EXACTLY_ONCE: bool = $exactly_once;
            const COUNTS_KNOWN: bool = false;

            fn start() -> Option<$name> {
                RedisServer::start("").map($name)
            }

            fn sink(&self) -> String {
                self.0.sink($lines)
            }

            fn password(&self) -> (&'static str, &'static str) {
                ("REDIS_PASSWORD", PASSWORD)
            }

            fn kill(&mut self) {
                self.0.process.kill();
            }

            fn start_again(&mut self) {
                self.0.start_again();
            }

            fn stop(&mut self) {
                self.0.process.signal(Signal::STOP);
            }

            fn go_on(&mut self) {
                self.0.process.signal(Signal::CONT);
            }

            fn take_login(&mut self, takes: bool) {
                self.0.take_login(takes);
            }

            fn remove(&mut self) {
                self.0.remove();
            }

            fn create(&mut self) {
                self.0.create();
            }

            // What it takes as one value is 1 MiB at least.
            fn limit(&mut self, _bytes: usize) -> bool {
                false
            }

            fn delivered(&mut self) -> Vec<Delivered> {
                self.0.delivered()
            }
        }
    };
}

target!(ByPosition, BY_POSITION, true);
target!(ByServer, "stream = \"whatsapp\"\nids = \"auto\"", false);

pub(crate) const BY_POSITION: &str = "stream = \"whatsapp\"";
pub(crate) const STREAM: &str = "whatsapp";
pub(crate) const REPLAYS: &str = "whatsapp.replay";
pub(crate) const POSITION: &str = "whatsapp.position";
pub(crate) const PASSWORD: &str = "right";
