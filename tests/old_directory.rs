//! A data directory that an older build has written: it opens, and every sink goes on where it was. Stopped cleanly,
//! nothing comes twice; killed, at most what came within the unsaved second does, and in a file not even that.
//!
//! What lies in the directories, and how they were made, stands in `tests/fixtures/old_directory/README.md`.

mod common;

use common::client::{Client, post};
use common::{PROGRAM, Running, Site, eventually};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

#[test]
fn a_directory_that_was_stopped_cleanly_goes_on_and_nothing_comes_twice() {
    let old = Old::unpacked("clean");
    let before = WRITERS.map(|sink| old.text(sink));
    let letters = ["hook/8.0", "hook/8.1", "raw/8", "worker/17"];
    assert_eq!(old.letters(), letters);
    assert_eq!(old.titles(), ["hookline-cursor 3", "hookline-dedupe 1"]);
    let server = old.start();
    let new = old.post_more(&server, 19);
    old.wait(&server);
    let replay = ["1.0", "2.0", "2.1"].map(|it| (it.to_owned(), true));
    for (sink, before) in WRITERS.into_iter().zip(before) {
        let text = old.text(sink);
        assert!(text.starts_with(&before), "{sink}: what was there is there");
        let mut came = events(&text[before.len()..]);
        if sink == "events" {
            assert_eq!(events(&before).len(), 11);
            came.retain(|event| !replay.contains(event));
            assert_eq!(events(&text).len(), 11 + replay.len() + 1, "{text}");
        }
        assert_eq!(came, [(new.clone(), false)], "{sink}");
    }
    assert_eq!(old.received("/hook"), [(new.clone(), false)]);
    assert_eq!(old.received("/raw"), [("21".to_owned(), false)]);
    // 10 to 14 are for nobody, 16, 19 and 20 are duplicates, and 17 cannot be taken apart.
    assert_eq!(pulled(&server), ["15.0", "18.0", &new]);
    assert_eq!(states(&old), ["done", "done"]);

    old.verb(&["dead-letters", "retry", "hook/8.0", "raw/8"]);
    eventually("they are delivered", || old.letters().len() == 2);
    assert_eq!(old.letters(), ["hook/8.1", "worker/17"]);
    for (path, letter) in [("/hook", "8.0"), ("/raw", "8")] {
        let received = old.received(path);
        assert_eq!(received[1..], [(letter.to_owned(), false)], "{path}");
    }
    old.end(server);
    assert_eq!(old.titles(), ["hookline-cursor 4", "hookline-dedupe 2"]);
}

/// Cursors and checkpoint are written in place since: `clean`, gone on with by the first build that does.
#[test]
fn a_directory_with_two_slots_goes_on_and_nothing_comes_twice() {
    let old = Old::unpacked("slots");
    assert_eq!(old.titles(), ["hookline-cursor 4", "hookline-dedupe 2"]);
    assert!(old.confirmed().iter().all(|confirmed| *confirmed == 19));
    let before = WRITERS.map(|sink| old.text(sink));
    let server = old.start();
    let new = old.post_more(&server, 20);
    old.wait(&server);
    for (sink, before) in WRITERS.into_iter().zip(before) {
        let text = old.text(sink);
        assert!(text.starts_with(&before), "{sink}: what was there is there");
        assert_eq!(events(&text[before.len()..]), live(&[&new]), "{sink}");
    }
    assert_eq!(old.received("/hook"), live(&[&new]));
    assert_eq!(old.received("/raw"), live(&["22"]));
    assert_eq!(pulled(&server), ["15.0", "18.0", "19.0", &new]);
    old.end(server);
}

