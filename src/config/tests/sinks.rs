//! `[[sink]]` of every type: what it becomes, and what is said about its mistakes.

use super::*;
use crate::sink::Rotation;
use std::num::NonZeroU32;

fn sinks(text: &str) -> (Vec<Sink>, Vec<Finding>) {
    let (config, warnings) = load(&format!("{ENDPOINT}{text}")).expect("valid");
    (config.sinks, warnings)
}

fn sink(text: &str) -> Sink {
    let (mut sinks, warnings) = sinks(text);
    assert_eq!(warnings, []);
    sinks.pop().expect("a sink")
}

#[test]
fn the_least_of_each_type_has_its_defaults() {
    let SinkKind::File(file) = sink("[[sink]]\ntype = \"file\"\npath = \"x\"").kind else {
        panic!("a file sink");
    };
    let bare = FileSink {
        path: "x".into(),
        rotation: Rotation::default(),
        mode: 0o640,
    };
    assert_eq!(file, bare);

    let least = sink("[[sink]]\ntype = \"http\"\nurl = \"https://a.example/x?key=1\"");
    assert!(least.filter.is_empty());
    let SinkKind::Http(http) = least.kind else {
        panic!("an http sink");
    };
    assert_eq!(
        (http.address(), http.form),
        ("https://a.example/x", RequestForm::Notification)
    );
    assert_eq!(http.url, "https://a.example/x?key=1");
    assert_eq!(http.connect_timeout, Duration::from_secs(3));
    let pace = Dispatch {
        concurrency: 64,
        rate: None,
        timeout: Duration::from_secs(10),
        retry_min: Duration::from_millis(500),
        retry_max: Duration::from_mins(5),
        max_attempts: 50,
    };
    assert_eq!(http.dispatch, pace);

    let SinkKind::Exec(exec) = sink("[[sink]]\ntype = \"exec\"\ncommand = [\"wc\"]").kind else {
        panic!("an exec sink");
    };
    let own = Dispatch {
        concurrency: 4,
        timeout: Duration::from_secs(30),
        ..pace
    };
    assert_eq!((exec.mode, exec.dispatch), (ExecMode::Each, own));

    let SinkKind::Pull(pull) = sink("[[sink]]\ntype = \"pull\"\ntoken = { env = \"TOKEN\" }").kind
    else {
        panic!("a pull sink");
    };
    assert_eq!(pull.tokens, [Secret::new(*b"token")]);
}

#[test]
fn every_key_is_taken() {
    let ca = tempfile::NamedTempFile::new().expect("a file");
    let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()]);
    let pem = authority.expect("made").cert.pem();
    fs::write(ca.path(), pem).expect("written");
    let text = FULL.replace("CA_FILE", &ca.path().display().to_string());
    let (config, mut warnings) = load(&format!("{ENDPOINT}{text}")).expect("valid");
    warnings.retain(|it| !it.message.contains("the program prog is not there"));
    assert_eq!(warnings, []);
    assert_eq!(config.pull.listen.port(), 9000);
    assert_eq!(config.dedupe.window, Duration::from_hours(24));
    assert_eq!(config.dedupe.keys, 5000);
    assert_eq!(config.dedupe.scope, Scope::All);
    let [file, http, batch, exec, pull] = config.sinks.as_slice() else {
        panic!("five sinks");
    };
    assert_eq!(file.filter.types, ["whatsapp.message.*", "*.sent"]);
    assert_eq!(file.filter.phone_number_ids, ["106540352242922"]);
    assert_eq!(file.filter.wabas, ["102290129340398"]);
    assert_eq!(file.filter.endpoints, ["/webhook"]);
    let SinkKind::File(file) = &file.kind else {
        panic!("a file sink");
    };
    assert_eq!(
        (file.rotation.size, file.rotation.every),
        (Some(1 << 30), Some(Duration::from_hours(24)))
    );
    assert_eq!(file.rotation.keep, NonZeroU32::new(7));
    let SinkKind::Http(http) = &http.kind else {
        panic!("an http sink");
    };
    assert_eq!(http.form, RequestForm::Structured);
    let fields = [("authorization", &b"token"[..]), ("x-team", b"crm")];
    for (field, (name, value)) in http.headers.iter().zip(fields) {
        assert_eq!((field.0.as_str(), field.1.expose()), (name, value));
    }
    assert_eq!(http.headers.len(), 2);
    assert_eq!(http.signing_secrets.len(), 2);
    assert_eq!(http.signing_secrets[0].expose().len(), 24);
    assert_eq!(http.ca_file.as_deref(), Some(ca.path()));
    assert_eq!(http.dispatch.rate, NonZeroU32::new(100));
    assert!(!format!("{http:?}").contains("crm"), "values may be secret");
    assert!(matches!(&batch.kind, SinkKind::Http(http) if http.form == RequestForm::Batch(500)));
    assert!(matches!(&exec.kind, SinkKind::Exec(exec)
        if exec.mode == ExecMode::Stream && exec.command == ["prog", "arg"]
            && exec.env == [("API_TOKEN".to_owned(), Secret::new(*b"token"))]));
    assert!(!format!("{exec:?}").contains("token\""), "it is a secret");
    assert!(matches!(&pull.kind, SinkKind::Pull(pull) if pull.tokens.is_empty()));
}

