//! Sinks of type `pull`, read over real sockets: pages, polls that wait, cursors across kill -9, who may read what, and
//! what is refused. The consumers of the manual are in `tests/consumers.rs`.

mod common;

use common::client::{Answer, Client, get, post};
use common::{PROGRAM, Running, Site, eventually};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A site with a sink `crm`, whose token is `secret`, and these further lines in it.
fn site(lines: &str) -> Site {
    let sink = format!(
        "name = \"crm\"\ntype = \"pull\"\ntoken = {{ env = \"CRM_TOKEN\" }}\n{lines}\n[pull]\nlisten = \"127.0.0.1:0\"\n"
    );
    Site::unsigned().sink(&sink).variable("CRM_TOKEN", "secret")
}

/// The same, with a journal of at most four segments of 1 MiB.
fn small_site() -> Site {
    site("")
        .limits("body = \"64KiB\"")
        .limits("unacknowledged = \"1MiB\"")
        .journal("segment_size = \"1MiB\"")
        .journal("max_size = \"4MiB\"")
}

/// A consumer of a server's sinks.
struct Consumer {
    address: SocketAddr,
    token: &'static str,
}

impl Consumer {
    fn of(server: &Running) -> Consumer {
        Consumer {
            address: server.pull(),
            token: "secret",
        }
    }

    fn with(&self, token: &'static str) -> Consumer {
        Consumer {
            address: self.address,
            token,
        }
    }

    fn fields(&self) -> String {
        match self.token {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        }
    }

    fn send(&self, target: &str) -> Client {
        let mut client = Client::connect(self.address);
        let (head, fields) = (get(target), self.fields());
        client.send(&head[..head.len() - 2]);
        client.send(format!("{fields}\r\n").as_bytes());
        client
    }

    fn get(&self, target: &str) -> Answer {
        self.send(target).answer()
    }

    fn poll(&self, parameters: &str) -> (Vec<String>, String) {
        let answer = self.get(&format!("/v1/events?sink=crm&{parameters}"));
        page(&answer)
    }

    fn commit(&self, body: &str) -> (u16, Value) {
        let mut client = Client::connect(self.address);
        client.send(&post("/v1/cursors/crm", &self.fields(), body.as_bytes()));
        let answer = client.answer();
        (answer.code, body_of(&answer))
    }

    fn cursor(&self) -> Value {
        body_of(&self.get("/v1/cursors/crm"))
    }
}

/// The positions of the events, and where the next page begins.
fn page(answer: &Answer) -> (Vec<String>, String) {
    assert_eq!(answer.code, 200, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/x-ndjson"));
    let lines = answer.body.split_inclusive(|&byte| byte == b'\n');
    let events = lines.map(|line| serde_json::from_slice::<Value>(line).expect("JSON"));
    let next = answer.field("hookline-next").expect("it is always there");
    (events.map(|it| position(&it)).collect(), next.to_owned())
}

fn position(event: &Value) -> String {
    event["position"].as_str().expect("a string").to_owned()
}

fn body_of(answer: &Answer) -> Value {
    assert_eq!(answer.field("content-type"), Some("application/json"));
    serde_json::from_slice(&answer.body).expect("JSON")
}

fn store(server: &Running, body: &[u8]) {
    let mut client = server.connect();
    client.send(&post("/webhook", "", body));
    assert_eq!(client.answer().code, 200);
}

/// No JSON, and nothing that was there before.
fn junk() -> Vec<u8> {
    format!("no JSON {}", another()).into_bytes()
}

fn another() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// A notification with a message and some statuses, that says what no other one does.
fn notification(statuses: usize) -> Vec<u8> {
    let number = another();
    let status = |at| json!({"id": format!("wamid.{number}.{at}"), "status": "sent", "timestamp": "1", "recipient_id": "3"});
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": {"phone_number_id": "2", "display_phone_number": "4"},
        "messages": [{"id": format!("wamid.{number}"), "from": "3", "type": "text", "timestamp": "1", "text": {"body": "?"}}],
        "statuses": (0..statuses).map(status).collect::<Vec<_>>(),
    });
    let change = json!({"field": "messages", "value": value});
    let body =
        json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]});
    body.to_string().into_bytes()
}

