//! `hookline status` and `/status`: what a running server says of itself, and what the verb says when there is none.

mod common;

use common::client::{Client, post};
use common::{PROGRAM, Running, Site, eventually};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

fn site() -> Site {
    Site::unsigned().sink("name = \"events\"\ntype = \"file\"\npath = \"events.ndjson\"")
}

fn message(id: &str) -> Vec<u8> {
    let message = json!({ "from": "300", "id": id, "timestamp": "1750000000", "type": "text", "text": { "body": "x" } });
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "phone_number_id": "200" },
        "messages": [message],
    });
    let entry = json!({ "id": "100", "changes": [json!({ "field": "messages", "value": value })] });
    let body = json!({ "object": "whatsapp_business_account", "entry": [entry] });
    body.to_string().into_bytes()
}

fn send(client: &mut Client, body: &[u8]) {
    client.send(&post("/webhook", "", body));
    assert_eq!(client.answer().code, 200);
}

fn status(arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.env_clear().arg("status").args(arguments);
    command.output().expect("it runs")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

/// What the verb prints as JSON of this server.
fn overview(server: &Running) -> Value {
    let admin = server.admin.expect("it is there").to_string();
    let output = status(&["--admin", &admin, "--output", "json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn dead_letters(site: &Site, sink: &str, names: &[&str]) {
    let dir = site.journal_dir().join("dead-letters").join(sink);
    fs::create_dir_all(&dir).expect("made");
    for name in names {
        fs::write(dir.join(name), "{}").expect("written");
    }
}

#[test]
fn the_page_says_what_came_and_where_it_went() {
    let site = site();
    let server = site.start();
    let mut client = server.connect();
    for at in 0..20 {
        send(&mut client, &message(&format!("wamid.{at}")));
    }
    // One that is sent again.
    send(&mut client, &message("wamid.3"));
    client.send(&post("/nowhere", "", b"{}"));
    assert_eq!(client.answer().code, 404);
    dead_letters(&site, "events", &["3.json", "4.0.retry", "5.tmp"]);
    dead_letters(&site, "gone", &["7.json"]);

    let mut page = Value::Null;
    eventually("everything is confirmed", || {
        page = overview(&server);
        page["sinks"][0]["confirmed"] == 21
    });
    assert_eq!(page["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&page["state"], &page["pid"]),
        (&json!("serving"), &json!(server.pid()))
    );
    let sink = &page["sinks"][0];
    assert_eq!(
        [&sink["name"], &sink["kind"], &sink["confirmation"]],
        [&json!("events"), &json!("file"), &json!("fsynced")]
    );
    assert_eq!(
        [&sink["events"], &sink["duplicates"], &sink["unaccounted"]],
        [&json!(20), &json!(1), &json!(0)]
    );
    for (lane, name) in ["messages", "statuses", "rest"].into_iter().enumerate() {
        let lane = &sink["lanes"][lane];
        assert_eq!(lane["lane"], name);
        assert_eq!(
            [&lane["confirmed"], &lane["reached"]],
            [&json!(21), &json!(21)]
        );
        assert_eq!([&lane["lag_events"], &lane["open"]], [&json!(0), &json!(0)]);
        assert_eq!(
            (&lane["lag_seconds"], &lane["oldest"]),
            (&json!(0.0), &Value::Null)
        );
    }
    assert_eq!(page["receiving"]["notifications"], 21);
    assert_eq!(page["receiving"]["answers"], json!({ "200": 21, "404": 1 }));
    for time in ["minute", "hour"] {
        let acks = &page["acks"][time];
        assert_eq!(acks["count"], 21);
        let quantiles = ["p50_ms", "p99_ms", "p999_ms"].map(|it| acks[it].as_f64());
        assert!(quantiles.is_sorted() && quantiles[0] > Some(0.0), "{acks}");
    }
    let journal = &page["journal"];
    assert_eq!(
        [&journal["first_sequence"], &journal["durable_sequence"]],
        [&json!(1), &json!(21)]
    );
    assert_eq!(
        (&journal["max_size"], &journal["retention_seconds"]),
        (&json!(1 << 30), &json!(604_800))
    );
    assert!(journal["free_bytes"].as_u64() > Some(0));
    assert_eq!(
        [&page["dedupe"]["events"], &page["dedupe"]["duplicates"]],
        [&json!(21), &json!(1)]
    );
    assert_eq!(
        page["dead_letters"],
        json!({ "events": 2, "gone": 1, "worker": 0 })
    );
    assert_eq!(page["replays"], json!([]));

    // And the same as metrics.
    let metrics = server.metrics();
    for line in [
        "hookline_sink_events_total{sink=\"events\"} 20",
        "hookline_sink_duplicates_total{sink=\"events\"} 1",
        "hookline_sink_unwanted_total{sink=\"events\"} 0",
        "hookline_sink_dead_total{sink=\"events\"} 0",
        "hookline_sink_dead_letters_delivered_total{sink=\"events\"} 0",
        "hookline_sink_replayed_total{sink=\"events\"} 0",
        "hookline_sink_retries_total{sink=\"events\"} 0",
        "hookline_sink_away{sink=\"events\"} 0",
        "hookline_sink_lag_seconds{sink=\"events\",lane=\"messages\"} 0.0",
        "hookline_sink_lag_events{sink=\"events\",lane=\"rest\"} 0",
        "hookline_sink_open{sink=\"events\",lane=\"statuses\"} 0",
        "hookline_dead_letters{sink=\"events\"} 2",
        "hookline_duplicates_total{lane=\"messages\"} 1",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}\n{metrics}");
    }
}

/// A file that cannot be written: everything stays behind, and its age is shown.
#[test]
fn what_is_behind_is_shown_with_its_age() {
    let site = Site::unsigned().sink("name = \"pipe\"\ntype = \"stdout\"");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let server = Running::spawn_onto(site.command(), writer.into());
    let mut client = server.connect();
    let big = vec![b'x'; 1 << 20];
    send(&mut client, &big);
    send(&mut client, &big);
    let mut lane = Value::Null;
    eventually("something is behind", || {
        lane = overview(&server)["sinks"][0]["lanes"][0].clone();
        lane["lag_notifications"] == 2 && lane["oldest"].as_u64().is_some()
    });
    eventually("it gets older", || {
        let now = overview(&server)["sinks"][0]["lanes"][0].clone();
        assert_eq!(now["oldest"], lane["oldest"]);
        now["lag_seconds"].as_f64() > lane["lag_seconds"].as_f64()
    });
    assert!(lane["lag_events"].as_u64() > Some(0), "{lane}");
    // Its reader goes, and does not come back.
    drop(reader);
    eventually("it says why it has stopped", || {
        let sink = overview(&server)["sinks"][0].clone();
        sink["stopped"] == true && sink["reason"] == "the reader of its output has gone"
    });
    let admin = server.admin.expect("it is there").to_string();
    let screen = text(status(&["--admin", &admin]).stdout);
    let said = "sink pipe (stdout, memory); STOPPED: the reader of its output has gone\n";
    assert!(screen.contains(said), "{screen}");
}

/// Asked with the configuration of the server, by somebody who may not have its secrets.
#[test]
fn the_configuration_says_where_to_ask() {
    let site = site();
    let server = site.start();
    let admin = server.admin.expect("it is there");
    let config = site.path().join("asked.toml");
    let endpoint = "[[endpoint]]\npath = \"/webhook\"\nprovider = \"meta\"\nverify_token = { env = \"NOT_SET\" }\n\
                    app_secret = { file = \"/nowhere/secret\" }\n";
    fs::write(
        &config,
        format!("[admin]\nlisten = \"{admin}\"\n{endpoint}"),
    )
    .expect("written");
    let config = config.to_str().expect("UTF-8");
    let output = status(&["--config", config]);
    assert!(output.status.success(), "{output:?}");
    let screen = text(output.stdout);
    let first = format!(
        "hookline {}, process {}, up ",
        env!("CARGO_PKG_VERSION"),
        server.pid()
    );
    assert!(screen.starts_with(&first), "{screen}");
    assert!(
        screen.contains("\nsink events (file, fsynced)\n"),
        "{screen}"
    );

    let refused = |lines: &str, said: &str, code: i32| {
        fs::write(config, format!("[admin]\n{lines}\n{endpoint}")).expect("written");
        let output = status(&["--config", config]);
        let error = text(output.stderr);
        assert!(
            error.contains(said) && error.lines().count() == 1,
            "{error}"
        );
        assert_eq!(output.status.code(), Some(code));
    };
    refused("listen = \"off\"", "there is nobody to ask", 1);
    refused("listen = \"127.0.0.1:0\"", "name it with --admin", 1);
}

#[test]
fn without_a_server_it_says_how_to_name_one() {
    // A port that nobody has, for it was just given back.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let admin = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let output = status(&["--admin", &admin]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(output.stderr);
    let said = format!(
        "hookline: no server answers at {admin}; start one, or name its [admin] listen with --admin"
    );
    assert!(
        error.starts_with(&said) && error.lines().count() == 1,
        "{error}"
    );
    // What is drawn again and again is for a terminal.
    let output = status(&["--admin", &admin, "--watch"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(output.stderr).contains("--output json"));
}

#[test]
fn replays_under_way_are_shown() {
    let site = site();
    let server = site.start();
    let mut connection = server.connect();
    for number in 1..=100 {
        send(&mut connection, &message(&format!("wamid.{number}")));
    }
    // Whether the sink has taken it up or not, it is under way for as long as anybody looks.
    let mut replay = Command::new(PROGRAM);
    replay.args([
        "replay",
        "--sink",
        "events",
        "--from",
        "start",
        "--rate",
        "1/s",
        "--detach",
        "--data-dir",
    ]);
    eventually(
        "the sink has a cursor and the journal something to replay",
        || {
            site.journal_dir().join("cursors/events.cursor").exists()
                && server.is_delivered("events")
        },
    );
    let output = replay.arg(site.journal_dir()).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let replays = &overview(&server)["replays"];
    let facts = ["sink", "from", "to"].map(|it| replays[0][it].clone());
    assert_eq!(facts, [json!("events"), json!(1), json!(100)]);
    let state = replays[0]["state"].as_str();
    assert!(matches!(state, Some("requested" | "running")), "{state:?}");
}