#[test]
fn each_mistake_has_its_message() {
    for (text, part) in [
        (
            "type = \"file\"\npath = \"x\"\nkeep = 3",
            "add rotate_size or rotate_every",
        ),
        (
            "type = \"stdout\"\nurl = \"x\"",
            "url belongs to a sink of type \"http\" or \"postgres\" or \"redis\"; \"stdout\" takes no keys",
        ),
        (
            "type = \"file\"\npath = \"x\"\nrate = 5",
            "rate belongs to a sink of type \"http\" or \"exec\"",
        ),
        (
            "type = \"file\"\npath = \"x\"\nmode = \"0440\"",
            "mode must be permissions that let the owner read and write",
        ),
        (
            "type = \"pull\"\ntoken = { env = \"TOKEN\" }\ntokn = 1",
            "did you mean \"token\"?",
        ),
        ("type = \"exec\"", "an exec sink needs command"),
        (
            "type = \"exec\"\ncommand = []",
            "an exec sink needs command",
        ),
        (
            "type = \"exec\"\ncommand = \"wc -l\"",
            "command must be a list of texts",
        ),
        (
            "type = \"exec\"\ncommand = [\"a\"]\nmode = \"stream\"\nconcurrency = 2",
            "runs one program",
        ),
        (
            "type = \"exec\"\ncommand = [\"a\"]\nretry_min = \"10m\"",
            "retry_max is below retry_min",
        ),
        (
            "type = \"exec\"\ncommand = [\"a\"]\nconcurrency = 0",
            "concurrency must be between 1 and 1024",
        ),
        ("type = \"pull\"", "anyone could read here"),
        (
            "type = \"pull\"\ntoken = { env = \"APP\" }",
            "a token must be visible ASCII",
        ),
        (
            "type = \"pull\"\ntoken = { env = \"TOKEN\" }\naccept_unauthenticated = true",
            "contradicts token",
        ),
        (
            "type = \"pull\"\ntoken = \"hunter2\"",
            "token holds the secret itself",
        ),
        (
            "name = \"..\"\ntype = \"stdout\"",
            "must not start with a dot",
        ),
        ("type = \"stdout\"\ntypes = []", "types is an empty list"),
        (
            "type = \"stdout\"\ntypes = [\"message.*\"]",
            "did you mean \"whatsapp.message.*\"?",
        ),
        (
            "type = \"stdout\"\ntypes = [\"whatsapp.message.?\"]",
            "'?' stands in no type",
        ),
        (
            "type = \"stdout\"\nwabas = [1]",
            "wabas must hold texts only, found a number",
        ),
        ("type = \"stdout\"\nwabas = [\"1 2\"]", "is no id"),
        (
            "type = \"stdout\"\nendpoints = [\"/webhok\"]",
            "did you mean \"/webhook\"?",
        ),
        (
            "type = \"stdout\"\nendpoints = [\"webhook\"]",
            "did you mean its path, \"/webhook\"?",
        ),
    ] {
        let message = mistake(&format!("[[sink]]\n{text}"));
        assert!(message.contains(part), "{text}\n{message}");
    }
}

