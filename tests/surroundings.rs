//! What the machine has to say to a configuration: `check` and `serve` say the same, with the same exit code, and what
//! may be there later is a warning to both.

#![expect(clippy::print_stderr, reason = "a skipped check says so")]

mod common;

use common::client::post;
use common::{PROGRAM, Running, Site, ended, eventually};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const FILE: &str = "name = \"f\"\ntype = \"file\"\npath = ";

fn check(site: &Site) -> Output {
    let config = site.write_config();
    let mut command = Command::new(PROGRAM);
    command.arg("check").arg("--config").arg(config);
    command.current_dir(site.path());
    command.env_clear().env("TOKEN", "token");
    ended(command)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Both refuse the configuration with these words.
fn refused(site: &Site, part: &str) {
    for output in [check(site), site.run()] {
        let said = said(&output);
        assert_eq!(output.status.code(), Some(78), "{part}: {said}");
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
}

/// Both warn with these words, and it serves.
fn warned(site: &Site, part: &str) -> Running {
    let output = check(site);
    assert_eq!(output.status.code(), Some(0), "{part}: {output:?}");
    let said = said(&output);
    assert!(
        said.contains("warning: ") && said.contains(part),
        "{part:?} is missing in: {said}"
    );
    site.start()
}

fn stops(server: Running) {
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
}

fn sends(server: &Running) {
    let mut client = server.connect();
    client.send(&post("/webhook", "", b"{}"));
    assert_eq!(client.answer().code, 200);
}

fn mkfifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().expect("it runs");
    assert!(made.success());
}

/// The same event was written to a pipe without end, for a pipe cannot be synced.
#[test]
fn a_file_sink_on_what_is_no_file_is_refused() {
    let site = Site::unsigned();
    mkfifo(&site.path().join("pipe"));
    fs::create_dir(site.path().join("dir")).expect("made");
    for (path, kind) in [
        ("pipe", "pipe is a pipe"),
        ("dir", "dir is a directory"),
        ("/dev/null", "/dev/null is a device"),
        ("/dev/stdout", "/dev/stdout is a pipe"),
    ] {
        let path = site.path().join(path);
        refused(&Site::unsigned().sink(&format!("{FILE}{path:?}")), kind);
    }
    fs::write(site.path().join("there"), "").expect("written");
    fs::set_permissions(site.path().join("there"), fs::Permissions::from_mode(0o640))
        .expect("ours");
    symlink("there", site.path().join("link")).expect("linked");
    let path = |name: &str| site.path().join(name);
    let linked = Site::unsigned().sink(&format!("{FILE}{:?}", path("link")));
    let output = check(&linked);
    assert!(
        output.status.success() && !said(&output).contains("link"),
        "{output:?}"
    );
    let server = linked.start();
    sends(&server);
    let lines = || fs::read_to_string(site.path().join("there")).map_or(0, |it| it.lines().count());
    eventually("it is delivered through the link", || lines() == 1);
    stops(server);
    refused(
        &Site::unsigned()
            .sink(&format!("{FILE}{:?}", path("there")))
            .sink(&format!(
                "name = \"g\"\ntype = \"file\"\npath = {:?}",
                path("link")
            )),
        "writes where another one does already",
    );
}

/// `check` said nothing about a data directory that cannot be one.
#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let site = Site::unsigned();
    fs::write(site.journal_dir(), "x").expect("written");
    refused(&site, "it is no directory");
    let output = {
        let mut command = Command::new(PROGRAM);
        command
            .args(["check", "--data-dir"])
            .arg(site.journal_dir().join("below"));
        ended(command)
    };
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(said(&output).contains("--data-dir: "), "{output:?}");
}