#[test]
fn a_directory_that_was_killed_goes_on_and_only_the_unsaved_second_may_come_twice() {
    let old = Old::unpacked("killed");
    let before = WRITERS.map(|sink| old.text(sink));
    let [unsaved @ .., new] = ["21.0", "22.0", "23.0", "26.0"];
    assert!(old.confirmed().iter().all(|confirmed| *confirmed == 20));
    let replays = states(&old);
    assert_eq!(replays, ["done", "done", "running", "requested"]);
    let next = old.replays()[2]["next"].as_u64().expect("a sequence");

    let server = old.start();
    assert_eq!(old.post_more(&server, 24), new);
    old.wait(&server);
    for (sink, before) in WRITERS.into_iter().zip(before) {
        let text = old.text(sink);
        let came = if sink == "events" {
            // What the old build had written is found by its old key, and goes on with the new one in its place.
            let at = before.find("{\"specversion\":\"1.0\",\"id\":\"200:messages:wamid.11\"");
            let at = at.expect("the first that was not saved");
            assert!(text.starts_with(&before[..at]));
            assert!(!text[at..].contains("\"sequence\""), "{text}");
            events(&text[at..])
        } else {
            assert!(text.starts_with(&before), "{sink}: what was there is there");
            // What is of different conversations overtakes each other.
            let mut came = events(&text[before.len()..]);
            came.sort();
            came
        };
        assert_eq!(came, live(&[&unsaved[..], &[new]].concat()), "{sink}");
    }
    let mut received = old.received("/hook");
    received.retain(|(_, is_replay)| !is_replay);
    received.sort();
    assert_eq!(received, live(&[&unsaved[..], &[new]].concat()));
    let replayed = old.received("/hook").into_iter().filter(|it| it.1);
    let mut replayed: Vec<String> = replayed.map(|it| it.0).collect();
    replayed.sort();
    assert_eq!(replayed, ["3.0", "5.0", "7.0", "8.0", "8.1", "9.0"]);

    let (replayed, mut received): (Vec<_>, Vec<_>) =
        old.received("/raw").into_iter().partition(|it| it.1);
    received.sort();
    assert_eq!(received, live(&["21", "22", "23", "26"]));
    for (sequence, _) in replayed {
        let sequence: u64 = sequence.parse().expect("a number");
        assert!((next..=18).contains(&sequence), "{sequence} was done");
    }
    assert_eq!(
        pulled(&server),
        [
            "15.0", "18.0", "19.0", "20.0", "21.0", "22.0", "23.0", "26.0"
        ]
    );
    assert_eq!(states(&old), ["done"; 4]);
    old.end(server);
}

/// The sinks that append a line of JSON for each event to `SINK.ndjson`, by themselves or through a program.
const WRITERS: [&str; 4] = ["events", "out", "each", "stream"];

/// A directory of the old build, in a site of its own, and a receiver.
struct Old {
    site: Site,
    received: Received,
}

/// Path, position or sequence, and whether it belongs to a replay, of each request.
type Received = Arc<Mutex<Vec<(String, String, bool)>>>;

impl Old {
    fn unpacked(name: &str) -> Old {
        let received = Received::default();
        let address = receive(&received);
        let wanted = "endpoints = [\"/webhook\", \"/shop\"]";
        let unsigned = common::UNSIGNED;
        let mut site = Site::unsigned()
            .limits("body = \"4MiB\"")
            .endpoint("path = \"/shop\"\nname = \"shop\"\nprovider = \"standard-webhooks\"\naccept_unsigned = true\nkeep_headers = [\"X-Shop\"]")
            .endpoint(&format!("{}ack = \"received\"", unsigned.replace("/webhook", "/bulk")));
        let pull = "name = \"crm\"\ntype = \"pull\"\naccept_unauthenticated = true";
        for sink in [
            "name = \"events\"\ntype = \"file\"\npath = \"events.ndjson\"",
            "name = \"out\"\ntype = \"stdout\"",
            &format!(
                "name = \"raw\"\ntype = \"http\"\nurl = \"http://{address}/raw\"\nmax_attempts = 1"
            ),
            &format!(
                "name = \"hook\"\ntype = \"http\"\nurl = \"http://{address}/hook\"\nunit = \"event\"\n\
                 mode = \"binary\"\nmax_attempts = 1"
            ),
            "name = \"each\"\ntype = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"cat >> each.ndjson\"]",
            "name = \"stream\"\ntype = \"exec\"\nmode = \"stream\"\ncommand = [\"/bin/sh\", \"stream.sh\"]",
        ] {
            site = site.sink(&format!("{sink}\n{wanted}"));
        }
        let site = site.sink(&format!(
            "{pull}\n{wanted}\n[pull]\nlisten = \"127.0.0.1:0\""
        ));
        let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/old_directory");
        let archive = archive.join(format!("{name}.tar.gz"));
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(archive).arg("-C").arg(site.path());
        assert!(tar.status().expect("there is tar").success());
        fs::write(site.path().join("stream.sh"), STREAM).expect("written");
        Old { site, received }
    }

