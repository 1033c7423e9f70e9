//! What the program of a sink gets of secrets, and that nobody else sees them.

use super::common::client::post;
use super::common::{PROGRAM, Running, Site, eventually};
use super::stage::{audit, is_delivered, lines, metric, site, start, terminate};
use super::traffic::{Lane, Update, body};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Writes down what it has, and fails while there is a file `fail`.
const SCRIPT: &str =
    "cat > /dev/null; printf '%s %s\\n' \"$API_TOKEN\" \"$OTHER\" >> seen; ! [ -e fail ]";

fn deliver(server: &Running, number: u32) {
    let update = Update {
        conversation: 1,
        lane: Lane::Messages,
        number,
    };
    let mut client = server.connect();
    client.send(&post("/webhook", "", &body(&[update], 10)));
    assert_eq!(client.answer().code, 200);
}

fn last_seen(site: &Site) -> String {
    let seen = fs::read_to_string(site.path().join("seen")).unwrap_or_default();
    seen.lines().last().unwrap_or_default().to_owned()
}

/// All files below a directory.
fn files(directory: &Path, all: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files(&path, all);
        } else {
            all.push(fs::read(path).expect("readable"));
        }
    }
}

fn check(site: &Site, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(PROGRAM);
    command.arg("check").args(arguments).arg("--config");
    command.arg(site.write_config()).env_clear();
    command.env("TOKEN", "token").env("OTHER", "hunter3");
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    [output.stdout, output.stderr].concat()
}

#[test]
fn a_program_has_its_secrets_and_nobody_else_sees_them() {
    let site = site().variable("OTHER", "hunter3");
    let secret = site.path().join("secret");
    fs::write(&secret, "hunter2-old\n").expect("written");
    let site = site.sink(&format!(
        "name = \"program\"\ntype = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", {SCRIPT:?}]\n\
         env = {{ API_TOKEN = {{ file = {:?} }}, OTHER = {{ env = \"OTHER\" }} }}\nretry_min = \"10ms\"\n\
         retry_max = \"50ms\"\n",
        secret.display().to_string()
    ));
    let server = start(&site, 0);
    deliver(&server, 0);
    eventually("it is delivered", || is_delivered(&server, "program"));
    assert_eq!(last_seen(&site), "hunter2-old hunter3");

    // Another secret in the file is another sink.
    fs::write(&secret, "hunter2-new\n").expect("written");
    server.signal(Signal::HUP);
    eventually("it is taken over", || {
        server.stderr().contains("as the configuration now says")
    });
    let fail = site.path().join("fail");
    fs::write(&fail, "").expect("written");
    deliver(&server, 1);
    let retries = || metric(&server, "hookline_sink_retries_total", "program");
    eventually("it fails", || retries() > 3);
    assert_eq!(last_seen(&site), "hunter2-new hunter3");

    let pid = server.pid();
    let of_process = |name: &str| fs::read(format!("/proc/{pid}/{name}")).expect("it runs");
    let page = |path: &str| server.admin_page(path).expect("it is served").1;
    let letters = lines(&site, &["dead-letters", "list", "--output", "json"]);
    let mut seen = vec![
        server.stderr().into_bytes(),
        of_process("cmdline"),
        of_process("environ"),
        page("/status").into_bytes(),
        page("/metrics").into_bytes(),
        format!("{letters:?}").into_bytes(),
        check(&site, &[]),
        check(&site, &["--output", "json"]),
    ];
    fs::remove_file(&fail).expect("it is there");
    eventually("it is delivered", || is_delivered(&server, "program"));
    let log = server.stderr();
    terminate(server);
    seen.push(log.into_bytes());
    files(&site.journal_dir(), &mut seen);
    for bytes in seen {
        let is_there = bytes.windows(8).any(|it| it == b"hunter2-");
        assert!(!is_there, "{}", String::from_utf8_lossy(&bytes));
    }
    audit(&site);
}
