//! `PostgreSQL`, as `initdb` makes it, and `psql` to see what stands in the tables.

use super::common::client::{Client, post};
use super::common::strace::Strace;
use super::common::{Guarded, PROGRAM, Running, Site, UNSIGNED, eventually};
use super::process::{free_address, program};
use super::stage::{audit, is_delivered, metric, site, start, terminate, verb};
use super::target::{Delivered, SINK, Target};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) struct PostgresServer {
    /// Where its programs are.
    programs: PathBuf,
    directory: tempfile::TempDir,
    address: SocketAddr,
    process: Guarded,
    /// Further lines of the sink.
    settings: &'static str,
}

impl PostgresServer {
    /// Made, and without tables.
    fn bare() -> Option<PostgresServer> {
        let names = ["postgres", "../lib/postgresql/15/bin/postgres"];
        let postgres = program("HOOKLINE_POSTGRES", &names).map(PathBuf::from);
        let postgres = postgres?.canonicalize().expect("it is there");
        program("HOOKLINE_PSQL", &["psql"])?;
        let directory = tempfile::tempdir().expect("a directory");
        let mut server = PostgresServer {
            programs: postgres.parent().expect("a directory").to_owned(),
            directory,
            address: free_address(),
            process: Guarded(None),
            settings: "",
        };
        if let Some((user, group)) = other_user() {
            chown(server.directory.path(), Some(user), Some(group)).expect("it is ours");
        }
        let made = server
            .command("initdb")
            .args(["--no-sync", "-U", "admin", "-A", "trust", "-E", "UTF8"])
            .args(["--no-locale", "-D"])
            .arg(server.data())
            .output()
            .expect("it runs");
        assert!(made.status.success(), "{made:?}");
        let access = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(server.data().join("pg_hba.conf"), access).expect("written");
        server.start_again();
        server.sql(&format!(
            "CREATE ROLE hookline LOGIN PASSWORD '{PASSWORD}'; CREATE SCHEMA app AUTHORIZATION hookline"
        ));
        Some(server)
    }

    /// With these further lines of the sink.
    fn with(settings: &'static str) -> Option<PostgresServer> {
        let mut server = PostgresServer::bare()?;
        server.settings = settings;
        Some(server)
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// One of its programs, which refuse to run as root.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.directory.path());
        if let Some((user, group)) = other_user() {
            command.gid(group).uid(user);
        }
        command
    }

    fn psql(&self, user: &str) -> Command {
        let mut command = Command::new("psql");
        let directory = self.directory.path();
        command.args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1"]);
        command.args(["-U", user, "-d", "postgres", "-h"]);
        command
            .arg(directory)
            .args(["-p", &self.address.port().to_string()]);
        command
    }

    /// Runs SQL as the owner of everything; gives the lines that it prints.
    fn sql(&self, sql: &str) -> Vec<String> {
        self.sql_as("admin", sql)
    }