    /// With the stdout that it had.
    fn start(&self) -> Running {
        let out = OpenOptions::new()
            .append(true)
            .open(self.site.path().join("out.ndjson"));
        Running::spawn_onto(self.site.command(), out.expect("there").into())
    }

    /// Two posts that the old build has had, which are duplicates, and a new one, whose position this gives. The first
    /// is to get the sequence `first`.
    fn post_more(&self, server: &Running, first: u64) -> String {
        let mut client = server.connect();
        let message = |id: &str| message(id).to_string().into_bytes();
        let shop = "X-Shop: main\r\nwebhook-id: d-1\r\nwebhook-timestamp: 1750000000\r\n";
        for (path, fields, body) in [
            ("/webhook", "", message("wamid.1")),
            ("/shop", shop, b"{\"type\":\"order.paid\"}".to_vec()),
            ("/webhook", "", message("wamid.new")),
        ] {
            client.send(&post(path, fields, &body));
            assert_eq!(client.answer().code, 200);
        }
        let (last, _) = self.site.records().pop().expect("they are stored");
        assert_eq!(last, first + 2);
        format!("{last}.0")
    }

    /// Until everything is delivered, and every replay is done.
    fn wait(&self, server: &Running) {
        let sinks = ["events", "out", "raw", "hook", "each", "stream"];
        eventually("everything is delivered", || {
            sinks.iter().all(|sink| server.is_delivered(sink))
        });
        eventually("the replays are done", || {
            states(self).iter().all(|state| state == "done")
        });
    }

    /// Stops it; the books balance, and the journal is whole.
    fn end(&self, server: Running) {
        let (status, said) = server.terminate();
        assert!(status.success(), "{said}");
        self.site.verify();
        let config = self.site.write_config();
        let config = config.to_str().expect("UTF-8");
        self.verb(&["audit", "--config", config]);
        let mut check = Command::new(PROGRAM);
        check.arg("check").arg("--config").arg(config);
        check.current_dir(self.site.path()).env("TOKEN", "token");
        let output = check.output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let text = fs::read(self.site.journal_dir().join("poison/verdicts")).expect("there");
        assert!(text.windows(12).any(|it| it == b"poisoned 17 "), "{text:?}");
    }

    /// How a cursor and dedupe's checkpoint begin.
    fn titles(&self) -> [String; 2] {
        ["cursors/events.cursor", "dedupe/checkpoint"].map(|name| {
            let text = fs::read_to_string(self.site.journal_dir().join(name));
            let text = text.expect("UTF-8");
            text.lines().next().expect("a title").to_owned()
        })
    }

    fn text(&self, sink: &str) -> String {
        let path = self.site.path().join(format!("{sink}.ndjson"));
        fs::read_to_string(path).expect("there")
    }

    /// In the order of arrival.
    fn received(&self, path: &str) -> Vec<(String, bool)> {
        let received = self.received.lock().expect("whole");
        let here = received.iter().filter(|(to, ..)| to == path);
        here.map(|(_, what, is_replay)| (what.clone(), *is_replay))
            .collect()
    }

    fn verb(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(arguments);
        command.arg("--data-dir").arg(self.site.journal_dir());
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }

    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.verb(&[arguments, &["--output", "json"]].concat());
        let lines = output.stdout.lines().map(|line| line.expect("UTF-8"));
        lines
            .map(|line| serde_json::from_str(&line).expect("JSON"))
            .collect()
    }

    fn letters(&self) -> Vec<String> {
        let letters = self.lines(&["dead-letters", "list"]);
        let name = |letter: &Value| letter["dead_letter"].as_str().map(str::to_owned);
        letters.iter().map(|it| name(it).expect("one")).collect()
    }

    fn replays(&self) -> Vec<Value> {
        self.lines(&["replay", "list"])
    }

    /// By the cursors of all sinks that push, in each lane.
    fn confirmed(&self) -> Vec<u64> {
        let list = self.lines(&["cursor", "list"]).remove(0);
        let sinks = list["sinks"].as_array().expect("sinks").iter();
        let lanes = sinks
            .filter(|sink| sink["sink"] != "crm")
            .flat_map(|sink| sink["lanes"].as_array().expect("lanes"));
        lanes
            .map(|lane| lane["confirmed"].as_u64().expect("a sequence"))
            .collect()
    }
}

