//! Jobs against a server that does what a script says.

mod connections;
mod outcomes;
mod receiver;

use super::*;
use crate::dead_letter::Answer;
use crate::event::{self, Item};
use crate::journal::batch::{Batch, Seal};
use crate::journal::record;
use crate::sink::transport::{BatchItem, FailureKind};
use crate::worker::{EventBatch, Extraction, Forms};
use receiver::{Reply, Request, Server, answer};
use rustls::pki_types::PrivateKeyDer;
use std::io::Write as _;
use std::sync::atomic::Ordering;

const MESSAGE: &str = r#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"messaging_product":"whatsapp","metadata":{"phone_number_id":"2"},"messages":[{"id":"wamid.A%\"B","from":"3","timestamp":"1749416383","type":"text","text":{"body":"ä"}},{"id":"wamid.C","from":"3","timestamp":"1749416384","type":"text","text":{"body":"b"}}]}}]}]}"#;

/// Sequence of the first of three notifications: a message, no JSON, another message.
const FIRST: u64 = 41;

fn delivery() -> Arc<EventBatch> {
    let forms = Arc::new(Forms::default());
    let form = event::Form {
        provider: "meta".to_owned(),
        endpoint: "webhook".to_owned(),
        whatsapp: event::WhatsApp::Always,
        attributes: vec!["x-team".to_owned()],
        ..event::Form::unknown()
    };
    let flags = record::with_form(0, forms.number(&form).expect("a number"));
    let mut batch = Batch::unpooled();
    for body in [MESSAGE, "no JSON", MESSAGE] {
        let headers = [
            (&b"X-Hub-Signature-256"[..], &b"sha256=00ff"[..]),
            (b"Content-Type", b"application/json; charset=utf-8"),
            (b"Host", b"evil.example"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Hookline-Sequence", b"1"),
            (b"Authorization", b"theirs"),
            (b"X-Team", b"a\"b"),
        ];
        batch.append(
            7,
            flags,
            1_790_417_696_204_511,
            headers.into_iter(),
            body.as_bytes(),
        );
    }
    batch.seal(&Seal {
        epoch: 1,
        salt: 1,
        first_sequence: FIRST,
        committed_at: 0,
        durable: 0,
    });
    Arc::new(Extraction::new().reading(&forms).make(batch))
}

struct Bench {
    http: Http,
    outcomes: relay::Receiver<Outcome>,
    tickets: u64,
}

fn options(url: &str) -> Options {
    Options {
        name: "test".to_owned(),
        url: url.to_owned(),
        form: RequestForm::Notification,
        headers: vec![("authorization".to_owned(), b"Bearer hunter2".to_vec())],
        signing_secrets: Vec::new(),
        ca_file: None,
        timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(20),
        connections: 4,
        paths: Paths::new(|number| (number == 7).then(|| "/webhook".into())),
    }
}

impl Bench {
    fn new(server: &Server, form: RequestForm) -> Bench {
        Bench::with(server, form, |_| {})
    }

    fn with(server: &Server, form: RequestForm, change: impl FnOnce(&mut Options)) -> Bench {
        let mut options = Options {
            form,
            ..options(&format!("http://{}/hook?key=1", server.address))
        };
        change(&mut options);
        let (give, outcomes) = relay::channel(64);
        Bench {
            http: Http::new(&options, give).expect("valid"),
            outcomes,
            tickets: 0,
        }
    }

    fn start(&mut self, places: &[(u64, Option<u32>)], replay: Option<&str>) {
        let delivery = delivery();
        self.tickets += 1;
        let one = |&(sequence, index)| BatchItem {
            batch: Arc::clone(&delivery),
            item: Item { sequence, index },
        };
        self.http.start(Attempt {
            ticket: self.tickets,
            items: places.iter().map(one).collect(),
            number: 3,
            replay: replay.map(Into::into),
        });
    }

    /// What came of the attempt that was begun last, while no other is under way.
    fn outcome(&self) -> Result<(), Failure> {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while std::time::Instant::now() < deadline {
            let wait = Some(Duration::from_secs(1));
            if let Some(outcome) = self.outcomes.recv(wait).expect("open") {
                assert_eq!(outcome.ticket, self.tickets);
                return outcome.result;
            }
        }
        panic!("no outcome");
    }

    fn notification(&mut self) -> Result<(), Failure> {
        self.start(&[(FIRST, None)], None);
        self.outcome()
    }
}

fn ok() -> Reply {
    answer("200 OK", "", "thanks")
}

fn field<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.fields.get(name).map(String::as_str)
}