#[test]
fn pages_give_every_event_once_and_in_order() {
    let site = site("");
    let server = site.start();
    let consumer = Consumer::of(&server);
    for count in 0..12 {
        store(&server, &notification(count % 4));
        store(&server, &junk());
    }
    let stored: Vec<String> = site.events().iter().map(position).collect();
    for limit in [1, 3, 10_000] {
        let (mut all, mut after) = (Vec::new(), "0".to_owned());
        while all.len() < stored.len() {
            let (events, next) = consumer.poll(&format!("after={after}&limit={limit}&wait=60s"));
            assert!((1..=limit).contains(&events.len()));
            all.extend(events);
            after = next;
        }
        assert_eq!(all, stored);
        assert_eq!(after, "24");
        assert_eq!(consumer.poll("after=24"), (vec![], "24".to_owned()));
    }
    // Nothing is committed by all that.
    assert_eq!(consumer.cursor()["position"], "0");
    let (first, _) = consumer.poll("limit=10000");
    // A page that takes long ends early.
    assert!(!first.is_empty() && stored.starts_with(&first));
    assert_eq!(
        server.metric("hookline_unaccounted_events{sink=\"crm\"}"),
        0
    );
    let events = u64::try_from(3 * stored.len() + first.len()).expect("few");
    assert_eq!(
        server.metric("hookline_sink_events_total{sink=\"crm\"}"),
        events
    );
}

#[test]
fn a_poll_waits_until_an_event_comes_and_ends_with_the_server() {
    let site = site("types = [\"whatsapp.message.*\"]");
    let server = site.start();
    let consumer = Consumer::of(&server);
    let mut waiting = consumer.send("/v1/events?sink=crm&wait=60s");
    // One that the filter leaves out is no event to wait for.
    store(&server, &junk());
    eventually("what is left out is passed over", || {
        consumer.poll("").1 == "1"
    });
    assert!(waiting.is_quiet());
    let said = notification(2);
    store(&server, &said);
    assert_eq!(
        page(&waiting.answer()),
        (vec!["2.0".to_owned()], "2".to_owned())
    );
    // Neither is one that says what was said before.
    store(&server, &said);
    eventually("what is said again is passed over", || {
        consumer.poll("").1 == "3"
    });
    let mut over = consumer.send("/v1/events?sink=crm&after=3&wait=100ms");
    assert_eq!(page(&over.answer()), (vec![], "3".to_owned()));
    // On a connection that stays, and before the stop for certain.
    let mut waiting = consumer.send("/v1/cursors/crm");
    assert_eq!(waiting.answer().code, 200);
    let poll = format!(
        "GET /v1/events?sink=crm&after=3&wait=60s HTTP/1.1\r\nHost: h\r\n{}\r\n",
        consumer.fields()
    );
    waiting.send(poll.as_bytes());
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(page(&waiting.answer()), (vec![], "3".to_owned()));
    let mut server = server;
    let (status, stderr) = server.wait();
    assert!(status.success(), "{stderr}");
}

#[test]
fn what_is_committed_outlives_a_kill_and_never_goes_back() {
    let site = site("");
    let server = site.start();
    for _ in 0..5 {
        store(&server, &notification(2));
    }
    let consumer = Consumer::of(&server);
    assert_eq!(consumer.poll("limit=5").1, "2.1");
    // A commit whose answer was lost is sent again; of the last event of a notification, too.
    for position in ["1.2", "1.2", "2.1", "2.1"] {
        let (code, cursor) = consumer.commit(&format!("{{\"position\": \"{position}\"}}"));
        assert_eq!(code, 200, "{position}: {cursor}");
    }
    assert_eq!(consumer.cursor()["position"], "2.1");
    // Handed out, and not committed.
    assert_eq!(
        consumer.poll("limit=2"),
        (vec!["2.2".to_owned(), "3.0".to_owned()], "3.0".to_owned())
    );
    server.kill();

    let server = site.start();
    let consumer = Consumer::of(&server);
    eventually("everything is decided again", || {
        consumer.cursor()["last"] == "5"
    });
    assert_eq!(consumer.poll("limit=2").0, ["2.2", "3.0"]);
    let cursor = json!({"sink": "crm", "position": "2.1", "last": "5",
        "lanes": {"messages": "2", "statuses": "2.1", "rest": "2"}});
    assert_eq!(consumer.cursor(), cursor);
    for back in ["\"2.0\"", "\"1\"", "1"] {
        let (code, body) = consumer.commit(&format!("{{\"position\": {back}}}"));
        let text = body["error"].as_str().expect("a string");
        assert!(code == 409 && text.contains("after="), "{body}");
    }
    for beyond in ["6", "5000.1"] {
        assert_eq!(
            consumer.commit(&format!("{{\"after\": \"{beyond}\"}}")).0,
            409
        );
        assert_eq!(
            consumer
                .get(&format!("/v1/events?sink=crm&after={beyond}"))
                .code,
            409
        );
    }
    assert_eq!(consumer.cursor(), cursor);
    // What is before the cursor can still be read.
    assert_eq!(consumer.poll("after=1.0&limit=2").0, ["1.1", "1.2"]);

    // Each lane by itself.
    let lane = "lane=messages&limit=10";
    assert_eq!(consumer.poll(lane).0, ["3.0", "4.0", "5.0"]);
    assert_eq!(
        consumer
            .commit("{\"position\": \"4.0\", \"lane\": \"messages\"}")
            .0,
        200
    );
    assert_eq!(consumer.poll(lane).0, ["5.0"]);
    assert_eq!(consumer.poll("lane=statuses&limit=2").0, ["2.2", "3.1"]);
    assert_eq!(consumer.cursor()["lanes"]["messages"], "4");
    assert_eq!(consumer.cursor()["position"], "2.1");
    assert_eq!(server.metric("hookline_sink_cursor{sink=\"crm\"}"), 1);
    assert_eq!(consumer.commit("{\"position\": \"5\"}").0, 200);
    assert_eq!(
        server.metric("hookline_sink_lag_notifications{sink=\"crm\"}"),
        0
    );
    assert_eq!(
        server.metric("hookline_unaccounted_events{sink=\"crm\"}"),
        0
    );
}

