//! Apache Kafka 4.3.1 in `KRaft` mode, each broker a process with a directory of its own; and what lies in its topics.
//!
//! `kafka/fetch` brings it, and it needs a Java runtime. Brokers take a login with SASL at one address, and the test
//! without one at another. The topics are read by librdkafka's consumer, and partitions are checked against Java's
//! partitioner as it stands in Kafka's documentation.

use super::common::client::post;
use super::common::{PROGRAM, Running, Site, eventually};
use super::process::{Process, free_address, program};
use super::stage::{audit, metric, site, start, terminate};
use super::target::{Delivered, SINK, Target};
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

pub(crate) struct KafkaServer {
    java: String,
    jars: PathBuf,
    directory: tempfile::TempDir,
    /// The number of this one in its cluster.
    node: usize,
    /// Where the controllers of the cluster speak to each other: one in each broker.
    controllers: Vec<SocketAddr>,
    /// Without a login.
    open: SocketAddr,
    /// With one.
    address: SocketAddr,
    /// With TLS, and a login by SCRAM.
    scram: SocketAddr,
    process: Process,
    takes_login: bool,
    /// Further lines of its configuration.
    settings: String,
}

impl KafkaServer {
    fn config(&self) -> PathBuf {
        let password = if self.takes_login {
            PASSWORD
        } else {
            "another"
        };
        let voters = self.controllers.iter().enumerate();
        let voters: Vec<String> = voters
            .map(|(at, address)| format!("{}@{address}", at + 1))
            .collect();
        let mut text = format!(
            "process.roles=broker,controller\nnode.id={}\ncontroller.quorum.voters={}\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=OPEN\n\
             listeners=OPEN://{},LOGIN://{},CONTROLLER://{}\nlog.dirs={}\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\nnum.partitions=1\n\
             auto.create.topics.enable=true\nsasl.enabled.mechanisms=PLAIN\n\
             listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
             required user_hookline=\"{password}\";\n",
            self.node,
            voters.join(","),
            self.open,
            self.address,
            self.controllers[self.node - 1],
            self.logs().display(),
        );
        let map = "listener.security.protocol.map=CONTROLLER:PLAINTEXT,OPEN:PLAINTEXT,LOGIN:SASL_PLAINTEXT,\
                   SCRAM:SASL_SSL";
        let _ = writeln!(text, "{map}\n{}", self.settings);
        let path = self.directory.path().join("server.properties");
        fs::write(&path, text).expect("written");
        path
    }

    fn logs(&self) -> PathBuf {
        self.directory.path().join("logs")
    }

    /// One that does not run yet.
    fn prepared(node: usize, controllers: Vec<SocketAddr>) -> Option<KafkaServer> {
        let server = KafkaServer {
            java: program("HOOKLINE_JAVA", &["java"])?,
            jars: jars()?,
            directory: tempfile::tempdir().expect("a directory"),
            node,
            controllers,
            open: free_address(),
            address: free_address(),
            scram: free_address(),
            process: Process::none(),
            takes_login: true,
            settings: String::new(),
        };
        server.format();
        Some(server)
    }

    fn single() -> Option<KafkaServer> {
        KafkaServer::prepared(1, vec![free_address()])
    }

    fn java(&self) -> Command {
        let mut command = Command::new(&self.java);
        command.args(["-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
        command.arg("-cp").arg(self.jars.join("*"));
        command
    }

    /// Makes what a broker needs in its directory, for a user of SCRAM too. That takes a Java process of its own, so
    /// what was made once for a number is copied.
    fn format(&self) {
        type Files = Vec<(String, Vec<u8>)>;
        static MADE: Mutex<BTreeMap<usize, Files>> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().expect("no test fails here");
        let files = made.entry(self.node).or_insert_with(|| {
            let mut command = self.java();
            command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]);
            command.arg(self.config());
            command.args([
                "--add-scram",
                &format!("SCRAM-SHA-512=[name=hookline,password={PASSWORD}]"),
            ]);
            let output = command.output().expect("it runs");
            assert!(output.status.success(), "{output:?}");
            let entries = fs::read_dir(self.logs()).expect("it is there");
            let files = entries.map(|entry| entry.expect("readable").path());
            let named = |path: PathBuf| {
                let name = path.file_name().expect("a file").to_string_lossy();
                (name.into_owned(), fs::read(&path).expect("readable"))
            };
            files.filter(|path| path.is_file()).map(named).collect()
        });
        fs::create_dir_all(self.logs()).expect("made");
        for (name, bytes) in files {
            fs::write(self.logs().join(name), bytes).expect("written");
        }
    }

