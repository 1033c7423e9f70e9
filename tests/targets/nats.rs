//! nats-server with JetStream, and a client of a few lines that shows what lies in the stream.

use super::common::client::post;
use super::common::{PROGRAM, Running, Site, eventually};
use super::process::{Process, free_address, program};
use super::stage::{audit, dead_letters, metric, site, start, terminate};
use super::target::{Delivered, SINK, Target};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub(crate) struct NatsServer {
    program: String,
    directory: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    process: Process,
    takes_login: bool,
    payload_max: usize,
    /// Further lines of its configuration.
    settings: String,
}

impl NatsServer {
    fn config(&self) -> PathBuf {
        let password = if self.takes_login {
            PASSWORD
        } else {
            "another"
        };
        let text = format!(
            "listen: \"{}\"\nmax_payload: {}\njetstream {{ store_dir: \"{}\" }}\n{}\n\
             authorization {{ users: [ {{ user: hookline, password: \"{password}\" }}, \
             {{ user: reader, password: reader }}, {{ nkey: {NKEY} }} ] }}\n",
            self.address,
            self.payload_max,
            self.directory.path().join("store").display(),
            self.settings,
        );
        let path = self.directory.path().join("nats.conf");
        fs::write(&path, text).expect("written");
        path
    }

    /// One that does not run yet.
    fn prepared(settings: String) -> Option<NatsServer> {
        Some(NatsServer {
            program: program("HOOKLINE_NATS_SERVER", &["nats-server"])?,
            directory: tempfile::tempdir().expect("a directory"),
            address: free_address(),
            process: Process::none(),
            takes_login: true,
            payload_max: 1 << 20,
            settings,
        })
    }

    fn spawn(&self) -> Process {
        let mut command = Command::new(&self.program);
        Process::start(command.arg("-c").arg(self.config()), self.address)
    }

    /// Another configuration needs another process.
    fn restart(&mut self) {
        self.process.kill();
        self.process = self.spawn();
        self.reader();
    }

    pub(crate) fn reader(&self) -> Client {
        let mut reader = None;
        eventually("JetStream answers", || {
            reader = Client::connect(self.address)
                .filter(|it| it.api("INFO", &Value::Null)["error"].is_null());
            reader.is_some()
        });
        reader.expect("it does")
    }

    /// Makes the stream with these settings beside the usual ones.
    pub(crate) fn create_with(&mut self, settings: &[(&str, Value)]) {
        let mut config = json!({
            "name": STREAM, "subjects": ["whatsapp.>"], "storage": "file", "duplicate_window": 600_000_000_000_u64,
        });
        for (name, value) in settings {
            config[name] = value.clone();
        }
        // Asked twice it is the same stream.
        eventually("the stream is made", || {
            let answer = self
                .reader()
                .api(&format!("STREAM.CREATE.{STREAM}"), &config);
            answer["error"].is_null()
        });
    }

    /// Everything in the stream: the subject, the headers and the payload. A cluster that has just lost a server may
    /// need a while until it says.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let reader = self.reader();
        let mut count = None;
        eventually("the stream says how much it holds", || {
            let info = reader.api(&format!("STREAM.INFO.{STREAM}"), &Value::Null);
            count = info["state"]["messages"].as_u64();
            count.is_some()
        });
        let mut attempt = 0;
        let mut all = None;
        eventually("a consumer is made", || {
            // One whose answer came too late delivers, too: each has a subject of its own.
            attempt += 1;
            let subject = format!("all.{attempt}");
            let consumer = json!({ "stream_name": STREAM, "config": {
                "deliver_subject": subject, "deliver_policy": "all", "ack_policy": "none", "replay_policy": "instant",
            } });
            let mut client = Client::connect(self.address).expect("it is there");
            client.write(&format!("SUB {subject} 9\r\nPING\r\n"));
            client.until_pong();
            let made = reader.api(&format!("CONSUMER.CREATE.{STREAM}"), &consumer);
            all = Some(client).filter(|_| made["error"].is_null());
            all.is_some()
        });
        let (count, mut all) = count.zip(all).expect("both are there");
        (0..count).map(|_| all.message()).collect()
    }
}

impl Target for NatsServer {
    const EXACTLY_ONCE: bool = true;
    const COUNTS_KNOWN: bool = true;

    fn start() -> Option<NatsServer> {
        let mut server = NatsServer::prepared(String::new())?;
        server.process = server.spawn();
        server.create();
        Some(server)
    }

