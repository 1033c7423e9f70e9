//! Whatever becomes of stderr and stdout, what was promised is kept: posts are answered, `/readyz` says so, SIGTERM
//! ends the process with 0 within its drain time, and nothing is lost.
//!
//! Once one post with a wrong signature ended the loop that wanted to log it: stderr was a pipe whose reader had
//! gone. Where it was a pipe that nobody read, the loop waited in `write` for ever. And in JSON, all of stderr is JSON.

mod common;

use common::client::{Client, post};
use common::disk::Mounted;
use common::load::{SECRET, signed};
use common::{PROGRAM, Site, ended, eventually, last_words};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// On ports that are known before anything is said, with a drain that nobody would wait for.
struct Place {
    site: Site,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Place {
    fn new() -> Place {
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let (one, two) = (free(), free());
        let address = |it: &TcpListener| it.local_addr().expect("bound");
        let (address, admin) = (address(&one), address(&two));
        let site = Site::new()
            .server(&format!("listen = \"{address}\""))
            .server("drain_timeout = \"10m\"")
            .variable("HOOKLINE__ADMIN__LISTEN", &admin.to_string())
            .variable("SECRET", SECRET)
            .endpoint(
                "path = \"/in\"\nprovider = \"meta\"\napp_secret = { env = \"SECRET\" }\nack = \"stored\"",
            );
        Place {
            site,
            address,
            admin,
        }
    }

    fn start(&self, mut command: Command, stderr: Stdio) -> Blind<'_> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("the program runs");
        let blind = Blind { child, place: self };
        eventually("it is ready", || blind.page("/readyz").contains(" 200 "));
        blind
    }
}

/// A server of which nothing can be heard. Dropped, it is killed.
struct Blind<'p> {
    child: Child,
    place: &'p Place,
}

impl Blind<'_> {
    /// The answer to a GET of an admin page, or nothing.
    fn page(&self, path: &str) -> String {
        let mut text = String::new();
        if let Ok(mut stream) = TcpStream::connect(self.place.admin) {
            let _ = write!(
                stream,
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.read_to_string(&mut text);
        }
        text
    }

    fn dropped(&self) -> u64 {
        let page = self.page("/metrics");
        let prefix = "hookline_log_dropped_total ";
        let value = page.lines().find_map(|line| line.strip_prefix(prefix));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// Posts that are refused, each of which may be logged, and some that are stored.
    fn answers(&self) {
        let mut client = Client::connect(self.place.address);
        for number in 0..300 {
            let body = number.to_string();
            client.send(&post("/in", "X-Hub-Signature-256: sha256=00\r\n", b"{}"));
            client.send(&signed("/in", body.as_bytes()));
            assert_eq!(client.codes(2), [401, 200]);
        }
        assert!(self.page("/readyz").contains(" 200 "));
    }

    fn terminate(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let child = &mut self.child;
        eventually("it ends", || {
            child.try_wait().expect("can be asked").is_some()
        });
        self.child.wait().expect("has ended")
    }
}

impl Drop for Blind<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves with this as its stderr, which takes nothing or only some lines.
fn serves_onto(stderr: Stdio, dropped: bool) {
    let place = Place::new();
    serves_at(&place, place.site.command(), stderr, dropped);
}

fn serves_at(place: &Place, command: Command, stderr: Stdio, dropped: bool) {
    let before = place
        .site
        .journal_dir()
        .exists()
        .then(|| place.site.bodies());
    let mut blind = place.start(command, stderr);
    blind.answers();
    if dropped {
        eventually("lines are counted that were dropped", || {
            blind.dropped() > 0
        });
    }
    assert_eq!(blind.terminate().code(), Some(0));
    let mut expected = before.unwrap_or_default();
    expected.extend((0..300).map(|number: u32| number.to_string().into_bytes()));
    assert_eq!(place.site.bodies(), expected);
}

/// A pipe that takes nothing more, and the end from which nobody reads.
fn full_pipe() -> (io::PipeReader, io::PipeWriter) {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("set");
    while writer.write(&[b'x'; 512]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).expect("set");
    (reader, writer)
}

#[test]
fn the_reader_of_stderr_has_gone() {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    serves_onto(writer.into(), true);
}

/// Lines wait here rather than being dropped, until the queue is full.
#[test]
fn nobody_reads_stderr() {
    let (reader, writer) = full_pipe();
    serves_onto(writer.into(), false);
    drop(reader);
}

#[test]
fn stderr_is_always_full() {
    let full = OpenOptions::new().write(true).open("/dev/full");
    serves_onto(full.expect("there").into(), true);
}

#[test]
fn stderr_is_closed() {
    let place = Place::new();
    let config = place.site.write_config();
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$@\" 2>&-", "sh", PROGRAM, "serve", "--config"])
        .arg(config)
        .env_clear()
        .env("SECRET", SECRET)
        .env("HOOKLINE__ADMIN__LISTEN", place.admin.to_string());
    serves_at(&place, command, Stdio::null(), false);
}