    fn sql_as(&self, user: &str, sql: &str) -> Vec<String> {
        let mut psql = self.psql(user);
        psql.stdin(Stdio::piped());
        psql.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = psql.spawn().expect("psql runs");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(sql.as_bytes()).expect("it reads");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{sql}: {output:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    fn number(&self, sql: &str) -> u64 {
        let lines = self.sql(sql);
        let number = lines.first().and_then(|line| line.parse().ok());
        number.unwrap_or_else(|| panic!("a number: {sql}: {lines:?}"))
    }

    /// Makes the tables with what `hookline schema postgres` prints.
    fn create_with(&self, arguments: &[&str]) {
        let schema = Command::new(PROGRAM)
            .args(["schema", "postgres", "--table", TABLE])
            .args(arguments)
            .output()
            .expect("it runs");
        assert!(schema.status.success(), "{schema:?}");
        let script = String::from_utf8(schema.stdout).expect("UTF-8");
        self.sql_as("hookline", &script);
    }

    /// The server and all its processes.
    fn signal(&self, signal: Signal) {
        let child = self.process.0.as_ref().expect("it runs");
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let children = fs::read_to_string(children).unwrap_or_default();
        // It first, or it makes others.
        kill_process(Pid::from_child(child), signal).expect("it runs");
        for child in children.split_whitespace() {
            let pid = child.parse().ok().and_then(Pid::from_raw);
            // One that has ended meanwhile needs none.
            let _ = kill_process(pid.expect("a process"), signal);
        }
    }

    fn answers(&self) -> bool {
        let mut psql = self.psql("admin");
        psql.args(["-c", "SELECT 1"]).stdout(Stdio::null());
        psql.stderr(Stdio::null())
            .status()
            .is_ok_and(|it| it.success())
    }

    fn end_connections(&self) {
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'hookline'",
        );
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.process.0.is_some() {
            self.kill();
        }
    }
}

impl Target for PostgresServer {
    const EXACTLY_ONCE: bool = true;
    const COUNTS_KNOWN: bool = false;
    const NO_MEANING: &'static [(&'static str, &'static str)] = &[(
        "too_large_is_a_dead_letter",
        "a row takes whatever Hookline takes; what a table refuses is in the cases below",
    )];
    const SAYS_WHERE_IT_IS: bool = true;

    fn start() -> Option<PostgresServer> {
        let mut server = PostgresServer::bare()?;
        server.create();
        Some(server)
    }

    fn sink(&self) -> String {
        format!(
            "name = \"{SINK}\"\ntype = \"postgres\"\nurl = \"postgres://hookline@{}/postgres\"\ntable = \"{TABLE}\"\n\
             password = {{ env = \"POSTGRES_PASSWORD\" }}\ntimeout = \"10s\"\n{}",
            self.address, self.settings
        )
    }

    fn password(&self) -> (&'static str, &'static str) {
        ("POSTGRES_PASSWORD", PASSWORD)
    }

    fn state(&self) -> Option<PathBuf> {
        Some(self.data())
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Some(mut child) = self.process.0.take() {
            child.wait().expect("it ends");
        }
    }

    fn start_again(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k");
        command.arg(self.directory.path());
        command.args(["-p", &self.address.port().to_string()]);
        command.args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "shared_buffers=16MB",
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null());
        // What a kill has left of the one before holds its memory for a moment.
        eventually("the server answers", || {
            let child = &mut self.process.0;
            let has_ended =
                |it: &mut std::process::Child| it.try_wait().expect("can be asked").is_some();
            if child.as_mut().is_none_or(has_ended) {
                *child = Some(command.spawn().expect("it runs"));
            }
            self.answers()
        });
    }

    fn stop(&mut self) {
        self.signal(Signal::STOP);
    }

    fn go_on(&mut self) {
        self.signal(Signal::CONT);
    }

    fn take_login(&mut self, takes: bool) {
        let password = if takes { PASSWORD } else { "another" };
        self.sql(&format!("ALTER ROLE hookline PASSWORD '{password}'"));
        self.end_connections();
    }

    fn remove(&mut self) {
        self.sql(&format!(
            "DROP TABLE {TABLE}, app.hookline_position, app.hookline_rejected"
        ));
    }

    fn create(&mut self) {
        self.create_with(&[]);
    }

    fn limit(&mut self, _bytes: usize) -> bool {
        false
    }

    fn delivered(&mut self) -> Vec<Delivered> {
        let rows = self.sql(&format!(
            "SELECT id, sequence, index, lane, subject, replay FROM {TABLE} ORDER BY sequence, index, replay"
        ));
        let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let row = |line: String| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [id, sequence, index, lane, subject, replay] = fields[..] else {
                panic!("six fields: {line}");
            };
            let number = |text: &str| text.parse().expect("a number");
            Delivered {
                id: id.to_owned(),
                position: (number(sequence), number(index)),
                lane: lane.to_owned(),
                subject: optional(subject),
                replay: optional(replay),
            }
        };
        rows.into_iter().map(row).collect()
    }
}