#[test]
fn who_has_no_token_learns_nothing() {
    let other = "name = \"bi\"\ntype = \"pull\"\ntoken = [{ env = \"OLD\" }, { env = \"NEW\" }]\n";
    let site = Site::unsigned()
        .sink(other)
        .variable("OLD", "old")
        .variable("NEW", "new")
        .variable("CRM_TOKEN", "secret")
        .sink("name = \"crm\"\ntype = \"pull\"\ntoken = { env = \"CRM_TOKEN\" }\n[pull]\nlisten = \"127.0.0.1:0\"\n");
    let server = site.start();
    store(&server, &junk());
    let consumer = Consumer::of(&server);
    let code = |token, target: &str| consumer.with(token).get(target).code;
    for token in ["", "wrong", "secret1", "secre"] {
        let answers = ["crm", "bi", "none"].map(|sink| {
            let target = format!("/v1/events?sink={sink}");
            let answer = consumer.with(token).get(&target);
            assert_eq!(answer.field("www-authenticate"), Some("Bearer"));
            assert_eq!(code(token, &format!("/v1/cursors/{sink}")), 401);
            (answer.code, answer.body)
        });
        assert_eq!(answers[0].0, 401);
        assert!(
            answers.iter().all(|it| *it == answers[0]),
            "all are refused alike"
        );
        assert_eq!(consumer.with(token).commit("{\"position\":\"1\"}").0, 401);
        assert_eq!(code(token, "/v1/events"), 401);
    }
    for token in ["old", "new"] {
        assert_eq!(code(token, "/v1/events?sink=bi"), 200);
        assert_eq!(code(token, "/v1/events?sink=crm"), 404);
        assert_eq!(code(token, "/v1/events?sink=none"), 404);
        assert_eq!(code(token, "/v1/events"), 400);
    }
    for wrong in [
        "after=x",
        "limit=0",
        "limit=10001",
        "lane=all",
        "wait=soon",
        "limt=1",
        "after=1&after=1",
    ] {
        assert_eq!(
            code("secret", &format!("/v1/events?sink=crm&{wrong}")),
            400,
            "{wrong}"
        );
    }
    for wrong in ["", "{}", "{\"position\":1.5}"] {
        assert_eq!(consumer.commit(wrong).0, 400, "{wrong}");
    }
    assert_eq!(consumer.commit(&" ".repeat(5000)).0, 413);
    assert_eq!(code("secret", "/"), 404);
    let mut client = Client::connect(consumer.address);
    client.send(&post("/v1/events?sink=crm", &consumer.fields(), b""));
    assert_eq!(client.answer().code, 405);
    assert!(!server.stderr().contains("secret"));
}

/// A consumer that has been away for longer than the retention keeps what it needs; one that asks for what it has
/// committed long ago gets what is left.
#[test]
fn what_is_committed_may_go_and_nothing_else() {
    let site = small_site();
    let server = site.start();
    let consumer = Consumer::of(&server);
    let text = "x".repeat(60_000);
    let body = || format!("{{\"number\":{},\"text\":\"{text}\"}}", another()).into_bytes();
    for _ in 0..40 {
        store(&server, &body());
    }
    eventually("everything is there to be read", || {
        consumer.cursor()["last"] == "40"
    });
    assert_eq!(consumer.poll("limit=1").0, ["1.0"]);
    assert_eq!(consumer.commit("{\"position\": \"40\"}").0, 200);
    // A stop notes how far duplicates are decided, up to where the journal is needed for that.
    server.terminate();
    let server = site.start();
    let consumer = Consumer::of(&server);
    let first = || server.metric("hookline_journal_first_sequence");
    assert_eq!(first(), 1);
    let mut last = 40;
    while first() <= 30 {
        store(&server, &body());
        last += 1;
        assert_eq!(consumer.commit("{\"position\": \"40\"}").0, 200);
        assert!(last < 400, "nothing goes");
    }
    let answer = consumer.get("/v1/events?sink=crm&after=5");
    assert_eq!(answer.code, 410);
    let first: u64 = body_of(&answer)["first"]
        .as_str()
        .expect("there")
        .parse()
        .expect("a number");
    assert!((31..=41).contains(&first), "{first}");
    let next = format!("after={}&limit=1", first - 1);
    assert_eq!(consumer.poll(&next).0, [format!("{first}.0")]);
    assert_eq!(consumer.poll("after=0&limit=1").0, [format!("{first}.0")]);
    assert_eq!(consumer.poll("limit=1").0, ["41.0"]);
}