    fn broker(&self) -> Command {
        let mut command = self.java();
        command.arg("kafka.Kafka").arg(self.config());
        command.current_dir(self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null());
        command
    }

    fn spawn(&self) -> Process {
        Process::start(&mut self.broker(), self.address)
    }

    /// Waits until it answers.
    fn wait(&self) {
        let admin = self.admin();
        eventually("Kafka answers", || {
            let answer = admin.inner().fetch_metadata(None, WAIT);
            answer.is_ok_and(|it| !it.brokers().is_empty())
        });
    }

    fn restart(&mut self) {
        self.process.kill();
        self.process = self.spawn();
        self.wait();
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.open.to_string());
        config.create().expect("a client")
    }

    /// Makes the topic with these settings.
    fn create_with(&self, topic: &str, replicas: i32, settings: &[(&str, &str)]) {
        let mut wanted = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(replicas));
        for (name, value) in settings {
            wanted = wanted.set(name, value);
        }
        let admin = self.admin();
        let options = AdminOptions::new().operation_timeout(Some(WAIT));
        // It may be that what was removed a moment ago is still there for some.
        eventually("the topic is made", || {
            let answer = ended(admin.create_topics([&wanted], &options));
            answer.is_ok_and(|all| all.iter().all(Result::is_ok))
        });
        self.wait_for_topic(topic, true);
    }

    fn remove_topic(&self, topic: &str) {
        let admin = self.admin();
        let options = AdminOptions::new().operation_timeout(Some(WAIT));
        let answer = ended(admin.delete_topics(&[topic], &options)).expect("an answer");
        assert!(answer.iter().all(Result::is_ok), "{answer:?}");
        self.wait_for_topic(topic, false);
    }

    fn wait_for_topic(&self, topic: &str, is_there: bool) {
        eventually("the topic is known", || {
            self.topics().contains_key(topic) == is_there
        });
    }

    /// How many partitions each topic has, and how many brokers keep it.
    fn topics(&self) -> BTreeMap<String, (usize, usize)> {
        let admin = self.admin();
        let Ok(metadata) = admin.inner().fetch_metadata(None, WAIT) else {
            return BTreeMap::new();
        };
        let topics = metadata.topics().iter().filter(|it| it.error().is_none());
        let topics = topics.map(|it| {
            let replicas = it.partitions().iter().map(|it| it.replicas().len()).min();
            let shape = (it.partitions().len(), replicas.unwrap_or(0));
            (it.name().to_owned(), shape)
        });
        topics.collect()
    }

    fn set(&self, topic: &str, name: &str, value: &str) {
        let admin = self.admin();
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        let answer = ended(admin.alter_configs([&change], &AdminOptions::new()));
        let answer = answer.expect("an answer");
        assert!(answer.iter().all(Result::is_ok), "{answer:?}");
    }

    /// Everything in a topic, partition by partition.
    fn records(&self, topic: &str) -> Vec<Record> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.open.to_string());
        config.set("group.id", "reader");
        config.set("enable.partition.eof", "false");
        let reader: BaseConsumer = config.create().expect("a consumer");
        let (partitions, _) = self.topics()[topic];
        let mut records = Vec::new();
        for partition in 0..i32::try_from(partitions).expect("few") {
            let mut ends = None;
            eventually("the partition has an end", || {
                ends = reader.fetch_watermarks(topic, partition, WAIT).ok();
                ends.is_some()
            });
            let (first, end) = ends.expect("it has");
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, Offset::Offset(first))
                .expect("an offset");
            reader.assign(&list).expect("it takes that");
            let mut next = first;
            let until = Instant::now() + PATIENCE;
            while next < end {
                match reader.poll(WAIT) {
                    Some(Ok(message)) => {
                        next = message.offset() + 1;
                        records.push(Record::of(&message));
                    }
                    Some(Err(error)) => eprintln!("the reader: {error}"),
                    // Something else has happened.
                    None => assert!(Instant::now() < until, "{topic} {partition} at {next}"),
                }
            }
        }
        records
    }
}