/// A server that delivers into `target`, with `settings` beside those of the sink.
fn deliver_to(target: &PostgresServer) -> (Site, Running) {
    let (name, password) = target.password();
    let site = site().sink(&target.sink()).variable(name, password);
    let server = start(&site, 0);
    (site, server)
}

/// Posts bodies, all of which are taken.
fn post_all<'b>(server: &Running, bodies: impl IntoIterator<Item = &'b [u8]>) {
    let mut client = server.connect();
    for body in bodies {
        client.send(&post("/webhook", "", body));
        assert_eq!(client.answer().code, 200);
    }
}

/// A body with one message of this id and text, which is JSON already.
fn message(id: &str, text: &str) -> Vec<u8> {
    format!(
        "{{\"object\":\"whatsapp_business_account\",\"entry\":[{{\"id\":\"1\",\"changes\":[{{\"field\":\"messages\",\
         \"value\":{{\"messaging_product\":\"whatsapp\",\"metadata\":{{\"display_phone_number\":\"1\",\
         \"phone_number_id\":\"2\"}},\"messages\":[{{\"id\":\"{id}\",\"from\":\"3\",\"timestamp\":\"1796000000\",\
         \"type\":\"text\",\"text\":{{\"body\":{text}}}}}]}}}}]}}]}}"
    )
    .into_bytes()
}

fn messages(from: usize, count: usize) -> Vec<Vec<u8>> {
    let all = from..from + count;
    all.map(|number| message(&format!("wamid.{number}"), "\"x\""))
        .collect()
}

fn post_messages(server: &Running, from: usize, count: usize) {
    let bodies = messages(from, count);
    post_all(server, bodies.iter().map(Vec::as_slice));
}

fn settle(server: &Running) {
    eventually("all is delivered", || is_delivered(server, SINK));
}

fn is_logged(server: &Running, part: &str) {
    eventually(part, || server.stderr().contains(part));
}