/// `check` passed links that lead nowhere, and what only a directory can be called, and the server did not start.
#[test]
fn what_leads_nowhere_is_refused() {
    let site = Site::unsigned();
    symlink("nowhere", site.journal_dir()).expect("linked");
    refused(&site, "is a symbolic link to what is not there");
    let site = Site::unsigned().sink(&format!("{FILE}\"circle\""));
    symlink("circle", site.path().join("circle")).expect("linked");
    refused(&site, "circle cannot be used");
    refused(
        &Site::unsigned().sink(&format!("{FILE}\"events/\"")),
        "names a directory",
    );
    let site = Site::unsigned().sink(&format!("{FILE}\"link\""));
    symlink("later/events.ndjson", site.path().join("link")).expect("linked");
    stops(warned(&site, "the directory later is not there"));
}

/// `check` said that all is well, and the server ended with 1.
#[test]
fn an_address_of_another_machine_is_no_address() {
    let site = Site::unsigned().server("listen = \"192.0.2.77:18080\"");
    for output in [check(&site), site.run()] {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = said(&output);
        assert!(said.contains("cannot listen on 192.0.2.77"), "{said}");
    }
}

/// One post became thousands: each event was posted to the endpoint that it came from.
#[test]
fn a_sink_that_posts_to_its_own_process_is_refused() {
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("bound")
        .local_addr()
        .expect("has one")
        .port();
    for (listen, host) in [
        ("127.0.0.1", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.9"),
        ("[::]", "[::1]"),
    ] {
        let site = Site::unsigned()
            .server(&format!("listen = \"{listen}:{port}\""))
            .sink(&format!(
                "type = \"http\"\nurl = \"http://{host}:{port}/webhook\""
            ));
        refused(&site, "where this server itself takes posts");
    }
}

/// No signature was ever right with what a tool had left in the secret.
#[test]
fn a_secret_with_what_tools_leave_in_it_is_refused() {
    for (content, part) in [
        ("\"hunter2\"\n", "quotes"),
        ("\u{feff}hunter2\n", "byte order mark"),
        ("APP_SECRET=hunter2\n", "NAME=value"),
        ("hunter2 \n", "white space"),
        ("LISTEN_ON=8080\nAPP_SECRET=hunter2\n", "NAME=value"),
        ("# the secret\nhunter2\n", "several lines"),
    ] {
        let site = Site::new()
            .endpoint("path = \"/w\"\nprovider = \"meta\"\napp_secret = { file = \"secret\" }");
        fs::write(site.path().join("secret"), content).expect("written");
        refused(&site, part);
    }
}

/// Lines were appended to the lock, a segment or a cursor, and a rotation renamed it.
#[test]
fn a_file_sink_on_a_file_of_hookline_is_refused() {
    let site = Site::unsigned();
    stops(site.start());
    fs::write(site.path().join("secret"), "hunter2").expect("written");
    let (journal, own) = (site.journal_dir(), "where all files are Hookline's own");
    let path = |name: &str| site.path().join(name);
    fs::write(path("program"), "#!/bin/sh\n").expect("written");
    fs::set_permissions(path("program"), fs::Permissions::from_mode(0o755)).expect("ours");
    let refuses = |file: &Path, part: &str| {
        for verb in ["check", "serve"] {
            let output = run_with(&site, verb, &format!("{FILE}{file:?}"));
            let said = said(&output);
            assert_eq!(output.status.code(), Some(78), "{file:?}: {said}");
            assert!(said.contains(part), "{part:?} is missing in: {said}");
        }
    };
    for name in [
        "LOCK",
        "manifest",
        "forms",
        "cursors/f.cursor",
        "new.ndjson",
    ] {
        refuses(&journal.join(name), own);
    }
    symlink(journal.join("later.segment"), path("link")).expect("linked");
    symlink(&journal, path("other")).expect("linked");
    fs::hard_link(journal.join("LOCK"), path("hard")).expect("linked");
    for (name, part) in [
        ("link", own),
        ("other/x/../LOCK", own),
        ("other/cursors/later", own),
        ("hard", "which is Hookline's own"),
        ("hookline.toml", "is the configuration itself"),
        ("secret", "is the file of a secret"),
        ("program", "is the program of a sink"),
    ] {
        refuses(&path(name), part);
    }
    let sink = format!("{FILE}{:?}", path("journal.ndjson"));
    let output = run_with(&site, "check", &sink);
    assert!(output.status.success(), "{output:?}");
}

/// Both verbs with this sink, in the directory of the site.
fn run_with(site: &Site, verb: &str, sink: &str) -> Output {
    let config = site.path().join("hookline.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"off\"\n[journal]\ndir = \"{}\"\n\
         [[endpoint]]\npath = \"/w\"\nprovider = \"meta\"\napp_secret = {{ file = \"secret\" }}\n\
         [[sink]]\ntype = \"exec\"\ncommand = [\"./program\"]\n[[sink]]\n{sink}\n",
        site.journal_dir().display()
    );
    fs::write(&config, text).expect("written");
    let mut command = Command::new(PROGRAM);
    command
        .arg(verb)
        .arg("--config")
        .arg(config)
        .current_dir(site.path());
    ended(command)
}

/// With a rotation `/dev/stderr` itself was renamed.
#[test]
fn what_a_process_has_open_is_no_file_of_a_sink() {
    let site = Site::unsigned();
    let log = site.path().join("log");
    let open = || {
        fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("opened")
    };
    for (path, part) in [
        (PathBuf::from("/dev/stderr"), "name the file itself"),
        (PathBuf::from("/proc/self/fd/2"), "name the file itself"),
        (PathBuf::from("/proc/self/fd/77"), "name the file itself"),
        (log.clone(), "where this process writes its log"),
    ] {
        let config = Site::unsigned().sink(&format!("{FILE}{path:?}\nrotate_size = \"1MiB\""));
        for verb in ["check", "serve"] {
            fs::write(&log, "").expect("emptied");
            let mut command = Command::new(PROGRAM);
            command
                .arg(verb)
                .arg("--config")
                .arg(config.write_config())
                .current_dir(site.path());
            command.env_clear().env("TOKEN", "token").stderr(open());
            let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
            let said = fs::read_to_string(&log).expect("readable");
            assert_eq!(
                status.expect("it runs").code(),
                Some(78),
                "{path:?}: {said}"
            );
            assert!(said.contains(part), "{path:?}: {said}");
        }
    }
}

/// `check` warned and ended with 0, and `serve` did not start.
#[test]
fn a_data_directory_that_cannot_be_written_to_is_refused() {
    for path in ["/proc/hookline", "/proc", "/sys/kernel/hookline"] {
        for verb in ["check", "serve"] {
            let mut command = Command::new(PROGRAM);
            command
                .args([verb, "--listen", "127.0.0.1:0", "--data-dir", path])
                .env_clear();
            let output = ended(command);
            assert_eq!(output.status.code(), Some(78), "{path}: {output:?}");
            assert!(
                said(&output).contains("keeps no files"),
                "{path}: {output:?}"
            );
        }
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("as root this checks what another user may write");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let open = |path: &Path, mode, owner| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
        chown(path, Some(owner), None).expect("root may");
    };
    open(dir.path(), 0o755, 0);
    let data = dir.path().join("data");
    // The exit codes of check and serve.
    let run = |part: &str, codes: [i32; 2]| {
        for (verb, code) in ["check", "serve"].into_iter().zip(codes) {
            let mut command = Command::new(PROGRAM);
            command
                .args([verb, "--listen", "127.0.0.1:0", "--data-dir"])
                .arg(&data);
            command.env_clear().uid(OTHER).gid(OTHER);
            let output = ended(command);
            let said = said(&output);
            assert_eq!(output.status.code(), Some(code), "{verb}: {part}: {said}");
            assert!(
                said.contains(part),
                "{verb}: {part:?} is missing in: {said}"
            );
        }
    };
    run("give that to the user that serves", [78, 78]);
    fs::create_dir(&data).expect("made");
    open(&data, 0o500, OTHER);
    run("give that to the user that serves", [78, 78]);
    open(&data, 0o755, 0);
    run("belongs to user root (0)", [0, 1]);
    open(&data, 0o700, OTHER);
    fs::write(data.join("LOCK"), "").expect("written");
    run("may not write to", [78, 78]);
}

/// A user that no test runs as.
const OTHER: u32 = 54_321;

/// The dead letters of a sink called `worker` could never be retried.
#[test]
fn names_that_stand_for_something_else_are_refused() {
    for (name, part) in [
        ("worker", "have this name"),
        ("Worker", "have this name"),
        (".", "must not start with a dot"),
        ("a/b", "letters, digits"),
        ("-x", "an option"),
        ("crm.aside", "set aside"),
        ("crm.aside.2", "set aside"),
    ] {
        let sink = format!("name = {name:?}\ntype = \"stdout\"");
        refused(&Site::unsigned().sink(&sink), part);
    }
    let twice = Site::unsigned()
        .sink("name = \"crm\"\ntype = \"stdout\"")
        .sink("name = \"CRM\"\ntype = \"exec\"\ncommand = [\"/bin/cat\"]");
    refused(&twice, "but for capitals");
}

/// The server did not start without the directory; now events wait for it.
#[test]
fn what_may_be_there_later_is_a_warning() {
    let site = Site::unsigned().sink(&format!("{FILE}\"later/events.ndjson\""));
    let server = warned(&site, "the directory later is not there");
    sends(&server);
    fs::create_dir(site.path().join("later")).expect("made");
    let path = site.path().join("later/events.ndjson");
    let lines = || fs::read_to_string(&path).map_or(0, |it| it.lines().count());
    eventually("it is delivered", || lines() == 1);
    stops(server);

    let exec = |command: &str| {
        Site::unsigned().sink(&format!(
            "name = \"x\"\ntype = \"exec\"\ncommand = [{command:?}]"
        ))
    };
    for command in ["/nonexistent/program", "no-such-program"] {
        let site = exec(command);
        let server = warned(&site, "is not there: install it");
        stops(server);
    }
    let site = Site::unsigned().server("loops = 64");
    let server = warned(&site, "more than this process has cores");
    stops(server);
}

/// A sink whose file cannot be opened did not let the server stop.
#[test]
fn a_stop_does_not_wait_for_what_is_not_there() {
    let site = Site::unsigned()
        .server("drain_timeout = \"10m\"")
        .sink(&format!("{FILE}\"never/events.ndjson\""));
    let server = site.start();
    sends(&server);
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
    assert!(
        said.contains("waits in the journal for the next start"),
        "{said}"
    );
}

/// With a configuration the server went on without metrics and health, and nobody noticed.
#[test]
fn with_a_configuration_the_admin_pages_are_not_optional() {
    // If another process has it, it is taken as well.
    let _taken = TcpListener::bind("127.0.0.1:8081");
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("hookline.toml");
    let text = "[server]\nlisten = \"127.0.0.1:0\"\n[[endpoint]]\npath = \"/w\"\nprovider = \"meta\"\n\
                accept_unsigned = true\n";
    fs::write(&config, text).expect("written");
    let mut command = Command::new(PROGRAM);
    command
        .arg("serve")
        .arg("--config")
        .arg(&config)
        .current_dir(dir.path());
    let output = ended(command);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = said(&output);
    assert!(
        said.contains("127.0.0.1:8081") && said.contains("[admin]"),
        "{said}"
    );
    assert!(
        !dir.path().join("hookline-data").exists(),
        "nothing was made"
    );

    let mut command = Command::new(PROGRAM);
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .current_dir(dir.path());
    let server = Running::spawn(command);
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
    assert!(said.contains("metrics and health are not served"), "{said}");
}
