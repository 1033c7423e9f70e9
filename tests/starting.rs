//! When the server cannot start: one line that says what is wrong and what to do, the exit code for it (78 for the
//! configuration, 1 for the rest), and nothing is damaged, above all not a server that runs already.

mod common;

use common::client::{Client, post};
use common::{PROGRAM, Running, Site, ended, last_words};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// It failed with exit code 1 and one line that has all these parts.
fn failed_saying(output: &Output, parts: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{}", stderr(output));
    let text = stderr(output);
    let errors = text.lines().filter(|line| line.contains("\"ERROR\""));
    assert_eq!(errors.count(), 1, "{text}");
    let line = last_words(&text);
    assert!(line.starts_with("cannot start: "), "{text}");
    for part in parts {
        assert!(line.contains(part), "{part:?} is missing in: {line}");
    }
    assert!(output.stdout.is_empty());
}

/// It refused its configuration, naming the place and what to do.
fn refused_saying(output: &Output, parts: &[&str]) {
    assert_eq!(output.status.code(), Some(78), "{}", stderr(output));
    let text = stderr(output);
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
    let last = text.lines().last().expect("something is said");
    assert!(
        last.starts_with("hookline: ") && last.contains("in the configuration"),
        "{last}"
    );
    assert!(output.stdout.is_empty());
}

fn serves(server: &Running, body: &[u8]) {
    let mut client = server.connect();
    client.send(&post("/webhook", "", body));
    assert_eq!(client.answer().code, 200);
}

/// The command of a site with `--data-dir`, which goes over the configuration.
fn with_data_dir(site: &Site, dir: &Path) -> Command {
    let mut command = site.command();
    command.arg("--data-dir").arg(dir);
    command
}

#[test]
fn mistakes_in_the_configuration() {
    for (site, parts) in [
        (
            Site::unsigned().server("max_conections = 5"),
            &[
                "unknown key \"max_conections\"",
                "did you mean \"max_connections\"?",
            ][..],
        ),
        (
            Site::unsigned().limits("body = \"3 MB\""),
            &["hookline.toml:", "body"],
        ),
        (
            Site::unsigned().journal("segment_size = \"1MiB\""),
            &["segment_size", "write at least 16MiB"],
        ),
        (
            Site::new().endpoint("path = \"/webhook\"\nprovider = \"meta\""),
            &["anyone could post here", "app_secret"],
        ),
        (
            Site::new().endpoint(
                "path = \"/webhook\"\nprovider = \"meta\"\napp_secret = { env = \"MISSING\" }",
            ),
            &["MISSING is not set"],
        ),
        (Site::new(), &["there is no [[endpoint]]", "add one"]),
    ] {
        refused_saying(&site.run(), parts);
        assert!(!site.journal_dir().exists(), "nothing is made");
    }
}

#[test]
fn unsigned_posts_from_anywhere_are_not_taken_by_default() {
    let site = Site::new();
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--listen", "0.0.0.0:0"]);
    command.env_clear().current_dir(site.path());
    refused_saying(&ended(command), &["0.0.0.0:0", "set HOOKLINE_APP_SECRET"]);
    assert_eq!(fs::read_dir(site.path()).expect("readable").count(), 0);
}

#[test]
fn the_journal_is_not_a_directory() {
    let site = Site::unsigned();
    let file = site.path().join("a-file");
    fs::write(&file, "precious").expect("written");
    refused_saying(
        &ended(with_data_dir(&site, &file)),
        &["a-file", "--data-dir"],
    );
    refused_saying(
        &ended(with_data_dir(&site, &file.join("below"))),
        &["a-file/below", "--data-dir"],
    );
    assert_eq!(fs::read(&file).expect("there"), b"precious");
}

#[test]
fn the_journal_cannot_be_written() {
    let site = Site::unsigned();
    // Where nobody may make a directory, root included.
    let nowhere = PathBuf::from("/proc/hookline-journal");
    refused_saying(
        &ended(with_data_dir(&site, &nowhere)),
        &["/proc/hookline-journal", "keeps no files"],
    );
    if rustix::process::geteuid().is_root() {
        return; // to whom permissions mean nothing
    }
    let closed = site.path().join("closed");
    fs::create_dir(&closed).expect("made");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).expect("set");
    refused_saying(
        &ended(with_data_dir(&site, &closed)),
        &["closed", "may not write to"],
    );
    assert_eq!(fs::read_dir(&closed).expect("readable").count(), 0);
}

#[test]
fn the_port_is_taken() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("bound").to_string();
    // More loops than one share a port among themselves, and still with nobody else.
    for loops in ["loops = 1", "loops = 3"] {
        let site = Site::unsigned()
            .server(loops)
            .server(&format!("listen = \"{taken}\""));
        failed_saying(&site.run(), &[&taken, "in use", "--listen"]);
        assert!(!site.journal_dir().exists(), "nothing is made");
    }
    let site = Site::unsigned().server("loops = 3");
    let server = site.start();
    let taken = server.address.to_string();
    let second = Site::unsigned()
        .server("loops = 3")
        .server(&format!("listen = \"{taken}\""));
    failed_saying(&second.run(), &[&taken, "in use"]);
    for _ in 0..20 {
        serves(&server, b"after");
    }
    assert_eq!(site.bodies().len(), 20);
}