#[cfg(feature = "postgres")]
#[test]
fn each_mistake_of_a_postgres_sink_has_its_message() {
    let url = "url = \"postgres://u@10.1.0.1/crm\"";
    for (text, part) in [
        (String::new(), "a postgres sink needs url"),
        (
            "url = \"postgres://u:hunter2@h/crm\"".to_owned(),
            "holds a password",
        ),
        ("url = \"postgres://h/crm\"".to_owned(), "names no user"),
        (
            "url = \"postgres://u@h/crm?sslmode=prefer\"".to_owned(),
            "verify-full",
        ),
        (format!("{url}\nuser = \"u\""), "leave one of them out"),
        (format!("{url}\ntable = \"a.b.c\""), "without a dot"),
        (
            format!("{url}\ntable = \"hookline_position\""),
            "beside its own",
        ),
        (
            format!("{url}\nconcurrency = 2"),
            "concurrency belongs to a sink of type",
        ),
        (
            format!("{url}\nmax_attempts = 2"),
            "max_attempts belongs to a sink of type",
        ),
        (
            format!("{url}\nunique_ids = true\npartitions = \"day\""),
            "cannot be had with partitions",
        ),
        (
            format!("{url}\n[[sink]]\nname = \"b\"\ntype = \"postgres\"\n{url}"),
            "writes where another one does already",
        ),
    ] {
        let message = mistake(&format!("[[sink]]\ntype = \"postgres\"\n{text}"));
        assert!(message.contains(part), "{text}\n{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn each_mistake_of_an_http_sink_has_its_message() {
    for (text, part) in [
        ("", "an http sink needs url"),
        ("url = \"a.example/x\"", "url"),
        (
            "url = \"ftp://a.example/\"",
            "must start with https:// or http://",
        ),
        (
            "url = \"https://u:hunter2@a.example/\"",
            "url holds credentials",
        ),
        ("url = \"https://a.example/#x\"", "a fragment (#)"),
        ("url = \"https:///x\"", "url"),
        (
            "url = \"https://a.example:99999/\"",
            "a port from 1 to 65535",
        ),
        ("url = \"https://a.example:0/\"", "a port from 1 to 65535"),
        ("url = \"https://a.example/ä b\"", "url is not an address"),
        ("mode = \"binary\"", "mode is for unit = \"event\""),
        (
            "unit = \"event\"\nbatch = 5",
            "batch is for mode = \"batch\"",
        ),
        ("unit = \"evnt\"", "did you mean \"event\"?"),
        ("headers = \"x\"", "headers must be written as"),
        (
            "headers = { Host = \"a\" }",
            "host is set by Hookline itself",
        ),
        (
            "headers = { Hookline-Team = \"a\" }",
            "hookline-team is set by Hookline itself",
        ),
        (
            "headers = { ce-id = \"a\" }",
            "ce-id is set by Hookline itself",
        ),
        (
            "headers = { \"a b\" = \"a\" }",
            "not the name of a header field",
        ),
        ("headers = { X-A = \"a\", x-a = \"b\" }", "x-a stands twice"),
        ("headers = { X-A = \"a\\nb\" }", "holds a line end"),
        (
            "headers = { Authorization = \"hunter2\" }",
            "authorization holds the secret itself",
        ),
        (
            "headers = { X-A = { env = \"MISSING\" } }",
            "x-a: the environment variable MISSING is not set",
        ),
        ("signing_secret = { env = \"TOKEN\" }", "whsec_"),
        ("ca_file = \"/nonexistent/ca\"", "cannot read ca_file"),
        ("ca_file = \"/\"", "ca_file \"/\" is no file"),
        ("rate = \"5/s\"", "rate must be a whole number"),
    ] {
        let url = if text.contains("url") || text.is_empty() {
            ""
        } else {
            "url = \"https://a.example\"\n"
        };
        let text = format!("{ENDPOINT}[[sink]]\ntype = \"http\"\n{url}{text}\n");
        let errors = load(&text).expect_err("has a mistake");
        let shown = errors.to_string();
        assert!(
            errors.mistakes.len() == 1 && shown.contains(part),
            "{text}\n{shown}"
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn addresses_are_taken() {
    for url in [
        "http://localhost:3000",
        "http://127.0.0.1/hook?a=b%20c",
        "https://[::1]:8443/",
        "https://a.b.example:65535/x/y",
    ] {
        sink(&format!("[[sink]]\ntype = \"http\"\nurl = {url:?}"));
    }
}

#[test]
fn only_this_machine_may_pull_without_a_token() {
    let open = "[[sink]]\ntype = \"pull\"\naccept_unauthenticated = true\n";
    sink(open);
    let message = mistake(&format!("[pull]\nlisten = \"0.0.0.0:9000\"\n{open}"));
    assert!(
        message.contains("anyone on other machines could read"),
        "{message}"
    );
    let message = mistake(&format!("[server]\nlisten = \"127.0.0.1:8082\"\n{open}"));
    assert!(message.contains("both use port 8082"), "{message}");
    let message = mistake(&format!("[pull]\nlisten = \"127.0.0.1:8081\"\n{open}"));
    assert!(
        message.contains("the admin pages and the consumers"),
        "{message}"
    );
}

#[test]
fn what_is_doubtful_about_sinks_is_a_warning() {
    for (text, part) in [
        (
            "[pull]\nlisten = \"127.0.0.1:1\"",
            "does nothing without a sink of type \"pull\"",
        ),
        (
            "[[sink]]\ntype = \"http\"\nurl = \"http://a.example\"\nheaders = { Authorization = { env = \"TOKEN\" } }",
            "authorization goes over the network in the clear",
        ),
    ] {
        let (_, warnings) = sinks(text);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].message.contains(part), "{warnings:?}");
    }
}

const FULL: &str = r#"
[dedupe]
window = "1d"
keys = 5000
scope = "all"
[pull]
listen = "127.0.0.1:9000"
[[sink]]
type = "file"
path = "x"
rotate_size = "1GiB"
rotate_every = "24h"
keep = 7
types = ["whatsapp.message.*", "*.sent", "*.sent"]
phone_number_ids = ["106540352242922"]
wabas = ["102290129340398"]
endpoints = ["/webhook"]
[[sink]]
name = "crm"
type = "http"
url = "https://a.example/hook"
unit = "event"
mode = "structured"
concurrency = 8
rate = 100
timeout = "5s"
connect_timeout = "1s"
retry_min = "100ms"
retry_max = "1m"
max_attempts = 3
headers = { "X-Team" = "crm", Authorization = { env = "TOKEN" } }
signing_secret = [{ env = "KEY" }, { env = "KEY" }]
ca_file = "CA_FILE"
[[sink]]
name = "lake"
type = "http"
url = "https://lake.example"
unit = "event"
mode = "batch"
batch = 500
[[sink]]
type = "exec"
command = ["prog", "arg"]
env = { API_TOKEN = { env = "TOKEN" } }
mode = "stream"
[[sink]]
type = "pull"
accept_unauthenticated = true
"#;

#[test]
fn where_a_sink_begins_is_read() {
    let start = |text: &str| {
        sink(&format!(
            "[[sink]]\ntype = \"stdout\"\n{text}\nformer_name = \"crm\""
        ))
        .life
    };
    for (text, start_is) in [
        ("", Start::Now),
        ("start = \"now\"", Start::Now),
        ("start = \"oldest\"", Start::Oldest),
        (
            "start = \"2026-11-23T01:45:00Z\"",
            Start::At(1_795_398_300_000_000),
        ),
        (
            "start = \"2026-11-23T02:45:00+01:00\"",
            Start::At(1_795_398_300_000_000),
        ),
    ] {
        let life = start(text);
        assert_eq!(life.start, start_is, "{text}");
        assert_eq!(life.former_name.as_deref(), Some("crm"));
    }
    let (_, warnings) = sinks("[[sink]]\ntype = \"stdout\"\nstart = \"2999-01-01T00:00:00Z\"");
    assert!(
        warnings[0].message.contains("in the future"),
        "{warnings:?}"
    );
}

#[test]
fn what_a_sink_cannot_take_over_is_a_mistake() {
    let named = |name: &str, rest: &str| {
        format!("[[sink]]\nname = \"{name}\"\ntype = \"exec\"\ncommand = [\"/bin/cat\"]\n{rest}\n")
    };
    let former = |name: &str| format!("former_name = \"{name}\"");
    for (text, expected) in [
        (
            named("a", "start = \"yesterday\""),
            "start must be \"now\", \"oldest\" or a time",
        ),
        (
            named("a", "start = \"1960-01-01T00:00:00Z\""),
            "start must be",
        ),
        (
            named("a", "start = 2026-11-23T01:45:00Z"),
            "start must be text",
        ),
        (named("a", &former("a")), "the name of the sink itself"),
        (
            named("a", &former("b")) + &named("b", ""),
            "former_name = \"b\" is the name of another sink now",
        ),
        (
            named("a", "") + &named("b", &former("a")),
            "former_name = \"a\" is the name of another sink now",
        ),
        (
            named("a", &former("c")) + &named("b", &former("c")),
            "sink \"a\" has former_name = \"c\" too",
        ),
        (named("a", &former("a/b")), "must be 1 to 64 letters"),
        (
            named("a", &former("worker")),
            "no sink was called \"worker\"",
        ),
    ] {
        let errors = load(&format!("{ENDPOINT}{text}")).expect_err("a mistake");
        let found = &errors.mistakes[0].message;
        assert!(found.contains(expected), "{found}");
        assert_eq!(errors.mistakes.len(), 1, "{errors:?}");
    }
}