    fn sink(&self) -> String {
        format!(
            "name = \"{SINK}\"\ntype = \"nats\"\nservers = [\"nats://{}\"]\nstream = \"{STREAM}\"\n\
             subject = \"whatsapp.{{endpoint}}.{{lane}}.{{type}}\"\nuser = \"hookline\"\n\
             password = {{ env = \"NATS_PASSWORD\" }}",
            self.address
        )
    }

    fn password(&self) -> (&'static str, &'static str) {
        ("NATS_PASSWORD", PASSWORD)
    }

    fn state(&self) -> Option<PathBuf> {
        Some(self.directory.path().join("store"))
    }

    fn kill(&mut self) {
        self.process.kill();
    }

    fn start_again(&mut self) {
        self.process = self.spawn();
        self.reader();
    }

    fn stop(&mut self) {
        self.process.signal(Signal::STOP);
    }

    fn go_on(&mut self) {
        self.process.signal(Signal::CONT);
    }

    fn take_login(&mut self, takes: bool) {
        self.takes_login = takes;
        self.restart();
    }

    fn remove(&mut self) {
        let reader = self.reader();
        eventually("the stream is gone", || {
            reader.api(&format!("STREAM.DELETE.{STREAM}"), &Value::Null);
            let info = reader.api(&format!("STREAM.INFO.{STREAM}"), &Value::Null);
            info["error"]["code"] == 404
        });
    }

    fn create(&mut self) {
        self.create_with(&[]);
    }

    fn limit(&mut self, bytes: usize) -> bool {
        self.payload_max = bytes;
        self.restart();
        true
    }

    fn delivered(&mut self) -> Vec<Delivered> {
        self.messages().iter().map(Message::delivered).collect()
    }
}

/// A message as it lies in the stream.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn delivered(&self) -> Delivered {
        let optional = |name: &str| self.headers.get(name).cloned();
        let (sequence, index) = self
            .header("ce-position")
            .split_once('.')
            .expect("a position");
        Delivered {
            id: self.header("ce-id").to_owned(),
            position: (
                sequence.parse().expect("a number"),
                index.parse().expect("a number"),
            ),
            lane: self.header("ce-lane").to_owned(),
            subject: optional("ce-subject"),
            replay: optional("ce-replay"),
        }
    }
}

/// Speaks the protocol of NATS itself: nothing that Hookline is built with shows what it has done.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr) -> Option<Client> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(WAIT)).expect("settable");
        let mut client = Client {
            stream: BufReader::new(stream),
        };
        client.line()?;
        let login = json!({ "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "lang": "test", "version": "1", "user": "reader", "pass": "reader" });
        client.write(&format!("CONNECT {login}\r\nPING\r\n"));
        client.until_pong();
        Some(client)
    }

    fn write(&mut self, text: &str) {
        let written = self.stream.get_mut().write_all(text.as_bytes());
        written.expect("it takes that");
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }

    fn until_pong(&mut self) {
        loop {
            match self.line().as_deref() {
                Some("PONG") | None => return,
                Some(line) if line.starts_with("-ERR") => panic!("{line}"),
                Some(_) => {}
            }
        }
    }

    /// Asks JetStream, over a connection of its own.
    pub(crate) fn api(&self, what: &str, body: &Value) -> Value {
        let address = self.stream.get_ref().peer_addr().expect("connected");
        let Some(mut client) = Client::connect(address) else {
            return json!({ "error": "not there" });
        };
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let len = body.len();
        client.write(&format!(
            "SUB answer 1\r\nPUB $JS.API.{what} answer {len}\r\n{body}\r\n"
        ));
        // A cluster without a leader says nothing.
        let stream = client.stream.get_ref();
        stream.set_read_timeout(Some(ANSWER)).expect("settable");
        let Some(answer) = client.next() else {
            return json!({ "error": "no answer" });
        };
        serde_json::from_slice(&answer.payload)
            .unwrap_or_else(|_| json!({ "error": "no JetStream" }))
    }

    /// The next message, which has to come.
    fn message(&mut self) -> Message {
        self.next().expect("a message comes")
    }

    fn next(&mut self) -> Option<Message> {
        loop {
            let line = self.line()?;
            let words: Vec<&str> = line.split(' ').collect();
            let (header_len, len) = match words.as_slice() {
                ["PING"] => {
                    self.write("PONG\r\n");
                    continue;
                }
                ["MSG", .., len] => ("0", *len),
                ["HMSG", .., header_len, len] => (*header_len, *len),
                _ => continue,
            };
            let number = |text: &str| text.parse::<usize>().expect("a number");
            let (header_len, len) = (number(header_len), number(len));
            let mut bytes = vec![0; len + 2];
            self.stream.read_exact(&mut bytes).expect("it comes whole");
            let headers = String::from_utf8(bytes[..header_len].to_vec()).expect("text");
            let fields = headers.lines().filter_map(|line| line.split_once(": "));
            return Some(Message {
                subject: words[1].to_owned(),
                headers: fields
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                payload: bytes[header_len..len].to_vec(),
            });
        }
    }
}

