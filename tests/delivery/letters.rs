//! Dead letters of one large body: they share it, and give each event again as it was.

use super::common::client::{Client, post};
use super::common::eventually;
use super::stage::{audit, dead_letters, follow, lines, metric, site, start, terminate, verb};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Updates in the body.
const UPDATES: usize = 2000;

/// Each request by the `id` of its event: fields of the head that say what it is, and body.
type Requests = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// Answers everything with 422, or takes it.
#[derive(Clone, Default)]
struct Receiver {
    takes: Arc<AtomicBool>,
    refused: Requests,
    taken: Requests,
}

impl Receiver {
    fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let receiver = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, receiver) = (stream.expect("a connection"), receiver.clone());
                thread::spawn(move || receiver.serve(stream));
            }
        });
        address
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut received = Vec::new();
        let mut chunk = [0; 16 << 10];
        loop {
            let Some((request, length)) = cut(&received) else {
                match stream.read(&mut chunk) {
                    Ok(0) | Err(_) => return,
                    Ok(length) => received.extend_from_slice(&chunk[..length]),
                }
                continue;
            };
            received.drain(..length);
            let takes = self.takes.load(Ordering::SeqCst);
            let (book, status) = if takes {
                (&self.taken, "200 OK")
            } else {
                (&self.refused, "422 Unprocessable Content")
            };
            let (id, what) = request;
            book.lock()
                .expect("whole")
                .entry(id)
                .or_default()
                .push(what);
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// The first request, by its event's `id`, without what is new with each attempt; and its length.
fn cut(received: &[u8]) -> Option<((String, String), usize)> {
    let text = str::from_utf8(received).ok()?;
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let field = |name: &str| {
        let mut lines = head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let length: usize = field("content-length")?.parse().ok()?;
    let body = rest.get(..length)?;
    let same = head
        .lines()
        .filter(|line| !line.starts_with("hookline-attempt"));
    let what = same.chain([body]).collect::<Vec<_>>().join("\n");
    let id = field("ce-id")?.to_owned();
    Some(((id, what), head.len() + 4 + length))
}

/// A body with as many statuses as messages, each of a conversation of its own.
fn body() -> String {
    let (mut messages, mut statuses) = (String::new(), String::new());
    for number in 0..UPDATES / 2 {
        let comma = if number > 0 { "," } else { "" };
        let _ = write!(
            messages,
            r#"{comma}{{"id":"wamid.M{number:05}","from":"49{number:05}","timestamp":"1750000000","type":"text","text":{{"body":"{number:0300}"}}}}"#
        );
        let _ = write!(
            statuses,
            r#"{comma}{{"id":"wamid.S{number:05}","status":"delivered","recipient_id":"48{number:05}","timestamp":"1750000000","biz_opaque_callback_data":"{number:0300}"}}"#
        );
    }
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{"metadata":{{"phone_number_id":"7"}},"messages":[{messages}],"statuses":[{statuses}]}}}}]}}]}}"#
    )
}

/// Bytes in a directory, and on the disk below it.
fn bytes(dir: &Path) -> (u64, u64) {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let files = entries.map(|entry| entry.expect("an entry").metadata().expect("a file"));
    files.fold((0, 0), |(bytes, blocks), file| {
        (bytes + file.len(), blocks + file.blocks() * 512)
    })
}

/// Each of thousands of events of one body that were refused stored the whole body.
#[test]
fn letters_of_one_body_take_little_more_than_it_and_are_delivered_as_they_were() {
    let receiver = Receiver::default();
    let address = receiver.start();
    let site = site().limits("body = \"4MiB\"").limits("unacknowledged = \"16MiB\"").sink(&format!(
        "name = \"hook\"\ntype = \"http\"\nurl = \"http://{address}/hook\"\nunit = \"event\"\nmode = \"binary\"\n\
         retry_min = \"10ms\"\nretry_max = \"100ms\"\nmax_attempts = 1"
    ));
    let server = start(&site, 0);
    let body = body();
    let length = body.len() as u64;
    let mut client = Client::connect(server.address);
    client.send(&post("/webhook", "", body.as_bytes()));
    assert_eq!(client.answer().code, 200);
    let dead = || metric(&server, "hookline_sink_dead_total", "hook");
    follow(&server, "all are dead letters", dead, || {
        dead() == UPDATES as u64
    });
    let dir = site.journal_dir().join("dead-letters/hook");
    let (stored, on_disk) = bytes(&dir);
    assert!(stored < 5 * length, "{stored} bytes for a body of {length}");
    let least = UPDATES as u64 * 4096;
    assert!(
        on_disk < least + 3 * length,
        "{on_disk} bytes on the disk for a body of {length}"
    );

    let letters = dead_letters(&site);
    assert_eq!(letters.len(), UPDATES);
    for place in [0, UPDATES / 2, UPDATES - 1] {
        let name = letters[place]["dead_letter"].as_str().expect("a name");
        let shown = &lines(&site, &["dead-letters", "show", name, "--output", "json"])[0];
        assert_eq!(shown["id"], letters[place]["id"]);
        let reason = shown["reason"].as_str().expect("text");
        assert!(reason.starts_with("answered 422"), "{reason}");
        assert!(
            shown["body_base64"]
                .as_str()
                .is_some_and(|text| text.len() as u64 > length)
        );
        let text = verb(&site, &["dead-letters", "show", name]);
        let text = String::from_utf8(text.stdout).expect("text");
        let id = letters[place]["id"].as_str().expect("an id");
        assert!(text.contains(&format!("\"id\":\"{id}\"")), "{text}");
        assert!((text.len() as u64) < 10_000, "the event alone");
    }

    receiver.takes.store(true, Ordering::SeqCst);
    let retried = verb(&site, &["dead-letters", "retry", "--all", "--sink", "hook"]);
    assert!(retried.status.success(), "{retried:?}");
    let again = || {
        metric(
            &server,
            "hookline_sink_dead_letters_delivered_total",
            "hook",
        )
    };
    follow(&server, "all are delivered", again, || {
        again() >= UPDATES as u64
    });
    let (refused, taken) = (receiver.refused.lock(), receiver.taken.lock());
    let (refused, taken) = (refused.expect("whole"), taken.expect("whole"));
    assert_eq!((refused.len(), taken.len()), (UPDATES, UPDATES));
    for (id, requests) in &*taken {
        let live = &refused[id];
        assert!(
            requests.iter().all(|it| *it == live[0]),
            "{requests:?}, and not {live:?}"
        );
    }
    assert!(dead_letters(&site).is_empty());
    eventually("nothing of them is left", || bytes(&dir).0 == 0);
    terminate(server);
    audit(&site);
}