/// It starts with a log on a full disk, and starts again; when there is room, one line says how many are missing.
#[test]
fn the_log_is_a_file_on_a_full_disk() {
    let place = Place::new();
    let at = place.site.path().join("small");
    let Some(_mounted) = Mounted::tmpfs(&at, 1 << 20) else {
        return;
    };
    let ballast = at.join("ballast");
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(at.join("log"))
        .expect("it can be made");
    let mut file = File::create(&ballast).expect("it can be made");
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    let onto = || Stdio::from(log.try_clone().expect("a descriptor"));
    serves_at(&place, place.site.command(), onto(), true);
    let mut blind = place.start(place.site.command(), onto());
    eventually("lines are dropped", || blind.dropped() > 0);
    let text = || fs::read_to_string(at.join("log")).expect("readable");
    assert_eq!(text(), "");
    fs::remove_file(&ballast).expect("there");
    assert_eq!(blind.terminate().code(), Some(0));
    let text = text();
    let says = text.lines().filter_map(|line| {
        let event: Value = serde_json::from_str(line).expect("whole lines");
        event["lines"].as_u64()
    });
    assert!(says.sum::<u64>() > 0, "{text}");
}

/// The last words of a process that cannot start are not waited for.
#[test]
fn who_cannot_start_ends_though_nobody_reads_why() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let cases = [
        (
            Site::unsigned().server(&format!("listen = \"{address}\"")),
            1,
        ),
        (Site::new(), 78),
    ];
    for (site, code) in cases {
        let (_reader, writer) = full_pipe();
        let mut command = site.command();
        let child = command.stdout(Stdio::null()).stderr(writer).spawn();
        let mut child = child.expect("the program runs");
        eventually("it ends", || {
            child.try_wait().expect("can be asked").is_some()
        });
        assert_eq!(child.wait().expect("has ended").code(), Some(code));
    }
}

/// A sink's own stdout is no better: the reader hangs, the rest is served and the process ends in its drain time.
#[test]
fn nobody_reads_the_events_on_stdout() {
    let site = Site::unsigned()
        .server("drain_timeout = \"3s\"")
        .sink("name = \"out\"\ntype = \"stdout\"");
    let (_reader, writer) = full_pipe();
    let server = common::Running::spawn_onto(site.command(), writer.into());
    let mut client = server.connect();
    for number in 0..300 {
        client.send(&post("/webhook", "", number.to_string().as_bytes()));
        assert_eq!(client.answer().code, 200);
    }
    let (code, _) = server.admin_page("/readyz").expect("it runs");
    assert_eq!(code, 200);
    drop(client);
    let (status, stderr) = server.terminate();
    assert_eq!(status.code(), Some(0), "{stderr}");
    let lines = stderr
        .lines()
        .filter(|line| line.contains("\"sink\":\"out\""));
    assert!(lines.count() > 1, "who is left behind has a name: {stderr}");
    // Now it is read, and all of it comes.
    let (reader, writer) = io::pipe().expect("a pipe");
    let server = common::Running::spawn_onto(site.command(), writer.into());
    let text = Arc::new(Mutex::new(String::new()));
    let reading = {
        let text = Arc::clone(&text);
        let mut reader = io::BufReader::new(reader);
        thread::spawn(move || {
            let mut line = String::new();
            while io::BufRead::read_line(&mut reader, &mut line).is_ok_and(|count| count > 0) {
                text.lock().expect("nobody panics with it").push_str(&line);
                line.clear();
            }
        })
    };
    eventually("everything is delivered", || {
        text.lock().expect("nobody panics with it").lines().count() == 300
    });
    server.terminate();
    reading.join().expect("it reads to the end");
}

/// Who asks for pages and does not read them holds up nobody either.
#[test]
fn nobody_reads_the_pages_that_were_asked_for() {
    let site = Site::unsigned()
        .server("drain_timeout = \"10m\"")
        .sink("name = \"consumer\"\ntype = \"pull\"\naccept_unauthenticated = true")
        .variable("HOOKLINE__PULL__LISTEN", "127.0.0.1:0");
    let server = site.start();
    let mut client = server.connect();
    let long = "x".repeat(4000);
    for number in 0..1000 {
        client.send(&post("/webhook", "", format!("{number} {long}").as_bytes()));
        assert_eq!(client.answer().code, 200);
    }
    let ask = |address: SocketAddr, path: &str| {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nonblocking(true).expect("set");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(500);
        let _ = (&stream).write(request.as_bytes());
        stream
    };
    let admin = server.admin.expect("there");
    let mut held: Vec<TcpStream> = (0..8).map(|_| ask(admin, "/metrics")).collect();
    held.extend((0..8).map(|_| ask(server.pull(), "/v1/events?sink=consumer&after=0")));
    for number in 0..100 {
        client.send(&post("/webhook", "", number.to_string().as_bytes()));
        assert_eq!(client.answer().code, 200);
    }
    let (code, _) = server.admin_page("/readyz").expect("it runs");
    assert_eq!(code, 200);
    drop(client);
    let (status, stderr) = server.terminate();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert_eq!(site.bodies().len(), 1100);
    drop(held);
}