#[test]
fn a_notification_arrives_as_it_came() {
    let server = Server::new(vec![ok()]);
    let mut bench = Bench::new(&server, RequestForm::Notification);
    bench.start(&[(FIRST + 1, None)], Some("again-1"));
    assert_eq!(bench.outcome(), Ok(()));
    let request = server.request();
    assert_eq!(request.line, "POST /hook?key=1 HTTP/1.1");
    assert_eq!(request.body, b"no JSON");
    let expected = [
        ("authorization", "Bearer hunter2"),
        ("content-length", "7"),
        ("content-type", "application/json; charset=utf-8"),
        ("hookline-attempt", "3"),
        ("hookline-endpoint", "/webhook"),
        ("hookline-received", "2026-09-26T10:14:56.204511Z"),
        ("hookline-replay", "again-1"),
        ("hookline-sequence", "42"),
        ("host", &server.address.to_string()),
        (
            "user-agent",
            concat!("hookline/", env!("CARGO_PKG_VERSION")),
        ),
        ("x-hub-signature-256", "sha256=00ff"),
        ("x-team", "a\"b"),
    ];
    let fields: Vec<_> = request
        .fields
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(fields, expected);
}

#[test]
fn what_an_answer_says_is_heeded() {
    let none = FailureKind::Retry { after: None };
    let busy = |seconds| FailureKind::Busy {
        after: Option::map(seconds, Duration::from_secs),
    };
    let (too_many, not_now) = ("429 Too Many Requests", "503 Service Unavailable");
    let cases = [
        ("500 Internal Server Error", "", none),
        (not_now, "", none),
        (not_now, "Retry-After: 7\r\n", busy(Some(7))),
        (not_now, "Retry-After: 999999\r\n", busy(Some(3600))),
        (not_now, "Retry-After: soon\r\n", busy(None)),
        (too_many, "Retry-After: 999999\r\n", busy(Some(3600))),
        (too_many, "", busy(None)),
        ("401 Unauthorized", "", none),
        ("400 Bad Request", "", FailureKind::Rejected),
        ("422 Unprocessable Entity", "", FailureKind::Rejected),
        ("410 Gone", "", FailureKind::Gone),
        ("302 Found", "Location: /elsewhere\r\n", none),
        (
            "307 Temporary Redirect",
            "Location: http://127.0.0.1:1/\r\n",
            none,
        ),
    ];
    let said = "you sent \u{1b}Bearer hunter2";
    let replies = cases
        .iter()
        .map(|(status, fields, _)| answer(status, fields, said));
    let server = Server::new(replies.collect());
    let mut bench = Bench::new(&server, RequestForm::Notification);
    for (status, _, kind) in cases {
        let failure = bench.notification().expect_err("fails");
        assert_eq!(failure.kind, kind, "{status}");
        assert!(
            failure.reason.starts_with(&format!("answered {status}")),
            "{failure:?}"
        );
        assert_eq!(
            failure.reason.contains("redirects are not followed"),
            status.starts_with('3')
        );
        let status = status[..3].parse().expect("a number");
        let excerpt = "you sent  Bearer …".to_owned();
        assert_eq!(failure.answer, Some(Answer { status, excerpt }));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_side_that_hangs_closes_or_talks_nonsense_is_tried_again() {
    let replies = vec![
        Reply::Nothing,
        Reply::Last(Vec::new()),
        Reply::Last(b"HTTP/1.1 200".to_vec()),
        Reply::Last(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()),
        ok(),
    ];
    let server = Server::new(replies);
    let limit = |options: &mut Options| options.timeout = Duration::from_secs(2);
    let mut bench = Bench::with(&server, RequestForm::Notification, limit);
    let reasons: Vec<_> = (0..4)
        .map(|_| bench.notification().expect_err("fails"))
        .collect();
    assert_eq!(reasons[0].reason, "no answer within 2s");
    for failure in &reasons {
        assert_eq!(failure.kind, FailureKind::Retry { after: None });
        let shown = format!("{failure:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("key=1"),
            "{shown}"
        );
    }
    for failure in &reasons[1..] {
        assert!(
            failure.reason.starts_with("the connection failed: "),
            "{failure:?}"
        );
    }
    assert_eq!(bench.notification(), Ok(()));
}

#[test]
fn nobody_there_is_said_so() {
    let server = Server::new(vec![ok()]);
    let closed = |options: &mut Options| {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        options.url = format!("http://{}/", free.local_addr().expect("bound"));
    };
    let failure = Bench::with(&server, RequestForm::Notification, closed).notification();
    let Failure { kind, reason, .. } = failure.expect_err("fails");
    assert_eq!(kind, FailureKind::Unreached);
    assert!(
        reason.starts_with("cannot connect: ") && reason.contains("refused"),
        "{reason}"
    );
}

#[test]
fn no_more_of_an_answer_is_read_than_helps() {
    let large = "x".repeat(8 << 20);
    let replies = vec![
        answer("200 OK", "", &large),
        answer("500 No", "", &large),
        ok(),
    ];
    let server = Server::new(replies);
    let mut bench = Bench::new(&server, RequestForm::Notification);
    assert_eq!(bench.notification(), Ok(()));
    let failure = bench.notification().expect_err("500");
    assert_eq!(failure.answer.expect("an answer").excerpt, "x".repeat(1024));
    assert_eq!(bench.notification(), Ok(()));
    // The rest of a large answer costs its connection.
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

#[test]
fn an_event_in_binary_mode_has_its_attributes_in_fields() {
    let server = Server::new(vec![ok()]);
    let mut bench = Bench::new(&server, RequestForm::Binary);
    bench.start(&[(FIRST, Some(0))], Some("again-1"));
    assert_eq!(bench.outcome(), Ok(()));
    let request = server.request();
    let delivery = delivery();
    let notification = delivery.notification(FIRST).expect("there");
    let first = notification.events().next().expect("there");
    let mut line = Vec::new();
    event::render_replayed(first, notification.record.body, Some("again-1"), &mut line);
    let mut envelope: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
    let envelope = envelope.as_object_mut().expect("an object");
    let data = envelope.remove("data").expect("data");
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&request.body).expect("JSON"),
        data
    );
    let content = envelope.remove("datacontenttype").expect("there");
    assert_eq!(field(&request, "content-type"), content.as_str());
    for (name, value) in &*envelope {
        let value = value
            .as_str()
            .expect("text")
            .replace('%', "%25")
            .replace('"', "%22");
        assert_eq!(
            field(&request, &format!("ce-{name}")),
            Some(&*value),
            "{name}"
        );
    }
    let attributes = request.fields.keys().filter(|name| name.starts_with("ce-"));
    assert_eq!(attributes.count(), envelope.len());
    assert_eq!(field(&request, "ce-subject"), Some("2:3"));
    assert_eq!(field(&request, "ce-xteam"), Some("a%22b"));

    bench.start(&[(FIRST + 1, Some(0))], None);
    assert_eq!(bench.outcome(), Ok(()));
    let request = server.request();
    assert_eq!(
        field(&request, "content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(
        (field(&request, "ce-replay"), &*request.body),
        (None, &b"no JSON"[..])
    );
}

#[test]
fn events_as_json_are_those_of_the_other_sinks() {
    let server = Server::new(vec![ok()]);
    let delivery = delivery();
    let line = |sequence, index| {
        let notification = delivery.notification(sequence).expect("there");
        let event = notification.events().nth(index).expect("there");
        let mut line = Vec::new();
        event::render(event, notification.record.body, &mut line);
        String::from_utf8(line).expect("UTF-8")
    };
    let mut bench = Bench::new(&server, RequestForm::Structured);
    bench.start(&[(FIRST, Some(1))], None);
    assert_eq!(bench.outcome(), Ok(()));
    let request = server.request();
    assert_eq!(
        field(&request, "content-type"),
        Some("application/cloudevents+json")
    );
    assert_eq!(request.body, line(FIRST, 1).as_bytes());

    let mut bench = Bench::new(&server, RequestForm::Batch(9));
    bench.start(
        &[(FIRST, Some(1)), (FIRST + 1, Some(0)), (FIRST + 2, Some(0))],
        None,
    );
    assert_eq!(bench.outcome(), Ok(()));
    let request = server.request();
    assert_eq!(
        field(&request, "content-type"),
        Some("application/cloudevents-batch+json")
    );
    let lines = [line(FIRST, 1), line(FIRST + 1, 0), line(FIRST + 2, 0)].join(",");
    assert_eq!(
        String::from_utf8(request.body).expect("UTF-8"),
        format!("[{lines}]")
    );
}

#[test]
fn requests_are_signed_with_every_secret() {
    let server = Server::new(vec![ok()]);
    let secrets = vec![b"the new one".to_vec(), b"the old one".to_vec()];
    let keys = |options: &mut Options| options.signing_secrets.clone_from(&secrets);
    let id_of = |form, places: &[(u64, Option<u32>)]| {
        let mut bench = Bench::with(&server, form, keys);
        bench.start(places, None);
        assert_eq!(bench.outcome(), Ok(()));
        let request = server.request();
        let id = field(&request, "webhook-id").expect("signed").to_owned();
        let timestamp = field(&request, "webhook-timestamp").expect("signed");
        let signer = crate::endpoint::signature::Signer::standard_webhooks(&secrets);
        let expected = signer.sign(&id, timestamp, &request.body);
        assert_eq!(field(&request, "webhook-signature"), expected.as_deref());
        id
    };
    assert_eq!(id_of(RequestForm::Notification, &[(FIRST, None)]), "41");
    assert!(id_of(RequestForm::Structured, &[(FIRST, Some(1))]).ends_with(":wamid.C"));
    let several = [(FIRST, Some(1)), (FIRST + 1, Some(0))];
    assert_eq!(id_of(RequestForm::Batch(9), &several), "41.1-42.0");
}

#[test]
fn only_a_trusted_server_gets_anything() {
    let names = vec!["127.0.0.1".to_owned()];
    let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let authority = ca.self_signed(&ca_key).expect("signed");
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let own = rcgen::CertificateParams::new(names).expect("parameters");
    let own = own.signed_by(&key, &issuer).expect("signed");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("known")
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], private)
        .expect("a pair");
    let server = Server::over(vec![ok()], Some(Arc::new(tls)));
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(authority.pem().as_bytes()).expect("written");
    let url = format!("https://{}/hook", server.address);
    let trusting = |options: &mut Options| {
        options.url.clone_from(&url);
        options.ca_file = Some(file.path().to_owned());
    };
    let mut bench = Bench::with(&server, RequestForm::Notification, trusting);
    assert_eq!(bench.notification(), Ok(()));
    assert_eq!(bench.notification(), Ok(()));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    server.request();
    server.request();

    let stranger = rcgen::generate_simple_self_signed(Vec::new()).expect("signed");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(stranger.cert.pem().as_bytes())
        .expect("written");
    let wary = |options: &mut Options| {
        options.url.clone_from(&url);
        options.ca_file = Some(file.path().to_owned());
    };
    let failure = Bench::with(&server, RequestForm::Notification, wary).notification();
    let reason = failure.expect_err("not trusted").reason;
    assert!(reason.contains("invalid peer certificate"), "{reason}");
}

#[test]
fn what_cannot_work_is_refused_at_once() {
    let server = Server::new(vec![ok()]);
    let options = |url: &str, ca_file: Option<&str>| Options {
        name: "test".to_owned(),
        url: url.to_owned(),
        form: RequestForm::Notification,
        headers: vec![("authorization".to_owned(), b"hunter2".to_vec())],
        signing_secrets: Vec::new(),
        ca_file: ca_file.map(Into::into),
        timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        connections: 1,
        paths: Paths::new(|_| None),
    };
    let address = format!("https://{}/", server.address);
    assert!(!format!("{:?}", options(&address, None)).contains("hunter2"));
    for (url, ca_file, part) in [
        ("ftp://a.example/", None, "url is not valid"),
        ("a.example", None, "url is not valid"),
        (
            &address,
            Some("/nonexistent/ca"),
            "ca_file \"/nonexistent/ca\" cannot be read",
        ),
        (&address, Some("/dev/null"), "holds no certificate"),
    ] {
        let (give, _outcomes) = relay::channel(1);
        let error = Http::new(&options(url, ca_file), give).expect_err("refused");
        assert!(error.to_string().contains(part), "{error}");
    }
}