/// Where Apache Kafka is; none is a line that says why.
fn jars() -> Option<PathBuf> {
    static JARS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let jars = JARS.get_or_init(|| {
        let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/kafka/fetch");
        let output = Command::new(fetch).stdin(Stdio::null()).output();
        let output = output.expect("it runs");
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() {
            return Some(PathBuf::from(path));
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let required = std::env::var_os("HOOKLINE_TARGETS_REQUIRED").is_some();
        assert!(!required, "Apache Kafka cannot be fetched: {said}");
        eprintln!("skipped: Apache Kafka cannot be fetched, install maven: {said}");
        None
    });
    jars.clone()
}

fn ended<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

impl Target for KafkaServer {
    const EXACTLY_ONCE: bool = false;
    const COUNTS_KNOWN: bool = false;

    fn start() -> Option<KafkaServer> {
        let mut server = KafkaServer::single()?;
        server.process = server.spawn();
        server.wait();
        server.create();
        Some(server)
    }

    fn sink(&self) -> String {
        format!(
            "name = \"{SINK}\"\ntype = \"kafka\"\nbrokers = [\"{}\"]\ntopic = \"{TOPIC}\"\nuser = \"hookline\"\n\
             sasl_mechanism = \"PLAIN\"\npassword = {{ env = \"KAFKA_PASSWORD\" }}\ntimeout = \"3s\"\n\
             compression = \"none\"",
            self.address
        )
    }

    fn password(&self) -> (&'static str, &'static str) {
        ("KAFKA_PASSWORD", PASSWORD)
    }

    fn kill(&mut self) {
        self.process.kill();
    }

    fn start_again(&mut self) {
        self.process = self.spawn();
        self.wait();
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
        self.remove_topic(TOPIC);
    }

    fn create(&mut self) {
        self.create_with(TOPIC, 1, &[]);
    }

    fn limit(&mut self, bytes: usize) -> bool {
        self.set(TOPIC, "max.message.bytes", &bytes.to_string());
        true
    }

    fn delivered(&mut self) -> Vec<Delivered> {
        let records = self.records(TOPIC);
        records.iter().map(Record::delivered).collect()
    }
}

/// A record as it lies in the topic.
#[derive(Clone, Debug)]
struct Record {
    partition: i32,
    key: Option<String>,
    headers: BTreeMap<String, String>,
    value: Vec<u8>,
}

impl Record {
    fn of(message: &rdkafka::message::BorrowedMessage<'_>) -> Record {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let headers = message.headers().into_iter().flat_map(|it| it.iter());
        Record {
            partition: message.partition(),
            key: message.key().map(text),
            headers: headers
                .map(|it| (it.key.to_owned(), it.value.map(text).unwrap_or_default()))
                .collect(),
            value: message.payload().unwrap_or_default().to_vec(),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn delivered(&self) -> Delivered {
        let optional = |name: &str| self.headers.get(name).cloned();
        let (sequence, index) = self
            .header("ce_position")
            .split_once('.')
            .expect("a position");
        assert_eq!(
            self.key,
            optional("ce_subject"),
            "the key is the conversation"
        );
        Delivered {
            id: self.header("ce_id").to_owned(),
            position: (
                sequence.parse().expect("a number"),
                index.parse().expect("a number"),
            ),
            lane: self.header("ce_lane").to_owned(),
            subject: optional("ce_subject"),
            replay: optional("ce_replay"),
        }
    }
}

/// Which of so many partitions Java's client chooses for a key.
fn partition_of(key: &[u8], partitions: u32) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ u32::try_from(key.len()).expect("short");
    let words = key.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let mut k = u32::from_le_bytes(word.try_into().expect("four")).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    for (at, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * at);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    (hash & 0x7fff_ffff) % partitions
}

const TOPIC: &str = "whatsapp";
const PARTITIONS: i32 = 4;
const PASSWORD: &str = "right";

/// Any will do.
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// For one answer; who asks does so again.
const WAIT: Duration = Duration::from_secs(5);

const PATIENCE: Duration = Duration::from_mins(2);

/// A server with this in its sink beside what stands there.
fn scene(server: &KafkaServer, lines: &str) -> Site {
    let (name, password) = server.password();
    let sink = format!("{}\n{lines}", server.sink());
    site().sink(&sink).variable(name, password)
}

/// The sink with another topic.
fn with_topic(server: &KafkaServer, lines: &str) -> Site {
    let (name, password) = server.password();
    let sink = server.sink();
    let kept = |line: &&str| !line.starts_with("topic") && !line.starts_with("compression");
    let sink = sink.lines().filter(kept);
    let sink: String = sink.flat_map(|line| [line, "\n"]).collect();
    site()
        .sink(&format!("{sink}{lines}"))
        .variable(name, password)
}

fn send(server: &Running, first: u64, count: u64) {
    let bodies = (first..first + count).map(|number| {
        json!({ "object": "whatsapp_business_account", "entry": [{ "id": "100", "changes": [{
            "field": "messages", "value": { "messaging_product": "whatsapp", "metadata": { "phone_number_id": "200" },
            "messages": [{ "from": format!("1555010{}", number % 100), "id": format!("wamid.{number}"),
                "timestamp": "1750000000", "type": "text", "text": { "body": "Grüße" } }] } }] }] })
    });
    let mut client = server.connect();
    for body in bodies {
        client.send(&post("/webhook", "", body.to_string().as_bytes()));
        assert_eq!(client.answer().code, 200);
    }
}

fn deliver(server: &Running, first: u64, count: u64) {
    send(server, first, count);
    eventually("all is delivered", || server.is_delivered(SINK));
}

/// What `/status` says of the sink.
fn status(server: &Running) -> Value {
    let (code, page) = server.admin_page("/status").expect("it is served");
    assert_eq!(code, 200);
    let status: Value = serde_json::from_str(&page).expect("JSON");
    status["sinks"][0].clone()
}

/// `hookline check --connect`: exit code and report.
fn check(site: &Site) -> (i32, Value) {
    let mut command = Command::new(PROGRAM);
    command.args(["check", "--connect", "--output", "json", "--config"]);
    command.arg(site.write_config()).env_clear();
    command
        .env("KAFKA_PASSWORD", PASSWORD)
        .env("TOKEN", "token");
    let output = command.output().expect("it runs");
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code().expect("it ends"), report)
}

#[test]
fn a_record_has_key_attributes_and_data_and_javas_partition() {
    let Some(kafka) = KafkaServer::start() else {
        return;
    };
    let site = scene(&kafka, "");
    let server = start(&site, 0);
    deliver(&server, 0, 30);
    assert_eq!(status(&server)["confirmation"], "memory");
    terminate(server);
    let records = kafka.records(TOPIC);
    assert_eq!(records.len(), 30);
    for record in &records {
        let key = record.key.as_ref().expect("a conversation");
        let partition = partition_of(key.as_bytes(), PARTITIONS.unsigned_abs());
        assert_eq!(record.partition.unsigned_abs(), partition, "{key}");
    }
    for event in site.events() {
        let id = event["id"].as_str().expect("text");
        let mut found = records.iter().filter(|it| it.header("ce_id") == id);
        let record = found.next().expect("it is there");
        for (name, value) in event.as_object().expect("an object") {
            if name != "data" && name != "datacontenttype" {
                let value = value.as_str().expect("text");
                assert_eq!(record.header(&format!("ce_{name}")), value, "{name}");
            }
        }
        assert_eq!(record.header("content-type"), "application/json");
        let data: Value = serde_json::from_slice(&record.value).expect("JSON");
        assert_eq!(data, event["data"]);
    }
}

#[test]
fn structured_records_are_whole_events_in_a_topic_that_is_made_where_that_is_asked_for() {
    let Some(kafka) = KafkaServer::start() else {
        return;
    };
    let lines = "topic = \"made.{lane}\"\nmode = \"structured\"\ncreate = true\npartitions = 3\ncompression = \"zstd\"";
    let site = with_topic(&kafka, lines);
    let server = start(&site, 0);
    deliver(&server, 0, 5);
    terminate(server);
    // There is one broker.
    assert_eq!(kafka.topics()["made.messages"], (3, 1));
    let records = kafka.records("made.messages");
    assert_eq!(records.len(), 5);
    let events = site.events();
    for record in records {
        let structured = "application/cloudevents+json; charset=UTF-8";
        assert_eq!(record.header("content-type"), structured);
        let event: Value = serde_json::from_slice(&record.value).expect("JSON");
        assert!(events.contains(&event), "{event}");
        assert_eq!(record.key.as_deref(), event["subject"].as_str());
    }
}

/// A broker that makes topics for whoever asks for one makes none for the sink.
#[test]
fn one_missing_topic_of_several_holds_up_nobody_else_and_is_never_made() {
    let Some(kafka) = KafkaServer::start() else {
        return;
    };
    kafka.create_with("number.200", 1, &[]);
    let lines = "topic = \"number.{phone_number_id}\"\nretry_min = \"50ms\"\nretry_max = \"100ms\"\nmax_attempts = 2";
    let site = with_topic(&kafka, lines);
    let server = start(&site, 0);
    let mut client = server.connect();
    let other = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "100", "changes": [{
        "field": "messages", "value": { "messaging_product": "whatsapp", "metadata": { "phone_number_id": "300" },
        "messages": [{ "from": "15550100001", "id": "wamid.other", "timestamp": "1750000000", "type": "text",
            "text": { "body": "x" } }] } }] }] });
    client.send(&post("/webhook", "", other.to_string().as_bytes()));
    assert_eq!(client.answer().code, 200);
    send(&server, 0, 20);
    let delivered = || metric(&server, "hookline_sink_events_total", SINK);
    eventually("the others are delivered", || delivered() == 20);
    let retries = || metric(&server, "hookline_sink_retries_total", SINK);
    eventually("the one is tried again and again", || retries() > 5);
    assert_eq!(metric(&server, "hookline_sink_dead_total", SINK), 0);
    assert!(!kafka.topics().contains_key("number.300"));
    kafka.create_with("number.300", 1, &[]);
    eventually("all is delivered", || server.is_delivered(SINK));
    terminate(server);
    assert_eq!(kafka.records("number.300").len(), 1);
    audit(&site);
}