const STREAM: &str = "WHATSAPP";
const PASSWORD: &str = "right";

/// A key of NATS' own documentation.
const NKEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const WAIT: Duration = Duration::from_mins(1);

/// For an answer of JetStream, which is asked again.
const ANSWER: Duration = Duration::from_secs(5);

/// A server with this in its sink beside what stands there, and these settings of NATS.
fn scene(server: &NatsServer, lines: &str) -> Site {
    let sink = format!("{}\n{lines}", server.sink());
    with_secrets(site().sink(&sink))
}

fn with_secrets(site: Site) -> Site {
    site.variable("NATS_PASSWORD", PASSWORD)
        .variable("NATS_SEED", SEED)
}

fn deliver(server: &Running, count: u64) {
    deliver_from(server, 0, count);
}

fn deliver_from(server: &Running, first: u64, count: u64) {
    let bodies = (first..first + count).map(|number| {
        json!({ "object": "whatsapp_business_account", "entry": [{ "id": "100.1", "changes": [{
            "field": "messages", "value": { "messaging_product": "whatsapp", "metadata": { "phone_number_id": "200" },
            "messages": [{ "from": "15550100042", "id": format!("wamid.{number}"), "timestamp": "1750000000",
                "type": "text", "text": { "body": "Grüße" } }] } }] }] })
    });
    let mut client = server.connect();
    for body in bodies {
        client.send(&post("/webhook", "", body.to_string().as_bytes()));
        assert_eq!(client.answer().code, 200);
    }
    eventually("all is delivered", || server.is_delivered(SINK));
}

/// What `/status` says of the sink.
fn status(server: &Running) -> Value {
    let (code, page) = server.admin_page("/status").expect("it is served");
    assert_eq!(code, 200);
    let status: Value = serde_json::from_str(&page).expect("JSON");
    status["sinks"][0].clone()
}

#[test]
fn a_message_has_id_subject_attributes_and_data() {
    let Some(nats) = NatsServer::start() else {
        return;
    };
    let subject = "whatsapp.{provider}.{endpoint}.{lane}.{type}.{waba}.{conversation}";
    let sink = nats.sink();
    let sink = sink.lines().filter(|line| !line.starts_with("subject"));
    let sink: String = sink.flat_map(|line| [line, "\n"]).collect();
    let site = with_secrets(site().sink(&format!("{sink}subject = {subject:?}")));
    let server = start(&site, 0);
    deliver(&server, 1);
    assert_eq!(status(&server)["confirmation"], "memory");
    terminate(server);
    let messages = nats.messages();
    let [message] = messages.as_slice() else {
        panic!("{messages:?}");
    };
    assert_eq!(
        message.subject,
        "whatsapp.meta.webhook.messages.whatsapp.message.text.100_1.200:15550100042"
    );
    let events = site.events();
    let event = events.first().expect("an event");
    for (name, value) in event.as_object().expect("an object") {
        if name != "data" {
            assert_eq!(
                message.header(&format!("ce-{name}")),
                value.as_str().expect("text"),
                "{name}"
            );
        }
    }
    assert_eq!(message.header("ce-datacontenttype"), "application/json");
    assert_eq!(message.header("Content-Type"), "");
    let data: Value = serde_json::from_slice(&message.payload).expect("JSON");
    assert_eq!(data, event["data"]);
    let id = message.header("Nats-Msg-Id");
    let (journal, position) = id.split_once('-').expect("two parts");
    assert_eq!((journal.len(), position), (32, "1.0"));
}

