//! What lies beside the journal, made by somebody else or damaged, stops nobody's delivery.
//!
//! Two users are needed for most of it: those tests run as root only, and say so elsewhere.

mod common;

use common::client::post;
use common::{PROGRAM, Running, Site, eventually};
use rustix::process::geteuid;
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

/// Nobody's.
const USER: u32 = 64_123;
const GROUP: u32 = 64_124;

fn site() -> Site {
    Site::unsigned()
        .sink("name = \"events\"\ntype = \"file\"\npath = \"events.ndjson\"")
        .sink("name = \"ran\"\ntype = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"cat >> ran.ndjson\"]")
}

/// False, and a line, where the test cannot be another user.
#[expect(
    clippy::print_stderr,
    reason = "who reads the output of a test is to know that it was skipped"
)]
fn is_root(test: &str) -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        eprintln!("{test}: skipped, for it needs root");
    }
    is_root
}

/// A server of the other user.
fn start(site: &Site) -> Running {
    let mut command = site.command();
    for path in [site.path(), &site.path().join("hookline.toml")] {
        chown(path, Some(USER), Some(GROUP)).expect("root may");
    }
    command.uid(USER).gid(GROUP);
    Running::spawn(command)
}

fn verb(words: &str, dir: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(words.split(' ')).arg("--data-dir").arg(dir);
    command.output().expect("it runs")
}

fn send(server: &Running, numbers: std::ops::Range<u32>) {
    let mut client = server.connect();
    for number in numbers {
        let body = format!("{{\"number\":{number}}}");
        client.send(&post("/webhook", "", body.as_bytes()));
        assert_eq!(client.answer().code, 200);
    }
}

/// Both sinks have so many lines.
fn delivered(site: &Site, count: usize) {
    for name in ["events.ndjson", "ran.ndjson"] {
        delivered_to(site, name, count);
    }
}

fn delivered_to(site: &Site, name: &str, count: usize) {
    let path = site.path().join(name);
    let lines = || fs::read_to_string(&path).map_or(0, |text| text.lines().count());
    eventually("everything is delivered", || lines() >= count);
}

fn owner(path: &Path) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path).expect("it is there");
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

/// Everything in a directory.
fn walk(dir: &Path, all: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            walk(&path, all);
        }
        all.push(path);
    }
}

/// A replay asked for by root could not be read by the server of another user: its sinks stopped for good.
#[test]
fn verbs_of_root_leave_nothing_that_the_server_cannot_use() {
    if !is_root("verbs_of_root") {
        return;
    }
    let site = site();
    let dir = site.journal_dir();
    let server = start(&site);
    send(&server, 0..3);
    delivered(&site, 3);
    // Neither is there before somebody asks; the verb makes it.
    fs::remove_dir_all(dir.join("replays")).expect("removed");
    for sink in ["events", "ran"] {
        let asked = verb(&format!("replay --sink {sink} --from start"), &dir);
        assert!(asked.status.success(), "{asked:?}");
    }
    delivered(&site, 6);
    assert!(server.terminate().0.success());
    let sought = verb("cursor seek events --to start", &dir);
    assert!(sought.status.success(), "{sought:?}");
    fs::remove_file(dir.join("manifest")).expect("removed");
    let repaired = verb("journal repair --quarantine", &dir);
    assert!(repaired.status.success(), "{repaired:?}");
    let asked = verb("replay --sink ran --from start --detach", &dir);
    assert!(asked.status.success(), "{asked:?}");

    let mut all = Vec::new();
    walk(&dir, &mut all);
    for path in &all {
        let (uid, gid, mode) = owner(path);
        assert_eq!((uid, gid), (USER, GROUP), "{}", path.display());
        assert_eq!(mode & 0o077, 0, "{} {mode:o}", path.display());
    }
    let server = start(&site);
    send(&server, 3..4);
    // What is sought again stands in the file already.
    delivered_to(&site, "events.ndjson", 7);
    delivered_to(&site, "ran.ndjson", 10);
    assert!(server.terminate().0.success());
}