#[test]
fn a_full_queue_of_the_client_is_waited_for() {
    let Some(kafka) = KafkaServer::start() else {
        return;
    };
    let options = "options = { \"queue.buffering.max.messages\" = \"3\", \"linger.ms\" = \"0\" }";
    let site = scene(&kafka, options);
    let server = start(&site, 0);
    deliver(&server, 0, 300);
    assert_eq!(metric(&server, "hookline_sink_retries_total", SINK), 0);
    assert_eq!(metric(&server, "hookline_sink_dead_total", SINK), 0);
    terminate(server);
    assert_eq!(kafka.records(TOPIC).len(), 300);
    audit(&site);
}

/// What the producer drops at its end was not delivered: nothing is lost with it.
#[test]
fn what_is_under_way_at_a_stop_comes_at_the_next_start() {
    let Some(mut kafka) = KafkaServer::start() else {
        return;
    };
    let site = scene(&kafka, "").server("drain_timeout = \"1s\"");
    let server = start(&site, 0);
    deliver(&server, 0, 10);
    kafka.stop();
    send(&server, 10, 100);
    let (status, stderr) = server.terminate();
    assert!(status.code().is_some(), "{stderr}");
    kafka.go_on();
    let server = start(&site, 1);
    eventually("all is delivered", || server.is_delivered(SINK));
    terminate(server);
    let mut ids: Vec<String> = kafka.delivered().into_iter().map(|it| it.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 110);
    audit(&site);
}