#[test]
fn with_the_events_own_id_two_instances_share_a_stream() {
    let Some(nats) = NatsServer::start() else {
        return;
    };
    for known in [0, 5] {
        let site = scene(&nats, "identity = \"event\"");
        let server = start(&site, 0);
        deliver(&server, 5);
        assert_eq!(metric(&server, "hookline_sink_known_total", SINK), known);
        terminate(server);
        audit(&site);
    }
    assert_eq!(nats.messages().len(), 5);
}

#[test]
fn a_stream_is_made_where_that_is_asked_for() {
    let Some(mut nats) = NatsServer::start() else {
        return;
    };
    nats.remove();
    let site = scene(
        &nats,
        "create = true\nduplicate_window = \"3m\"\nconfirmation = \"fsynced\"",
    );
    let server = start(&site, 0);
    deliver(&server, 3);
    assert_eq!(status(&server)["confirmation"], "fsynced");
    terminate(server);
    let info = nats
        .reader()
        .api(&format!("STREAM.INFO.{STREAM}"), &Value::Null);
    let config = &info["config"];
    assert_eq!(config["subjects"], json!(["whatsapp.>"]), "{info}");
    assert_eq!(config["duplicate_window"], json!(180_000_000_000_u64));
    assert_eq!(
        (&config["storage"], &config["num_replicas"]),
        (&json!("file"), &json!(1))
    );
    assert_eq!(nats.messages().len(), 3);
}

#[test]
fn what_the_stream_does_not_take_is_a_dead_letter_that_says_the_sizes() {
    let Some(mut nats) = NatsServer::start() else {
        return;
    };
    nats.remove();
    nats.create_with(&[("max_msg_size", json!(512))]);
    let site = scene(&nats, "");
    let server = start(&site, 0);
    deliver(&server, 1);
    let letters = dead_letters(&site);
    let reason = letters[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("max_msg_size is 512"), "{reason}");
    assert_eq!(metric(&server, "hookline_sink_retries_total", SINK), 0);
    terminate(server);
    audit(&site);
}

/// A full stream is the server's state: nothing is given up for it.
#[test]
fn a_full_stream_is_waited_for() {
    let Some(mut nats) = NatsServer::start() else {
        return;
    };
    nats.remove();
    nats.create_with(&[("max_msgs", json!(3)), ("discard", json!("new"))]);
    let site = scene(
        &nats,
        "max_attempts = 2\nretry_min = \"10ms\"\nretry_max = \"50ms\"",
    );
    let server = start(&site, 0);
    let mut client = server.connect();
    for conversation in 0..9_u32 {
        let body = super::traffic::body(
            &[super::traffic::Update {
                conversation,
                lane: super::traffic::Lane::Messages,
                number: 0,
            }],
            10,
        );
        client.send(&post("/webhook", "", &body));
        assert_eq!(client.answer().code, 200);
    }
    let retries = || metric(&server, "hookline_sink_retries_total", SINK);
    eventually("the rest is refused", || retries() > 20);
    assert_eq!(metric(&server, "hookline_sink_dead_total", SINK), 0);
    let larger = json!({ "name": STREAM, "subjects": ["whatsapp.>"], "storage": "file", "max_msgs": -1,
        "duplicate_window": 600_000_000_000_u64, "discard": "new" });
    let answer = nats
        .reader()
        .api(&format!("STREAM.UPDATE.{STREAM}"), &larger);
    assert!(answer["error"].is_null(), "{answer}");
    eventually("all is delivered", || server.is_delivered(SINK));
    terminate(server);
    assert_eq!(nats.messages().len(), 9);
}

#[test]
fn a_key_and_tls_with_an_own_authority_are_taken() {
    let Some(mut nats) = NatsServer::start() else {
        return;
    };
    let made = rcgen::generate_simple_self_signed(["nats.example".to_owned()]).expect("made");
    let path = |name: &str| nats.directory.path().join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    fs::write(&cert, made.cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    nats.settings = format!("tls {{ cert_file: {cert:?}, key_file: {key:?} }}");
    let keyed = format!(
        "name = \"{SINK}\"\ntype = \"nats\"\nservers = [\"tls://{}\"]\nstream = \"{STREAM}\"\n\
         subject = \"whatsapp.{{lane}}\"\nnkey_seed = {{ env = \"NATS_SEED\" }}\nca_file = {cert:?}\n",
        nats.address
    );
    nats.process.kill();
    nats.process = nats.spawn();
    // The certificate has another name than the address.
    let site = with_secrets(Site::unsigned().sink(&keyed));
    let (code, report) = check(&site);
    let found = &report["connect"][0]["found"][0];
    assert_eq!(code, 1, "{report}");
    assert!(
        found.as_str().expect("text").contains("certificate"),
        "{report}"
    );
    let site =
        with_secrets(Site::unsigned().sink(&format!("{keyed}server_name = \"nats.example\"")));
    let (code, report) = check(&site);
    assert_eq!(code, 0, "{report}");
    let server = start(&site, 0);
    deliver(&server, 3);
    terminate(server);
}

/// `hookline check --connect`: exit code and report.
fn check(site: &Site) -> (i32, Value) {
    let mut command = Command::new(PROGRAM);
    command.args(["check", "--connect", "--output", "json", "--config"]);
    command.arg(site.write_config()).env_clear();
    for (name, value) in [
        ("NATS_PASSWORD", PASSWORD),
        ("NATS_SEED", SEED),
        ("TOKEN", "token"),
    ] {
        command.env(name, value);
    }
    let output = command.output().expect("it runs");
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code().expect("it ends"), report)
}