/// What an older version of a verb has left as root, directories in place of files, garbage: live delivery goes on,
/// before and after a restart, and one line says what was set aside.
#[test]
fn what_belongs_to_others_is_set_aside_and_delivery_goes_on() {
    if !is_root("what_belongs_to_others") {
        return;
    }
    let site = site();
    let dir = site.journal_dir();
    let server = start(&site);
    send(&server, 0..2);
    delivered(&site, 2);
    let private = |path: &Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("root may");
    };
    for sink in ["events", "ran"] {
        let replay = dir
            .join("replays")
            .join(format!("20260101-000000-{sink}.json"));
        fs::write(&replay, "{}").expect("written");
        private(&replay);
        let aside = replay.with_extension("json.aside");
        eventually("it is set aside", || aside.exists());
        let cancelled = verb(&format!("replay cancel 20260101-000000-{sink}"), &dir);
        let said = String::from_utf8_lossy(&cancelled.stderr).into_owned();
        assert!(said.contains("has set it aside as"), "{said}");
    }
    let letter = dir.join("dead-letters/ran/1.0.retry");
    fs::write(&letter, "{}").expect("written");
    private(&letter);
    eventually("nobody asks for it any more", || !letter.exists());
    send(&server, 2..4);
    delivered(&site, 4);
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
    assert_eq!(
        said.matches("a replay cannot be used and is set aside")
            .count(),
        2,
        "{said}"
    );
    assert_eq!(
        said.matches("a dead letter cannot be read").count(),
        1,
        "{said}"
    );

    // And whole directories, which only root can look into.
    for name in ["replays", "dead-letters", "poison", "dedupe"] {
        let path = dir.join(name);
        chown(&path, Some(0), Some(0)).expect("root may");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("root may");
    }
    fs::write(dir.join("cursors/gone.cursor"), "garbage").expect("written");
    private(&dir.join("cursors/gone.cursor"));
    let server = start(&site);
    send(&server, 4..6);
    delivered(&site, 6);
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
    for name in ["replays", "dead-letters", "poison", "dedupe"] {
        assert!(dir.join(format!("{name}.aside")).exists(), "{name}: {said}");
    }
}

/// Garbage, directories and pipes in place of files, as anybody may leave them.
#[test]
fn garbage_beside_the_journal_stops_nothing() {
    let site = site();
    let dir = site.journal_dir();
    let server = site.start();
    send(&server, 0..2);
    delivered(&site, 2);
    for at in [
        "replays/a.json",
        "dead-letters/ran/1.0.retry",
        "dead-letters/ran/1.tmp",
    ] {
        fs::create_dir(dir.join(at)).expect("made");
    }
    let aside = dir.join("replays/a.json.aside");
    eventually("it is set aside", || aside.exists());
    send(&server, 2..4);
    delivered(&site, 4);
    assert!(server.terminate().0.success());
    for at in ["poison/marks", "dedupe/checkpoint", "cursors/gone.cursor"] {
        let path = dir.join(at);
        let _ = fs::remove_file(&path);
        fs::create_dir(&path).expect("made");
        fs::write(path.join("x"), "x").expect("written");
    }
    let server = site.start();
    send(&server, 4..6);
    delivered(&site, 6);
    assert!(server.terminate().0.success());
}

/// `/readyz` said 200 with a sink that had stopped for good, and nothing else did where a load balancer looks.
#[test]
fn a_sink_that_has_stopped_shows_where_one_asks_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}/", listener.local_addr().expect("has one"));
    let receiver = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("it comes");
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
    });
    let site = Site::unsigned().sink(&format!("name = \"crm\"\ntype = \"http\"\nurl = \"{url}\""));
    let server = site.start();
    let page = |path: &str| server.admin_page(path).expect("it runs");
    assert_eq!(page("/readyz?strict").0, 200);
    send(&server, 0..1);
    eventually("the sink has stopped", || page("/readyz?strict").0 == 503);
    assert_eq!(page("/readyz?a&strict=1").0, 503);
    receiver.join().expect("it has answered");
    assert_eq!(page("/readyz").0, 200);
    assert!(
        page("/metrics")
            .1
            .contains("hookline_sink_stopped{sink=\"crm\"} 1")
    );
    assert!(page("/status").1.contains("410"), "the reason is shown");
    drop(server);
}

/// `LOCK` was a link to a file elsewhere: that file was emptied.
#[test]
fn a_lock_that_is_a_link_is_refused_and_nothing_is_cut() {
    let site = site();
    let dir = site.journal_dir();
    fs::create_dir(&dir).expect("made");
    let precious = site.path().join("precious");
    fs::write(&precious, "precious").expect("written");
    symlink(&precious, dir.join("LOCK")).expect("linked");
    let output = site.run();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("LOCK: it is a symbolic link"), "{said}");
    assert_eq!(fs::read_to_string(&precious).expect("there"), "precious");
}

