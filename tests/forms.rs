//! What other senders post, from outside: one event a delivery under its own id, and what is stored stays what it is
//! when the configuration changes.

mod common;

use common::client::{Client, post};
use common::{PROGRAM, Running, Site, eventually, sign};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const KEY: &[u8] = b"standard-webhooks-key-01";

fn site() -> Site {
    Site::new()
        .variable("STANDARD", "whsec_c3RhbmRhcmQtd2ViaG9va3Mta2V5LTAx")
        .sink(SINK)
}

const SINK: &str = "name = \"events\"\ntype = \"file\"\npath = \"events.ndjson\"";

/// An endpoint of each kind.
fn endpoints(site: Site) -> Site {
    site.endpoint(
        "path = \"/orders\"\nname = \"shop\"\nprovider = \"standard-webhooks\"\nsecret = { env = \"STANDARD\" }\n\
         keep_headers = [\"X-Shop-Region\"]",
    )
    .endpoint("path = \"/in/hooks\"\nprovider = \"generic-hmac\"\naccept_unsigned = true")
    .endpoint(
        "path = \"/webhook\"\nprovider = \"meta\"\naccept_unsigned = true\nkeep_headers = [\"X-Request-Id\"]",
    )
}

/// The same paths, with everything else changed.
fn changed_endpoints(site: Site) -> Site {
    site.endpoint("path = \"/orders\"\nname = \"b\"\nprovider = \"meta\"\naccept_unsigned = true")
        .endpoint("path = \"/in/hooks\"\nname = \"c\"\nprovider = \"meta\"\naccept_unsigned = true")
        .endpoint(
            "path = \"/webhook\"\nname = \"shop\"\nprovider = \"generic-hmac\"\naccept_unsigned = true",
        )
}

fn taken(client: &mut Client, path: &str, fields: &str, body: &[u8]) {
    client.send(&post(path, fields, body));
    assert_eq!(client.answer().code, 200, "{path}");
}

fn signed(id: &str, body: &[u8], region: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.expect("after 1970").as_secs();
    let signature = sign::standard_webhooks(KEY, id, now, body);
    format!("{signature}X-Shop-Region: {region}\r\nContent-Type: application/vnd.shop+json\r\n")
}

/// What the file sink has, once it has everything.
fn delivered(site: &Site, server: &Running) -> Vec<String> {
    eventually("everything is delivered", || server.is_delivered("events"));
    let text = fs::read_to_string(site.path().join("events.ndjson")).expect("readable");
    text.lines().map(str::to_owned).collect()
}

fn tail(site: &Site) -> Vec<String> {
    let mut command = Command::new(PROGRAM);
    let output = command
        .arg("tail")
        .arg("--data-dir")
        .arg(site.journal_dir())
        .output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

fn parsed(lines: &[String]) -> Vec<Value> {
    let lines = lines.iter();
    lines
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

const ORDER: &[u8] = br#"{"type":"order.paid","timestamp":"2026-11-20T08:00:00Z","data":{"total":12.500000000000000000001}}"#;
const MESSAGE: &[u8] = br#"{"messages":[{"id":"wamid.A","from":"1555","type":"text"}]}"#;

#[test]
fn a_delivery_is_one_event_and_stays_what_it_was() {
    let site = endpoints(site());
    let server = site.start();
    let mut client = server.connect();
    taken(&mut client, "/orders", &signed("msg_1", ORDER, "eu"), ORDER);
    // Once more, as a sender does that has seen no answer.
    taken(&mut client, "/orders", &signed("msg_1", ORDER, "eu"), ORDER);
    taken(&mut client, "/in/hooks", "", MESSAGE);
    taken(
        &mut client,
        "/webhook",
        "X-Request-Id: r-1\r\nX-Request-Id: r-2\r\n",
        MESSAGE,
    );
    let lines = delivered(&site, &server);
    let events = parsed(&lines);
    assert_eq!(events.len(), 3, "a retry is a duplicate: {lines:#?}");
    let [order, hook, message] = &events[..] else {
        unreachable!()
    };
    let attributes = [
        "id",
        "source",
        "type",
        "time",
        "endpoint",
        "xshopregion",
        "datacontenttype",
    ];
    assert_eq!(
        attributes.map(|name| order[name].as_str().unwrap_or("-")),
        [
            "msg_1",
            "/standard-webhooks/shop",
            "webhook.order.paid",
            "2026-11-20T08:00:00Z",
            "shop",
            "eu",
            "application/vnd.shop+json"
        ]
    );
    assert!(
        lines[0].contains("12.500000000000000000001"),
        "{}",
        lines[0]
    );
    assert!(!lines[0].contains("signature"), "{}", lines[0]);
    assert_eq!(
        ["source", "type", "endpoint"].map(|name| hook[name].as_str().unwrap_or("-")),
        ["/generic-hmac/in-hooks", "webhook.received", "in-hooks"],
        "a member `messages` makes nobody the platform"
    );
    assert_eq!(message["type"], "whatsapp.message.text");
    assert_eq!(message["xrequestid"], "r-1, r-2");
    let shown = tail(&site);
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");

    // Nobody reads by what the configuration says by now.
    let site = changed_endpoints(site.without_endpoints().sink(SINK));
    let server = site.start();
    let mut client = server.connect();
    assert_eq!(tail(&site), shown);
    taken(&mut client, "/webhook", "", MESSAGE);
    taken(&mut client, "/orders", "", MESSAGE);
    let after = delivered(&site, &server);
    assert_eq!(after[..3], lines[..]);
    let events = parsed(&after[3..]);
    assert_eq!(events[0]["source"], "/generic-hmac/shop");
    assert_eq!(events[0]["type"], "webhook.received");
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
    assert_eq!(tail(&site)[..4], shown[..]);

    // Without the file everything goes on: what the platform sent is what it was.
    for name in ["forms", "forms.old"] {
        fs::write(site.journal_dir().join(name), "damaged\n").expect("writable");
    }
    let server = site.start();
    let read = parsed(&tail(&site));
    assert_eq!(read[3]["id"], message["id"]);
    assert_eq!(read[3]["type"], message["type"]);
    assert_eq!(read[0]["type"], "webhook.received");
    let mut client = server.connect();
    taken(&mut client, "/webhook", "", MESSAGE);
    let last = parsed(&delivered(&site, &server)).pop().expect("an event");
    assert_eq!(last["source"], "/generic-hmac/shop");
    assert!(
        server.stderr().contains("forms.damaged"),
        "{}",
        server.stderr()
    );
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
}

#[test]
fn audit_reads_by_the_forms_too() {
    let site = endpoints(site());
    let server = site.start();
    let mut client = server.connect();
    for number in 0..3 {
        let id = format!("msg_{}", number / 2);
        taken(&mut client, "/orders", &signed(&id, ORDER, "eu"), ORDER);
    }
    assert_eq!(delivered(&site, &server).len(), 2);
    assert!(server.terminate().0.success());
    let mut command = Command::new(PROGRAM);
    let audit = command
        .args(["audit", "--output", "json", "--data-dir"])
        .arg(site.journal_dir())
        .output();
    let audit = audit.expect("it runs");
    let report: Value = serde_json::from_slice(&audit.stdout).expect("JSON");
    assert!(audit.status.success(), "{report}");
    assert_eq!(
        report["events"]["types"]["webhook.order.paid"], 3,
        "{report}"
    );
}