#[test]
fn a_check_says_what_the_target_is_like() {
    let Some(mut nats) = NatsServer::start() else {
        return;
    };
    let text = |report: &Value| report["connect"][0].to_string();
    let site = scene(&nats, "");
    let (code, report) = check(&site);
    assert_eq!((code, &report["ok"]), (0, &json!(true)), "{report}");
    for part in [
        "takes the login",
        "messages up to 1MiB",
        "is there, kept by 1",
        "window of 10m",
        "memory",
    ] {
        assert!(text(&report).contains(part), "{part}: {report}");
    }
    assert_eq!(report["connect"][0]["warnings"], json!([]), "{report}");
    nats.remove();
    nats.create_with(&[
        ("duplicate_window", json!(1_000_000_000_u64)),
        ("max_msg_size", json!(4096)),
    ]);
    let (code, report) = check(&site);
    assert_eq!(code, 0, "{report}");
    for part in ["is below the longest pause", "the target takes 4KiB"] {
        assert!(text(&report).contains(part), "{part}: {report}");
    }
    nats.remove();
    let (code, report) = check(&site);
    assert_eq!(code, 1, "{report}");
    assert!(text(&report).contains("WHATSAPP is not there"), "{report}");
    nats.take_login(false);
    let (code, report) = check(&site);
    assert_eq!(code, 1, "{report}");
    assert!(text(&report).contains("refuses the login"), "{report}");
    nats.kill();
    let (code, report) = check(&site);
    assert_eq!(code, 1, "{report}");
    assert!(text(&report).contains("refused"), "{report}");
}

/// Three servers, each of which keeps the stream: the one that Hookline is connected to is killed under load.
#[test]
fn a_stream_of_three_servers_is_replicated_and_outlives_one_of_them() {
    let routes = [(); 3].map(|()| free_address());
    let all = routes.map(|route| format!("\"nats://{route}\"")).join(", ");
    let mut servers = Vec::new();
    for (number, route) in routes.iter().enumerate() {
        let settings = format!(
            "server_name: n{number}\ncluster {{ name: c, listen: \"{route}\", routes: [{all}] }}"
        );
        let Some(mut server) = NatsServer::prepared(settings) else {
            return;
        };
        server.process = server.spawn();
        servers.push(server);
    }
    let config = json!({ "name": STREAM, "subjects": ["whatsapp.>"], "storage": "file", "num_replicas": 3,
        "duplicate_window": 600_000_000_000_u64 });
    let reader = servers[1].reader();
    eventually("the stream is made", || {
        reader.api(&format!("STREAM.CREATE.{STREAM}"), &config)["error"].is_null()
    });
    let listed = servers
        .iter()
        .map(|it| format!("\"nats://{}\"", it.address));
    let listed = listed.collect::<Vec<_>>().join(", ");
    let sink = servers[0].sink();
    let sink = sink.lines().filter(|line| !line.starts_with("servers"));
    let sink: String = sink.flat_map(|line| [line, "\n"]).collect();
    let site = with_secrets(site().sink(&format!("{sink}servers = [{listed}]")));
    let server = start(&site, 0);
    deliver(&server, 20);
    assert_eq!(status(&server)["confirmation"], "replicated");
    servers[0].kill();
    deliver_from(&server, 20, 100);
    assert_eq!(metric(&server, "hookline_sink_dead_total", SINK), 0);
    terminate(server);
    assert_eq!(servers[1].messages().len(), 120);
    audit(&site);
}