#[test]
fn tls_with_an_own_authority_and_scram_are_taken() {
    let Some(mut kafka) = KafkaServer::single() else {
        return;
    };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let made = made.expect("made");
    let path = |name: &str| kafka.directory.path().join(name).display().to_string();
    let (cert, both) = (path("cert.pem"), path("both.pem"));
    fs::write(&cert, made.cert.pem()).expect("written");
    let (key, chain) = (made.signing_key.serialize_pem(), made.cert.pem());
    fs::write(&both, format!("{key}{chain}")).expect("written");
    let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
    kafka.settings = format!(
        "listeners=OPEN://{},LOGIN://{},SCRAM://{},CONTROLLER://{}\nssl.keystore.type=PEM\nssl.keystore.location={both}\n\
         listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512\n\
         listener.name.scram.scram-sha-512.sasl.jaas.config={module} required;",
        kafka.open, kafka.address, kafka.scram, kafka.controllers[0]
    );
    kafka.process = kafka.spawn();
    kafka.wait();
    kafka.create();
    let sink = |lines: &str| {
        let sink = format!(
            "name = \"{SINK}\"\ntype = \"kafka\"\nbrokers = [\"{}\"]\ntopic = \"{TOPIC}\"\nuser = \"hookline\"\n\
             sasl_mechanism = \"SCRAM-SHA-512\"\npassword = {{ env = \"KAFKA_PASSWORD\" }}\ntls = true\n{lines}",
            kafka.scram
        );
        site().sink(&sink).variable("KAFKA_PASSWORD", PASSWORD)
    };
    // Nobody that the system trusts has signed it.
    let (code, report) = check(&sink(""));
    let found = report["connect"][0]["found"].to_string();
    assert_eq!(code, 1, "{report}");
    assert!(found.contains("certificate"), "{report}");
    let site = sink(&format!("ca_file = {cert:?}"));
    let (code, report) = check(&site);
    assert_eq!(code, 0, "{report}");
    let server = start(&site, 0);
    deliver(&server, 0, 10);
    terminate(server);
    assert_eq!(kafka.records(TOPIC).len(), 10);
}