/// What a type or a constraint of the table does not take stops nothing, and is nowhere lost.
#[test]
fn an_odd_event_stands_there_all_the_same() {
    let settings = "data_type = \"jsonb\"\ncreate = true";
    let Some(target) = PostgresServer::with(settings) else {
        return;
    };
    let (site, server) = deliver_to(&target);
    post_messages(&server, 0, 1);
    eventually("the table is made", || {
        target.number("SELECT count(*) FROM pg_tables WHERE tablename = 'events'") == 1
    });
    settle(&server);
    target.sql(&format!(
        "ALTER TABLE {TABLE} ADD CONSTRAINT none CHECK (data #>> '{{message,text,body}}' <> 'forbidden')"
    ));
    // They gather while the table cannot be written to, so that the odd ones stand among others.
    target.sql("REVOKE CONNECT ON DATABASE postgres FROM public");
    target.end_connections();
    for (from, number, text) in [
        (100, "zero", r#""a\u0000b""#),
        (200, "half", r#""a\ud800b""#),
        (300, "forbidden", "\"forbidden\""),
    ] {
        let body = message(number, text);
        post_messages(&server, from, 30);
        post_all(&server, [body.as_slice(), b"not JSON \xff"]);
    }
    target.sql("GRANT CONNECT ON DATABASE postgres TO public");
    settle(&server);
    // Not by `tail`: half a surrogate pair is nothing that a parser of JSON in a test takes.
    let count = metric(&server, "hookline_sink_events_total", SINK);
    assert_eq!(count, 1 + 3 * 31 + 1);
    let rejected = "SELECT count(*) FROM app.hookline_rejected";
    assert_eq!(target.number(rejected), 1);
    assert_eq!(
        target.number(&format!("SELECT count(*) FROM {TABLE}")),
        count - 1
    );
    let as_text = target.sql(&format!(
        "SELECT data #>> '{{}}' FROM {TABLE} WHERE jsonb_typeof(data) = 'string' ORDER BY sequence"
    ));
    assert_eq!(as_text.len(), 2, "{as_text:?}");
    assert!(as_text[0].contains(r#""a\u0000b""#), "{as_text:?}");
    let data: Value = serde_json::from_str(&as_text[0]).expect("it is JSON");
    assert_eq!(data["message"]["text"]["body"], "a\0b");
    let raw = format!("SELECT count(*) FROM {TABLE} WHERE data ? 'data_base64'");
    assert_eq!(target.number(&raw), 1);
    let reason = target.sql("SELECT sink, reason, data FROM app.hookline_rejected");
    assert!(
        reason[0].starts_with("target\t") && reason[0].contains("23514"),
        "{reason:?}"
    );
    assert!(reason[0].contains("forbidden"), "{reason:?}");
    is_logged(&server, "hookline_rejected");
    is_logged(&server, "as a JSON string");
    terminate(server);
    audit(&site);
}

/// At each step of a connection and of a statement: sent, answered, and nobody has read it.
#[test]
fn a_kill_at_any_step_of_a_statement_is_none() {
    let Some(mut target) = PostgresServer::start() else {
        return;
    };
    let (name, password) = target.password();
    let site = site().sink(&target.sink()).variable(name, password);
    for (round, step) in STEPS_OF.into_iter().cycle().take(STEPS).enumerate() {
        let mut server = start(&site, 0);
        // From the login on, which takes some.
        let inject = format!("inject={step}:signal=KILL:when={}", 1 + round);
        let Some(_strace) =
            Strace::attach_thread(&server, "hl-sink-target", &site, &["-e", &inject])
        else {
            return;
        };
        // It may have come to its end already.
        let mut client = TcpStream::connect(server.address).map(Client::over);
        let from = MOST * round;
        let is_taken = |number: &usize| {
            let body = message(&format!("wamid.{number}"), "\"x\"");
            client.as_mut().is_ok_and(|it| {
                it.try_send(&post("/webhook", "", &body)) && matches!(it.next_or_cut(), Ok(Some(_)))
            })
        };
        let taken = (from..from + MOST).take_while(is_taken).count();
        assert!(taken < MOST, "{inject}");
        server.wait();
    }
    let server = start(&site, 1);
    settle(&server);
    terminate(server);
    let expected: Vec<String> = site
        .events()
        .iter()
        .map(|it| it["id"].to_string())
        .collect();
    let delivered = target.delivered();
    let found: Vec<String> = delivered.iter().map(|it| format!("{:?}", it.id)).collect();
    assert_eq!(found, expected, "each once, in order");
    audit(&site);
}

/// The row is what counts, so it has to go where a person has moved the cursor, and nowhere else.
#[test]
fn a_cursor_that_is_moved_moves_the_row() {
    let Some(target) = PostgresServer::start() else {
        return;
    };
    let (site, server) = deliver_to(&target);
    post_messages(&server, 0, 50);
    settle(&server);
    let position = "SELECT sequence FROM app.hookline_position WHERE index = 0";
    eventually("the row says so", || target.number(position) == 50);
    terminate(server);
    let seek = verb(&site, &["cursor", "seek", SINK, "--to", "31"]);
    assert!(seek.status.success(), "{seek:?}");
    let server = start(&site, 1);
    settle(&server);
    is_logged(&server, "the cursor of the sink was moved");
    let rows = format!("SELECT count(*), count(DISTINCT sequence) FROM {TABLE}");
    assert_eq!(target.sql(&rows), ["70\t50"]);
    // Once.
    terminate(server);
    let server = start(&site, 2);
    post_messages(&server, 50, 10);
    settle(&server);
    assert_eq!(target.sql(&rows), ["80\t60"]);
    eventually("the row says so", || target.number(position) == 60);
    terminate(server);
}

/// Under another name it goes on where it was, to the event, though a crash has left the cursor behind.
#[test]
fn a_former_name_takes_the_row_over() {
    let Some(target) = PostgresServer::start() else {
        return;
    };
    let (name, password) = target.password();
    let lines = target.sink().replace("\"target\"", "\"before\"");
    let before = site().sink(&lines).variable(name, password);
    let server = start(&before, 0);
    post_messages(&server, 0, 50);
    eventually("all is there", || {
        target.number(&format!("SELECT count(*) FROM {TABLE}")) == 50
    });
    server.kill();
    let lines = format!("{}\nformer_name = \"before\"", target.sink());
    let site = before.without_endpoints().endpoint(UNSIGNED).sink(&lines);
    let server = start(&site, 1);
    post_messages(&server, 50, 10);
    settle(&server);
    let rows = format!("SELECT count(*), count(DISTINCT sequence) FROM {TABLE}");
    assert_eq!(target.sql(&rows), ["60\t60"]);
    let names = target.sql("SELECT sink FROM app.hookline_position");
    assert_eq!(names, [SINK]);
    terminate(server);
}

/// A database from a backup, or a standby that lacks the end: the row went back with the events.
#[test]
fn what_the_database_has_lost_is_delivered_again() {
    let Some(mut target) = PostgresServer::start() else {
        return;
    };
    let (site, server) = deliver_to(&target);
    let rows = format!("SELECT count(*), count(DISTINCT sequence) FROM {TABLE}");
    let restore = format!(
        "DELETE FROM {TABLE} WHERE sequence > 20; UPDATE app.hookline_position SET sequence = 20"
    );
    post_messages(&server, 0, 50);
    settle(&server);
    // While it runs: at its next connection.
    eventually("it is saved", || {
        target.number("SELECT max(sequence) FROM app.hookline_position") == 50
    });
    target.sql(&restore);
    target.end_connections();
    post_messages(&server, 50, 10);
    eventually("all is there", || target.sql(&rows) == ["60\t60"]);
    settle(&server);
    is_logged(&server, "lacks what it had confirmed");
    terminate(server);
    // While it does not.
    target.sql(&restore);
    target.kill();
    target.start_again();
    let server = start(&site, 1);
    eventually("all is there", || target.sql(&rows) == ["60\t60"]);
    is_logged(&server, "less than its cursor says");
    terminate(server);
    audit(&site);
}

#[test]
fn one_of_two_writers_stops() {
    let Some(target) = PostgresServer::start() else {
        return;
    };
    let (site, server) = deliver_to(&target);
    post_messages(&server, 0, 5);
    settle(&server);
    // As a process with a copy of the journal has it.
    target.sql("UPDATE app.hookline_position SET writer = 'another', sequence = 9");
    post_messages(&server, 5, 5);
    is_logged(&server, "another process writes to the target");
    let rows = format!("SELECT count(*) FROM {TABLE}");
    assert_eq!(target.number(&rows), 5);
    assert_eq!(metric(&server, "hookline_sink_stopped", SINK), 1);
    assert!(site.path().exists());
}

#[test]
fn a_partition_is_made_for_each_day() {
    let Some(target) = PostgresServer::with("partitions = \"day\"") else {
        return;
    };
    target.create_with(&["--partitions", "day"]);
    let (_site, server) = deliver_to(&target);
    post_messages(&server, 0, 20);
    settle(&server);
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'app.events'::regclass";
    assert_eq!(target.number(partitions), 2, "today and tomorrow");
    // Somebody removes it.
    let today = target.sql(
        "SELECT format('DROP TABLE %s', inhrelid::regclass) FROM pg_inherits ORDER BY 1 LIMIT 1",
    );
    target.sql(&today[0]);
    post_messages(&server, 20, 5);
    settle(&server);
    assert_eq!(target.number(&format!("SELECT count(*) FROM {TABLE}")), 5);
    terminate(server);
}

/// Two instances behind a load balancer, to which the platform sends the same once more.
#[test]
fn with_unique_ids_an_event_stands_there_once_whoever_stores_it() {
    let Some(target) = PostgresServer::with("unique_ids = true") else {
        return;
    };
    target.create_with(&["--unique-ids"]);
    let (one_site, one) = deliver_to(&target);
    let (_other_site, other) = deliver_to(&target);
    post_messages(&one, 0, 40);
    settle(&one);
    post_messages(&other, 0, 60);
    settle(&other);
    let rows = format!("SELECT count(*), count(DISTINCT id) FROM {TABLE}");
    assert_eq!(target.sql(&rows), ["60\t60"]);
    assert_eq!(metric(&other, "hookline_sink_known_total", SINK), 40);
    assert_eq!(metric(&other, "hookline_sink_events_total", SINK), 60);
    // A replay fills only what is missing.
    target.sql(&format!("DELETE FROM {TABLE} WHERE sequence = 7"));
    let replay = ["replay", "--sink", SINK, "--from", "start", "--detach"];
    assert!(verb(&one_site, &replay).status.success());
    eventually("it is filled", || target.sql(&rows) == ["60\t60"]);
    terminate(one);
    terminate(other);
}

/// What `status` says of a confirmation is what the server says of itself.
#[test]
fn a_confirmation_is_worth_what_the_server_says() {
    let Some(target) = PostgresServer::start() else {
        return;
    };
    for (setting, expected) in [("on", "fsynced"), ("off", "memory")] {
        target.sql(&format!(
            "ALTER ROLE hookline SET synchronous_commit = {setting}"
        ));
        let (_site, server) = deliver_to(&target);
        eventually("it is said", || {
            let (_, status) = server.admin_page("/status").expect("it is served");
            let status: Value = serde_json::from_str(&status).expect("JSON");
            let sinks = status["sinks"].as_array().expect("sinks");
            sinks
                .iter()
                .any(|it| it["name"] == SINK && it["confirmation"] == expected)
        });
        terminate(server);
    }
}

/// `check --connect` says what a start would meet, and makes nothing.
#[test]
fn check_connect_says_what_is_there() {
    let Some(mut target) = PostgresServer::bare() else {
        return;
    };
    let (name, password) = target.password();
    let site = site().sink(&target.sink()).variable(name, password);
    let config = site.write_config();
    let check = |password: &str| {
        let mut command = Command::new(PROGRAM);
        command
            .args(["check", "--connect", "--config"])
            .arg(&config);
        command
            .env_clear()
            .env("TOKEN", "token")
            .env(name, password);
        let output = command.output().expect("it runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        (output.status.success(), text)
    };
    let (is_fine, text) = check(password);
    assert!(
        !is_fine && text.contains("hookline schema postgres"),
        "{text}"
    );
    let (is_fine, text) = check("wrong");
    assert!(
        !is_fine && text.contains("password authentication failed"),
        "{text}"
    );
    target.create();
    let (is_fine, text) = check(password);
    assert!(is_fine && text.contains("fsynced"), "{text}");
    target.sql(&format!("REVOKE INSERT ON {TABLE} FROM hookline"));
    let (is_fine, text) = check(password);
    assert!(!is_fine && text.contains("may not use"), "{text}");
    assert_eq!(
        target.number("SELECT count(*) FROM app.hookline_position"),
        0
    );
}

/// Whom a server runs as that refuses root; nothing where the test is not root.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string(Path::new("/etc/passwd")).expect("readable");
    let user = |name: &str| {
        let line = passwd
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line
            .split(':')
            .skip(2)
            .map(|it| it.parse().expect("a number"));
        numbers.next().zip(numbers.next())
    };
    user("postgres").or_else(|| user("nobody"))
}

/// Posted before a call at most.
const MOST: usize = 100_000;

/// Calls with which the sink's thread sends, and receives.
const STEPS_OF: [&str; 2] = ["sendto,sendmsg,writev", "recvfrom,recvmsg,readv"];

/// Steps at which a server is killed, in turn sent and received.
const STEPS: usize = 16;

const TABLE: &str = "app.events";
const PASSWORD: &str = "right";