/// A consumer that slept let the journal grow beyond `max_size`: no line said so, and `status` said "room for 0s".
#[test]
fn a_consumer_that_keeps_the_journal_too_large_is_named_until_it_reads() {
    let site = small_site();
    let server = site.start();
    let consumer = Consumer::of(&server);
    let text = "x".repeat(60_000);
    for _ in 0..120 {
        store(
            &server,
            format!("{{\"number\":{},\"text\":\"{text}\"}}", another()).as_bytes(),
        );
    }
    let journal = || {
        let page = server.admin_page("/status").expect("it runs").1;
        let page: Value = serde_json::from_str(&page).expect("JSON");
        page["journal"].clone()
    };
    eventually("it is held", || journal()["held_by"] == json!(["crm"]));
    assert!(journal()["held_bytes"].as_u64() > Some(1 << 20));
    assert!(server.metric("hookline_journal_held_bytes") > 0);
    eventually("it is named", || {
        let log = server.stderr();
        let mut lines = log.lines();
        lines.any(|it| it.contains("over max_size because") && it.contains("\"crm\""))
    });
    assert_eq!(consumer.commit("{\"position\": \"120\"}").0, 200);
    eventually("it is over", || journal()["held_bytes"] == 0);
    eventually("that is logged", || {
        server
            .stderr()
            .contains("no sink keeps the journal beyond max_size")
    });
    assert_eq!(journal()["held_by"], json!([]));
}

/// It was taken, and then failed.
#[test]
fn a_replay_to_a_consumer_is_refused_at_once() {
    let site = site("");
    let server = site.start();
    store(&server, &junk());
    let replay = || {
        let mut command = Command::new(PROGRAM);
        command.args([
            "replay",
            "--sink",
            "crm",
            "--from",
            "1",
            "--detach",
            "--data-dir",
        ]);
        command.arg(site.journal_dir()).env_clear();
        command.output().expect("it runs")
    };
    let output = replay();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("after=0") && said.contains("cursor seek crm --to 1"),
        "{said}"
    );
    let replays = std::fs::read_dir(site.journal_dir().join("replays")).expect("there");
    let names = replays.map(|it| it.expect("there").file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["crm.pull"]);
}

#[test]
fn requests_have_a_bound_and_who_goes_away_leaves_his_place() {
    let site = site("");
    let server = site.start();
    let consumer = Consumer::of(&server);
    let target = "/v1/events?sink=crm&wait=60s";
    let mut waiting: Vec<Client> = (0..REQUESTS_MAX).map(|_| consumer.send(target)).collect();
    eventually("there is no place left", || {
        let answer = consumer.get("/v1/cursors/crm");
        answer.code == 503 && answer.field("retry-after").is_some()
    });
    assert!(waiting.iter_mut().all(Client::is_quiet));
    // Strangers get the same answer as ever.
    assert_eq!(consumer.with("wrong").get(target).code, 401);
    let mut silent: Vec<Client> = (REQUESTS_MAX..=CONNECTIONS_MAX + 8)
        .map(|_| Client::connect(consumer.address))
        .collect();
    let last = silent.last_mut().expect("there are many");
    // Nothing is read of who is one too many.
    let refused = last.next_or_cut().expect("an answer before the end");
    assert!(refused.is_some_and(|answer| answer.code == 503));
    drop((waiting, silent));
    eventually("the places are free", || {
        let mut client = Client::connect(consumer.address);
        let fields = consumer.fields();
        let asked = format!("GET /v1/cursors/crm HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let sent = client.try_send(asked.as_bytes());
        let answer = sent.then(|| client.next_or_cut().ok().flatten()).flatten();
        answer.is_some_and(|answer| answer.code == 200)
    });
    store(&server, &junk());
    assert_eq!(consumer.poll("wait=60s").0, ["1.0"]);
}

/// As in `src/server/pull/`.
const REQUESTS_MAX: usize = 256;
const CONNECTIONS_MAX: usize = 512;
