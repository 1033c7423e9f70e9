//! Answers and metrics.

use super::common::client::post;
use super::common::{Site, eventually, sign};
use super::{code, documents, numbers, readme, root, rows, text_of};
use hookline::testing::http::Status;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;

#[test]
fn answers_are_those_of_the_receiver() {
    let known: BTreeSet<u16> = Status::ALL.iter().map(|status| status.code()).collect();
    for text in [readme(), text_of("guarantees").to_owned()] {
        let table = rows(&text, "answer");
        let listed: Vec<u16> = table.iter().flat_map(|cells| numbers(cells[0])).collect();
        assert_eq!(listed.len(), known.len(), "each once");
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), known);
    }
}

/// Those that consumers get. What is too large for a head is refused by the library that serves.
#[test]
fn answers_are_those_of_the_pull_listener() {
    let code = fs::read_to_string(root().join("src/server/pull/routes.rs")).expect("UTF-8");
    let names = code.split("StatusCode::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_');
        rest[..end.expect("it ends")].replace('_', " ")
    });
    let number = |name: String| {
        let mut all = (100..600).filter_map(|code| http::StatusCode::from_u16(code).ok());
        let is_it = |code: &http::StatusCode| {
            code.canonical_reason()
                .is_some_and(|it| it.eq_ignore_ascii_case(&name))
        };
        all.find(is_it).expect("a known code").as_u16()
    };
    let mut known: BTreeSet<u16> = names.map(number).collect();
    known.insert(431);
    let table = rows(text_of("pull"), "answer");
    let listed = table.iter().flat_map(|cells| numbers(cells[0]));
    assert_eq!(listed.collect::<BTreeSet<_>>(), known);
}

/// Names of metrics in a text, without their labels.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("hookline_") {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_' && !c.is_ascii_digit());
        names.insert(rest[..end.unwrap_or(rest.len())].to_owned());
    }
    names
}

/// Metrics of a page with their labels: counters end with `_total`, and of histograms `le` is no label of ours.
fn series(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines() {
        if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of.split_once(' ').expect("a type");
            let suffix = if kind == "counter" { "_total" } else { "" };
            all.entry(format!("{name}{suffix}")).or_default();
        } else if let Some((name, labels)) = line.split_once('{') {
            let name = name.trim_end_matches("_bucket");
            let labels = labels.split("=\"").map(|part| {
                let name = part.rsplit(['"', ',']).next().expect("one");
                name.to_owned()
            });
            let mut labels: Vec<String> = labels.collect();
            labels.pop();
            labels.retain(|label| label != "le");
            all.entry(name.to_owned()).or_default().extend(labels);
        }
    }
    all
}

/// A receiver that rejects whatever comes.
fn rejecting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    // It ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let answer = "HTTP/1.1 422 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn metrics_are_those_of_a_server_with_every_kind_of_sink() {
    let endpoint = "path = \"/webhook\"\nprovider = \"meta\"\napp_secret = { env = \"APP\" }\n";
    let site = Site::new()
        .endpoint(endpoint)
        .variable("APP", "secret")
        .sink("name = \"gone\"\ntype = \"file\"\npath = \"gone.ndjson\"\n");
    assert!(site.start().terminate().0.success());
    let site = site
        .without_endpoints()
        .endpoint(endpoint)
        .sink("type = \"stdout\"\n")
        .sink("type = \"file\"\npath = \"events.ndjson\"\n")
        .sink(&format!(
            "type = \"http\"\nurl = \"http://{}/\"\nmax_attempts = 1\n",
            rejecting()
        ))
        .sink("type = \"exec\"\ncommand = [\"true\"]\n")
        .sink("type = \"pull\"\naccept_unauthenticated = true\n[pull]\nlisten = \"127.0.0.1:0\"\n");
    let server = site.start();
    let body = b"{\"object\":\"none\"}";
    let signature = sign::meta("secret", body);
    let mut client = server.connect();
    client.send(&post("/webhook", &signature, body));
    client.send(&post("/nowhere", "", body));
    assert_eq!(client.codes(2), [200, 404]);
    eventually("there is a dead letter", || {
        server.metrics().contains("\nhookline_dead_letters{")
    });

    let mut table = BTreeMap::new();
    for cells in rows(text_of("metrics"), "metric") {
        // Those to alarm on stand elsewhere with all that is to be said.
        for metric in code(cells[0])
            .into_iter()
            .filter(|it| it.starts_with("hookline_"))
        {
            let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
            let labels = labels.trim_end_matches('}').split(',');
            let labels = labels.filter(|it| !it.is_empty()).map(str::to_owned);
            let labels: BTreeSet<String> = labels.collect();
            let known: &mut BTreeSet<String> = table.entry(name.to_owned()).or_default();
            known.extend(labels);
        }
    }
    assert_eq!(table, series(&server.metrics()));
    for (name, text) in documents() {
        // What follows in its chapter are names of before.
        let text = text.split("## Names that have changed").next();
        let metrics = metrics_in(text.expect("a first part"));
        for metric in metrics
            .into_iter()
            .filter(|it| !TABLES.contains(&it.as_str()))
        {
            assert!(table.contains_key(&metric), "{name}: {metric}");
        }
    }
}

/// What has such a name and is a table of `PostgreSQL`.
const TABLES: [&str; 3] = ["hookline_events", "hookline_position", "hookline_rejected"];