/// Every line of a life is an object: the greeting, what happens, and the last words.
#[test]
fn in_json_everything_is_json() {
    let site = Site::unsigned();
    let server = site.start();
    let mut client = server.connect();
    client.send(&post("/nowhere", "", b"{}"));
    assert_eq!(client.answer().code, 404);
    for signal in [
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::POWER,
        Signal::STKFLT,
        Signal::XCPU,
        Signal::HUP,
    ] {
        server.signal(signal);
    }
    let real_time = format!("kill -s 37 {}", server.pid());
    let sent = Command::new("sh").args(["-c", &real_time]).status();
    assert!(sent.expect("it runs").success());
    eventually("it has reloaded", || {
        server.stderr().contains("are reloaded")
    });
    let (address, admin) = (server.address, server.admin.expect("there"));
    drop(client);
    let (status, stderr) = server.terminate();
    assert_eq!(status.code(), Some(0), "{stderr}");
    let events: Vec<Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let has = |key: &str, value: &str| events.iter().any(|event| event[key] == value);
    assert!(has("address", &address.to_string()), "{stderr}");
    assert!(has("admin", &admin.to_string()), "{stderr}");
    assert!(has("endpoint", "/webhook"), "{stderr}");
    assert!(has("signal", "SIGUSR1"), "{stderr}");

    let site = Site::unsigned();
    let mut orphan = site.command();
    orphan.args(["--with-parent", "1"]);
    let stderr = String::from_utf8(ended(orphan).stderr).expect("text");
    assert!(
        last_words(&stderr).contains("is not the parent"),
        "{stderr}"
    );
    let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok();
    assert!(stderr.lines().all(is_json), "{stderr}");

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let output = Site::unsigned()
        .server(&format!("listen = \"{address}\""))
        .run();
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let event = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
    let errors = stderr
        .lines()
        .map(event)
        .filter(|event| event["level"] == "ERROR");
    assert_eq!(errors.count(), 1, "{stderr}");
    assert!(last_words(&stderr).contains("is in use"), "{stderr}");
}

/// What is read by a person stays text, down to the last line.
#[test]
fn in_text_nothing_is_json() {
    let site = Site::unsigned().variable("HOOKLINE__LOG__FORMAT", "text");
    let server = site.start();
    let (_, stderr) = server.terminate();
    assert!(stderr.contains("hookline: try "), "{stderr}");
    assert!(!stderr.contains("{\""), "{stderr}");
    let address = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = address.local_addr().expect("bound");
    let taken = TcpListener::bind(address);
    let output = site.server(&format!("listen = \"{address}\"")).run();
    drop(taken);
    let stderr = String::from_utf8(output.stderr).expect("text");
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("hookline: cannot start: "), "{stderr}");
}

/// What `hookline_log_dropped_total` means has to be looked at somewhere: verbs end quietly when nobody reads them.
#[test]
fn verbs_end_when_their_reader_has_gone() {
    let site = Site::unsigned();
    let server = site.start();
    let admin = server.admin.expect("there").to_string();
    let data = site.journal_dir();
    let data = data.to_str().expect("UTF-8");
    let verbs: [&[&str]; 5] = [
        &["status", "--admin", &admin],
        &["cursor", "list", "--data-dir", data],
        &["dead-letters", "list", "--data-dir", data],
        &["journal", "inspect", "--data-dir", data],
        &["audit", "--data-dir", data],
    ];
    for verb in verbs {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let child = Command::new(PROGRAM)
            .args(verb)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().expect("a descriptor"))
            .stderr(writer)
            .spawn();
        let mut child = child.expect("the program runs");
        eventually("it ends", || {
            child.try_wait().expect("can be asked").is_some()
        });
        let code = child.wait().expect("has ended").code();
        assert!(code.is_some_and(|code| code < 101), "{verb:?}: {code:?}");
    }
    let help = ended({
        let mut command = Command::new(PROGRAM);
        command.arg("--help");
        command
    });
    assert!(help.status.success());
}
