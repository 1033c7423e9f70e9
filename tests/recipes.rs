//! The programs of the manual that send into queues of a cloud, as they stand there, started by the sinks of the
//! manual, against a server that answers as the service does and refuses some at first.
//!
//! One whose libraries are missing is skipped with a line that says so. `tests/run` installs what Debian has of them,
//! and with `HOOKLINE_TARGETS_REQUIRED` what is missing fails.

#![expect(clippy::print_stderr, reason = "it says what was left out")]

mod common;

use common::client::post;
use common::{Site, eventually};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

/// A request: its target, its header fields in lower case, and its body.
struct Request {
    target: String,
    fields: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// What a service has taken, in its order.
type Taken = Arc<Mutex<Vec<Value>>>;

/// Answers each request as `service` does: a status, a type and a body.
fn serve(
    service: impl Fn(&Request) -> (u16, &'static str, String) + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let service = Arc::new(service);
    // It ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let service = Arc::clone(&service);
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Some(request) = read(&mut reader) {
                    let (code, kind, body) = service(&request);
                    let answer = format!(
                        "HTTP/1.1 {code} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut fields = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        fields.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    if fields
        .get("expect")
        .is_some_and(|it| it.eq_ignore_ascii_case("100-continue"))
    {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        reader.get_mut().write_all(interim).ok()?;
    }
    let len = fields.get("content-length").map_or(Ok(0), |it| it.parse());
    let mut body = vec![0; len.ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        target,
        fields,
        body,
    })
}

/// The path of an interpreter that has these modules.
fn python(modules: &str) -> Option<String> {
    let path = |python: &str| {
        let mut command = Command::new(python);
        let script = format!("import sys, {modules}; print(sys.executable)");
        let output = command.args(["-c", &script]).output().ok()?;
        let path = String::from_utf8(output.stdout).expect("UTF-8");
        output.status.success().then(|| path.trim().to_owned())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find_map(path);
    if found.is_none() {
        let required = std::env::var_os("HOOKLINE_TARGETS_REQUIRED").is_some();
        assert!(!required, "no {modules}, which tests/run installs");
        eprintln!("skipped: python3 has no {modules}");
    }
    found
}

/// The fences in this language below the heading.
fn fence(heading: &str, language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual/recipes.md");
    let chapter = fs::read_to_string(path).expect("there is one");
    let (_, part) = chapter.split_once(heading).expect("there is such a part");
    let (_, block) = part
        .split_once(&format!("\n```{language}\n"))
        .expect("there is a fence");
    block.split_once("\n```\n").expect("it ends").0.to_owned()
}

/// Delivers by the sink below the heading, in which `replaced` stands for what is of the real service, and gives the
/// events of the journal.
fn deliver(
    heading: &str,
    python: &str,
    site: Site,
    replaced: &[(&str, &str)],
    taken: &Taken,
) -> Vec<Value> {
    let program = site.path().join("program");
    let text =
        fence(heading, "python").replacen("#!/usr/bin/env python3", &format!("#!{python}"), 1);
    assert!(text.starts_with("#!/"), "{text}");
    fs::write(&program, text).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut sink = fence(heading, "toml");
    for (part, other) in replaced {
        assert!(sink.contains(part), "{part}: {sink}");
        sink = sink.replace(part, other);
    }
    let lines = sink.strip_prefix("[[sink]]\n").expect("a sink");
    let site = site.sink(&format!(
        "{lines}\nretry_min = \"10ms\"\nretry_max = \"50ms\"\n"
    ));
    let server = site.start();
    let mut client = server.connect();
    for number in 0..EVENTS {
        let body = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "1", "changes": [{
            "field": "messages", "value": { "messaging_product": "whatsapp", "metadata": { "phone_number_id": "2" },
            "messages": [{ "from": format!("1555010{}", number % 7), "id": format!("wamid.{number}"),
                "timestamp": "1750000000", "type": "text", "text": { "body": "Grüße 👋" } }] } }] }] });
        client.send(&post("/webhook", "", body.to_string().as_bytes()));
        assert_eq!(client.answer().code, 200);
    }
    let sink = lines
        .lines()
        .find_map(|it| it.strip_prefix("name = "))
        .expect("a name")
        .trim_matches('"')
        .to_owned();
    eventually("all is delivered", || server.is_delivered(&sink));
    let (status, log) = server.terminate();
    assert!(status.success(), "{log}");
    let events = site.events();
    let sent = taken.lock().expect("whole");
    let position = |event: &Value| event["position"].as_str().expect("text").to_owned();
    let there: BTreeSet<String> = sent.iter().map(position).collect();
    assert_eq!(there, events.iter().map(position).collect());
    assert!(
        sent.iter().all(|it| events.contains(it)),
        "whole, and as it was"
    );
    // Each conversation in its order; what comes again has been there.
    let (mut last, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for event in sent.iter().filter(|it| seen.insert(position(it))) {
        let sequence: u64 = position(event)
            .trim_end_matches(".0")
            .parse()
            .expect("a number");
        let before = last.insert(event["subject"].to_string(), sequence);
        assert!(before < Some(sequence), "{event}");
    }
    assert_eq!(last.len(), 7);
    events
}

#[test]
fn into_sqs() {
    let Some(python) = python("boto3") else {
        return;
    };
    let taken = Taken::default();
    let (all, ids) = (Arc::clone(&taken), Taken::default());
    let (groups, refused) = (Arc::clone(&ids), Mutex::new(0));
    let address = serve(move |request| {
        let signed = request.fields["authorization"].contains("Credential=AKIAEXAMPLE/");
        assert!(signed, "{:?}", request.fields);
        // Newer ones speak JSON, older ones forms.
        let is_json = request.fields.contains_key("x-amz-target");
        let asked = if is_json {
            serde_json::from_slice(&request.body).expect("JSON")
        } else {
            form(&request.body)
        };
        let mut refused = refused.lock().expect("whole");
        *refused += 1;
        let kind = if is_json {
            "application/x-amz-json-1.0"
        } else {
            "text/xml"
        };
        if *refused % 5 == 1 && *refused < 50 {
            let error = if is_json {
                "{\"__type\":\"com.amazonaws.sqs#InvalidParameterValue\",\"message\":\"no\"}"
            } else {
                "<ErrorResponse><Error><Code>InvalidParameterValue</Code><Message>no</Message></Error></ErrorResponse>"
            };
            return (400, kind, error.to_owned());
        }
        let text = |name: &str| asked[name].as_str().expect("text").to_owned();
        let body = text("MessageBody");
        assert!(text("QueueUrl").ends_with("/123456789012/whatsapp.fifo"));
        groups.lock().expect("whole").push(json!([
            text("MessageGroupId"),
            text("MessageDeduplicationId")
        ]));
        let event = serde_json::from_str(&body).expect("an event");
        all.lock().expect("whole").push(event);
        let id = "2e4b9b7c";
        if is_json {
            (
                200,
                kind,
                json!({ "MessageId": id, "SequenceNumber": "1" }).to_string(),
            )
        } else {
            let result =
                format!("<SendMessageResult><MessageId>{id}</MessageId></SendMessageResult>");
            (
                200,
                kind,
                format!("<SendMessageResponse>{result}</SendMessageResponse>"),
            )
        }
    });
    let site = Site::unsigned().variable("PATH", "/usr/bin:/bin");
    let write = |name: &str, text: &str| {
        let path = site.path().join(name).display().to_string();
        fs::write(&path, text).expect("written");
        path
    };
    let (id, key) = (write("id", "AKIAEXAMPLE\n"), write("key", "hunter2\n"));
    let program = site.path().join("program").display().to_string();
    let endpoint = format!("http://{address}");
    let replaced = [
        ("https://sqs.eu-central-1.amazonaws.com", endpoint.as_str()),
        ("/usr/local/bin/to-sqs", program.as_str()),
        ("/etc/hookline/aws-id", &id),
        ("/etc/hookline/aws-key", &key),
    ];
    let events = deliver("## Amazon SQS", &python, site, &replaced, &taken);
    let ids = ids.lock().expect("whole");
    let of = |place: usize| {
        ids.iter()
            .map(move |it| it[place].as_str().expect("text").to_owned())
    };
    assert_eq!(
        of(0).collect::<BTreeSet<_>>().len(),
        7,
        "a group for each conversation"
    );
    assert_eq!(
        of(1).collect::<BTreeSet<_>>().len(),
        events.len(),
        "an id for each event"
    );
    assert!(of(0).chain(of(1)).all(|it| it.len() == 64));
}

/// The fields of a form.
fn form(body: &[u8]) -> Value {
    let text = str::from_utf8(body).expect("ASCII").replace('+', " ");
    let decoded = |text: &str| percent(text);
    let fields = text.split('&').filter_map(|it| it.split_once('='));
    fields
        .map(|(name, value)| (decoded(name), Value::from(decoded(value))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn percent(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits: Vec<u8> = rest.by_ref().take(2).collect();
            let digits = str::from_utf8(&digits).expect("ASCII");
            bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn into_pubsub() {
    let Some(python) = python("google.auth.transport.requests") else {
        return;
    };
    let taken = Taken::default();
    let (all, requests) = (Arc::clone(&taken), Mutex::new(0));
    let address = serve(move |request| {
        let kind = "application/json";
        if request.target == "/token" {
            let answer =
                json!({ "access_token": "hunter2", "expires_in": 3600, "token_type": "Bearer" });
            return (200, kind, answer.to_string());
        }
        assert_eq!(
            request.target,
            "/v1/projects/PROJECT/topics/whatsapp:publish"
        );
        assert_eq!(request.fields["authorization"], "Bearer hunter2");
        let mut requests = requests.lock().expect("whole");
        *requests += 1;
        if *requests % 5 == 1 && *requests < 50 {
            return (
                503,
                kind,
                "{\"error\":{\"status\":\"UNAVAILABLE\"}}".to_owned(),
            );
        }
        let asked: Value = serde_json::from_slice(&request.body).expect("JSON");
        let message = &asked["messages"][0];
        let data = message["data"].as_str().expect("text");
        let event: Value =
            serde_json::from_slice(&common::sign::from_base64(data)).expect("an event");
        assert_eq!(message["orderingKey"], event["subject"]);
        assert_eq!(
            message["attributes"],
            json!({ "type": event["type"], "lane": event["lane"] })
        );
        all.lock().expect("whole").push(event);
        (200, kind, json!({ "messageIds": ["1"] }).to_string())
    });
    let site = Site::unsigned().variable("PATH", "/usr/bin:/bin");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("made");
    let account = json!({ "type": "service_account", "project_id": "PROJECT", "private_key_id": "1",
        "private_key": key.serialize_pem(), "client_email": "a@example", "client_id": "1",
        "token_uri": format!("http://{address}/token") });
    let file = site.path().join("google.json").display().to_string();
    fs::write(&file, account.to_string()).expect("written");
    let program = site.path().join("program").display().to_string();
    let replaced = [
        (
            "https://europe-west1-pubsub.googleapis.com",
            format!("http://{address}"),
        ),
        ("/usr/local/bin/to-pubsub", program),
        ("/etc/hookline/google.json", file),
    ];
    let replaced = replaced
        .each_ref()
        .map(|(part, other)| (*part, other.as_str()));
    deliver("## Google Pub/Sub", &python, site, &replaced, &taken);
}

const EVENTS: usize = 150;