#[test]
fn a_check_says_what_the_target_is_like() {
    let Some(mut kafka) = KafkaServer::start() else {
        return;
    };
    let text = |report: &Value| report["connect"][0].to_string();
    let site = scene(&kafka, "");
    let (code, report) = check(&site);
    assert_eq!((code, &report["ok"]), (0, &json!(true)), "{report}");
    for part in [
        "takes the login",
        "cluster has 1 broker",
        "with 4 partition(s), kept by 1 broker(s), min.insync.replicas 1",
        "memory",
        "takes records up to",
    ] {
        assert!(text(&report).contains(part), "{part}: {report}");
    }
    assert_eq!(report["connect"][0]["warnings"], json!([]), "{report}");
    kafka.set(TOPIC, "max.message.bytes", "4096");
    let (code, report) = check(&site);
    assert_eq!(code, 0, "{report}");
    assert!(text(&report).contains("the target takes 4KiB"), "{report}");
    kafka.remove();
    let (code, report) = check(&site);
    assert_eq!(code, 1, "{report}");
    assert!(text(&report).contains("whatsapp is not there"), "{report}");
    assert!(!kafka.topics().contains_key(TOPIC), "nothing is made");
    kafka.take_login(false);
    let (code, report) = check(&site);
    assert_eq!(code, 1, "{report}");
    assert!(text(&report).contains("refuse the login"), "{report}");
    kafka.kill();
    let (code, report) = check(&site);
    assert_eq!(code, 1, "{report}");
    assert!(text(&report).contains("refused"), "{report}");
}

/// Three brokers, two of which have to have a record: one is killed under load, then a second one, which is too much.
#[test]
fn a_topic_of_three_brokers_is_replicated_and_outlives_one_of_them() {
    let controllers = [(); 3].map(|()| free_address()).to_vec();
    let mut servers = Vec::new();
    for node in 1..=3 {
        let Some(server) = KafkaServer::prepared(node, controllers.clone()) else {
            return;
        };
        servers.push(server);
    }
    // None of them listens before the others are there.
    for server in &mut servers {
        server.process = Process::spawn(&mut server.broker());
    }
    eventually("all brokers are there", || {
        let metadata = servers[0].admin().inner().fetch_metadata(None, WAIT);
        metadata.is_ok_and(|it| it.brokers().len() == 3)
    });
    servers[0].create_with(TOPIC, 3, &[("min.insync.replicas", "2")]);
    let brokers = servers.iter().map(|it| format!("\"{}\"", it.address));
    let brokers = brokers.collect::<Vec<_>>().join(", ");
    let sink = servers[0].sink();
    let sink = sink.lines().filter(|line| !line.starts_with("brokers"));
    let sink: String = sink.flat_map(|line| [line, "\n"]).collect();
    let site = site()
        .sink(&format!("{sink}brokers = [{brokers}]"))
        .variable("KAFKA_PASSWORD", PASSWORD);
    let server = start(&site, 0);
    deliver(&server, 0, 20);
    assert_eq!(status(&server)["confirmation"], "replicated");
    servers[2].kill();
    deliver(&server, 20, 100);
    assert_eq!(metric(&server, "hookline_sink_dead_total", SINK), 0);
    terminate(server);
    let records = servers[0].records(TOPIC);
    let ids: std::collections::BTreeSet<&str> =
        records.iter().map(|it| it.header("ce_id")).collect();
    assert_eq!(ids.len(), 120);
    audit(&site);
}