#[test]
fn the_port_of_the_admin_pages_is_taken() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("bound").to_string();
    let site = Site::unsigned().variable("HOOKLINE__ADMIN__LISTEN", &taken);
    failed_saying(&site.run(), &[&taken, "in use"]);
}

#[test]
fn the_journal_is_in_use() {
    let site = Site::unsigned();
    let mut server = site.start();
    serves(&server, b"before");
    let holder = format!("pid {}", server.pid());
    let dir = site.journal_dir();
    let parts = [
        holder.as_str(),
        "in use",
        dir.to_str().expect("UTF-8"),
        "stop that process",
    ];
    for _ in 0..3 {
        failed_saying(&site.run(), &parts);
    }
    serves(&server, b"after");
    server.signal(rustix::process::Signal::TERM);
    let (status, text) = server.wait();
    assert!(status.success(), "{text}");
    site.verify();
    assert_eq!(site.bodies(), [&b"before"[..], b"after"]);
    // Free again.
    let server = site.start();
    serves(&server, b"again");
    drop(server);
    assert_eq!(site.bodies().len(), 3);
}

#[test]
fn a_damaged_journal_is_left_as_it_is() {
    let site = Site::unsigned();
    let server = site.start();
    for number in 0..50 {
        serves(&server, format!("notification {number}").as_bytes());
    }
    server.kill();
    let segment = segments(&site)
        .into_iter()
        .find(|path| position(path, b"notification 20").is_some())
        .expect("one has it");
    let at = position(&segment, b"notification 20").expect("as before");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&segment)
        .expect("there");
    file.write_all_at(b"NOTIFICATION", at).expect("written");
    let damaged = fs::read(&segment).expect("readable");

    let parts = [
        "is damaged",
        "sequence 21",
        "repair --quarantine",
        segment.to_str().expect("UTF-8"),
    ];
    failed_saying(&site.run(), &parts);
    assert!(
        fs::read(&segment).expect("readable") == damaged,
        "nothing is changed"
    );

    let repair = ["journal", "repair", "--quarantine", "--data-dir"];
    let mut command = Command::new(PROGRAM);
    command.args(repair).arg(site.journal_dir());
    let output = ended(command);
    assert!(output.status.success(), "{}", stderr(&output));
    let server = site.start();
    serves(&server, b"after");
    drop(server);
    let bodies = site.bodies();
    assert_eq!(bodies.len(), 50);
    assert!(!bodies.contains(&b"notification 20".to_vec()));
    assert_eq!(bodies.last().expect("50"), b"after");
}

fn segments(site: &Site) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.journal_dir()).expect("readable");
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths.filter(|path| path.is_file()).collect()
}

/// Where the bytes stand in the file.
fn position(path: &Path, bytes: &[u8]) -> Option<u64> {
    let content = fs::read(path).expect("readable");
    let at = content
        .windows(bytes.len())
        .position(|window| window == bytes)?;
    Some(at as u64)
}

/// A start that failed leaves nothing behind that the next one would trip over.
#[test]
fn after_a_start_that_failed_the_next_one_works() {
    let site = Site::unsigned();
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("bound");
    let mut command = site.command();
    command.arg("--listen").arg(taken.to_string());
    failed_saying(&ended(command), &["in use"]);
    drop(other);
    let mut command = site.command();
    command.arg("--listen").arg(taken.to_string());
    let server = Running::spawn(command);
    assert_eq!(server.address, taken);
    let mut client = Client::connect(taken);
    client.send(&post("/webhook", "", b"works"));
    assert_eq!(client.answer().code, 200);
    assert_eq!(site.bodies(), [b"works"]);
}

/// What cannot be read as a file is named, and nothing waits for it: neither a start nor the verbs, of which one makes
/// a manifest that is lost again.
#[test]
fn what_is_no_file_in_the_place_of_the_manifest_is_named() {
    let site = Site::unsigned();
    let server = site.start();
    serves(&server, b"a");
    server.terminate();
    let manifest = site.journal_dir().join("manifest");
    fs::remove_file(&manifest).expect("ours");
    let in_its_place: [fn(&Path); 2] = [
        |path| fs::create_dir(path).expect("free"),
        |path| {
            fs::remove_dir(path).expect("ours");
            let made = Command::new("mkfifo").arg(path).status();
            assert!(made.expect("it runs").success());
        },
    ];
    let what = "manifest: it is not a regular file; remove it";
    for put in in_its_place {
        put(&manifest);
        failed_saying(&site.run(), &[what]);
        for verb in ["inspect", "verify", "repair --quarantine"] {
            let mut command = Command::new(PROGRAM);
            command.arg("journal").args(verb.split(' '));
            let output = ended(with_dir(command, &site));
            assert_eq!(output.status.code(), Some(1), "{verb}: {output:?}");
            assert!(stderr(&output).contains(what), "{verb}: {output:?}");
        }
    }
    fs::remove_file(&manifest).expect("ours");
    let mut command = Command::new(PROGRAM);
    command.args(["journal", "repair", "--quarantine"]);
    let output = ended(with_dir(command, &site));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.bodies(), [b"a"]);
    site.start().terminate();
}

fn with_dir(mut command: Command, site: &Site) -> Command {
    command.arg("--data-dir").arg(site.journal_dir());
    command
}