/// Nor is a file that has `LOCK` as another name.
#[test]
fn a_lock_that_is_somebody_elses_file_is_refused_and_nothing_is_cut() {
    let site = site();
    let dir = site.journal_dir();
    fs::create_dir(&dir).expect("made");
    let (precious, text) = (site.path().join("precious"), "precious\n".repeat(200));
    fs::write(&precious, &text).expect("written");
    fs::hard_link(&precious, dir.join("LOCK")).expect("linked");
    let output = site.run();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("LOCK: it is not a lock"), "{said}");
    assert_eq!(fs::read_to_string(&precious).expect("there"), text);
}

/// Anybody could put files into the data directory, and nothing was said.
#[test]
fn a_data_directory_that_is_open_to_all_is_logged() {
    let site = site();
    let dir = site.journal_dir();
    fs::create_dir(&dir).expect("made");
    for (mode, logged) in [(0o750, false), (0o777, true)] {
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).expect("ours");
        let (status, said) = site.start().terminate();
        assert!(status.success(), "{said}");
        assert_eq!(said.contains("chmod 700"), logged, "{mode:o}: {said}");
    }
    // The group may read what is there as far as it may read the directory.
    assert_eq!(owner(&dir.join("cursors")).2 & 0o777, 0o750);
    assert_eq!(owner(&dir.join("cursors/events.cursor")).2, 0o640);
}

/// A program that failed was in no line of the log, and `status` said only that something was behind.
#[test]
fn a_sink_that_fails_shows_since_when_and_why_and_that_it_works_again() {
    let site = Site::unsigned();
    let works = site.path().join("works");
    let script = format!("cat > /dev/null; test -e {} || exit 3", works.display());
    let site = site.sink(&format!(
        "name = \"crm\"\ntype = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", {script:?}]"
    ));
    let server = site.start();
    let page = |path: &str| server.admin_page(path).expect("it runs");
    let sink = || {
        let status: Value = serde_json::from_str(&page("/status").1).expect("JSON");
        status["sinks"][0].clone()
    };
    send(&server, 0..1);
    eventually("it fails", || sink()["failing_since"].is_u64());
    let shown = sink();
    let reason = shown["last_failure"].as_str().expect("it says why");
    assert!(reason.contains("exit status: 3"), "{reason}");
    assert!(
        shown["last_failed"].as_u64() >= shown["failing_since"].as_u64(),
        "{shown}"
    );
    let metric = "hookline_sink_failing_seconds{sink=\"crm\"} ";
    let seconds = || {
        let metrics = page("/metrics").1;
        let value = metrics.lines().find_map(|it| it.strip_prefix(metric));
        value
            .and_then(|it| it.parse::<f64>().ok())
            .expect("a number")
    };
    assert!(seconds() > 0.0);
    assert_eq!(
        page("/readyz?strict").0,
        200,
        "that may be over in a moment"
    );
    let is_logged = |line: &str| server.stderr().contains(line);
    eventually("it is logged", || {
        is_logged("a delivery to the sink has failed")
    });
    fs::write(&works, "").expect("written");
    eventually("it works again", || sink()["failing_since"].is_null());
    eventually("that is logged", || {
        is_logged("deliveries to the sink work again")
    });
    assert!(seconds() < f64::EPSILON);
    assert!(sink()["last_failure"].is_string(), "it was not long ago");
    drop(server);
}

/// A sink that was renamed began anew, and no line said so.
#[test]
fn a_sink_with_another_name_is_named_at_the_start_and_so_is_what_it_leaves() {
    let site = Site::unsigned().sink("name = \"crm\"\ntype = \"file\"\npath = \"a.ndjson\"");
    let server = site.start();
    send(&server, 0..3);
    let (_, log) = server.terminate();
    let new = "the sink has no cursor yet";
    let old = "the sink is not in the configuration any more";
    assert!(!log.contains(new) && !log.contains(old), "{log}");
    for has_cursor in [false, true] {
        let command = site.command();
        let config = site.path().join("hookline.toml");
        let text = fs::read_to_string(&config).expect("there");
        fs::write(&config, text.replace("\"crm\"", "\"erp\"")).expect("ours");
        let (status, log) = Running::spawn(command).terminate();
        assert!(status.success(), "{log}");
        let line = |words: &str| log.lines().find(|it| it.contains(words));
        assert!(line(old).is_some_and(|it| it.contains("\"crm\"")), "{log}");
        let is_new = line(new).is_some_and(|it| it.contains("\"erp\""));
        assert_eq!(is_new, !has_cursor, "{log}");
    }
}