fn states(old: &Old) -> Vec<String> {
    let state = |replay: &Value| replay["state"].as_str().expect("a state").to_owned();
    old.replays().iter().map(state).collect()
}

/// Position, under the old name or the new, and whether it belongs to a replay, of each line.
fn events(text: &str) -> Vec<(String, bool)> {
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("each line is JSON");
        let position = event.get("position").or(event.get("sequence"));
        let position = position.and_then(Value::as_str).expect("a position");
        (position.to_owned(), event.get("replay").is_some())
    };
    text.lines().map(event).collect()
}

fn live(positions: &[&str]) -> Vec<(String, bool)> {
    positions
        .iter()
        .map(|it| ((*it).to_owned(), false))
        .collect()
}

/// What a consumer gets behind what it has committed.
fn pulled(server: &Running) -> Vec<String> {
    let mut client = Client::connect(server.pull());
    // Under a name of its own, a web page could ask.
    let mut ask = |target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.send(request.as_bytes());
        client.answer()
    };
    let cursor: Value = serde_json::from_slice(&ask("/v1/cursors/crm").body).expect("JSON");
    assert_eq!(cursor["position"], "9");
    let mut came = Vec::new();
    let mut after = "9".to_owned();
    loop {
        // A page may end before there is an end.
        let page = ask(&format!("/v1/events?sink=crm&after={after}"));
        let next = page.field("hookline-next").expect("it is always there");
        if next == after {
            return came;
        }
        next.clone_into(&mut after);
        let text = String::from_utf8(page.body).expect("UTF-8");
        came.extend(events(&text).into_iter().map(|it| it.0));
    }
}

fn message(id: &str) -> Value {
    let text = json!({ "body": "one" });
    let message =
        json!({ "from": "300", "id": id, "timestamp": "1750000000", "type": "text", "text": text });
    let metadata = json!({ "display_phone_number": "49200", "phone_number_id": "200" });
    let value =
        json!({ "messaging_product": "whatsapp", "metadata": metadata, "messages": [message] });
    let entry = json!({ "id": "100", "changes": [{ "field": "messages", "value": value }] });
    json!({ "object": "whatsapp_business_account", "entry": [entry] })
}

/// Takes every request, and keeps what it was.
fn receive(received: &Received) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let received = Arc::clone(received);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let received = Arc::clone(&received);
            thread::spawn(move || serve(&stream.expect("accepted"), &received));
        }
    });
    address
}

/// Until the other side has enough.
fn serve(stream: &TcpStream, received: &Received) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if !matches!(reader.read_until(b'\n', &mut head), Ok(1..)) {
                return;
            }
        }
        let head = String::from_utf8(head).expect("UTF-8");
        let field = |name: &str| {
            let fields = head.lines().filter_map(|line| line.split_once(": "));
            let mut values = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
            values.next().map(|(_, value)| value.to_owned())
        };
        let length = field("content-length").and_then(|text| text.parse().ok());
        let mut body = vec![0; length.expect("a length")];
        reader.read_exact(&mut body).expect("the body");
        let path = head.split(' ').nth(1).expect("a path").to_owned();
        let what = field("ce-position").or_else(|| field("hookline-sequence"));
        let is_replay = field("ce-replay")
            .or_else(|| field("hookline-replay"))
            .is_some();
        let request = (path, what.expect("a position"), is_replay);
        received.lock().expect("whole").push(request);
        let mut stream = stream;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    }
}

/// Confirms each event by its position.
const STREAM: &str = "while IFS= read -r line; do
printf '%s\\n' \"$line\" >> stream.ndjson
at=${line#*\\\"position\\\":\\\"}
echo \"ok ${at%%\\\"*}\"
done
";
