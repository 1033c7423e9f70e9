//! Sinks that connect to a system: what they become, and what is said about their mistakes.

use super::*;
use crate::sink::{Confirmation, Identity};

fn nats(text: &str) -> NatsSink {
    let (config, warnings) = load(&format!("{ENDPOINT}{LEAST}{text}")).expect("valid");
    assert_eq!(warnings, []);
    let kind = config.sinks.into_iter().next().expect("a sink").kind;
    let SinkKind::Nats(nats) = kind else {
        panic!("a nats sink");
    };
    *nats
}

#[test]
fn the_least_of_a_nats_sink_has_its_defaults() {
    let least = nats("");
    assert_eq!(least.servers, ["nats://127.0.0.1:4222"]);
    assert_eq!(least.login, NatsLogin::None);
    assert!(!least.tls.is_on(false));
    assert_eq!(
        (least.stream.as_str(), least.subject_text.as_str()),
        ("WHATSAPP", "whatsapp.{lane}.{type}")
    );
    assert_eq!(least.identity, Identity::Position);
    assert_eq!((least.create, least.confirmation), (None, None));
    assert_eq!(least.duplicate_window, Duration::from_mins(10));
    let pace = Dispatch {
        concurrency: 128,
        rate: None,
        timeout: Duration::from_secs(10),
        retry_min: Duration::from_millis(500),
        retry_max: Duration::from_secs(5),
        max_attempts: 50,
    };
    assert_eq!(least.dispatch, pace);
}

#[test]
fn every_key_of_a_nats_sink_is_taken() {
    let full = nats(
        "user = \"hookline\"\npassword = { env = \"TOKEN\" }\nidentity = \"event\"\ncreate = true\nreplicas = 3\n\
         duplicate_window = \"2m\"\nconfirmation = \"fsynced\"\ntls = true\nserver_name = \"nats.example\"\nrate = 9",
    );
    let password = Secret::new(*b"token");
    let login = NatsLogin::Password(Secret::new(*b"hookline"), password);
    assert_eq!(full.login, login);
    assert_eq!(full.identity, Identity::Event);
    assert_eq!(full.create.as_deref(), Some("whatsapp.>"));
    assert_eq!(full.replicas, 3);
    assert_eq!(full.confirmation, Some(Confirmation::Fsynced));
    assert!(full.tls.is_on(false));
    let name = full.tls.files.server_name.as_deref();
    assert_eq!(name, Some("nats.example"));
    assert!(!format!("{full:?}").contains("token"), "it is a secret");
    let token = nats("token = { env = \"TOKEN\" }").login;
    assert_eq!(token, NatsLogin::Token(Secret::new(*b"token")));
    let seed = nats("nkey_seed = { env = \"TOKEN\" }").login;
    assert_eq!(seed, NatsLogin::NkeySeed(Secret::new(*b"token")));
    // As the design writes it: of no use without create, and no mistake.
    nats("duplicate_window = \"10m\"\nconfirmation = \"fsynced\"");
}

#[test]
fn certificates_of_an_own_authority_and_an_own_one_are_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let made = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).expect("made");
    fs::write(path("cert"), made.cert.pem()).expect("written");
    fs::write(path("key"), made.signing_key.serialize_pem()).expect("written");
    let text = |key: &str, file: &str| format!("{key} = {:?}\n", path(file).display().to_string());
    let (ca, cert, key) = (
        text("ca_file", "cert"),
        text("cert_file", "cert"),
        text("key_file", "key"),
    );
    let full = nats(&format!("tls = true\n{ca}{cert}{key}"));
    assert_eq!(full.tls.files.identity, Some((path("cert"), path("key"))));
    let odd = text("key_file", "cert");
    for (text, part) in [
        (format!("tls = true\n{cert}{odd}"), "holds no key in PEM"),
        (format!("tls = true\n{cert}"), "cert_file needs key_file"),
        (format!("tls = true\n{key}"), "key_file needs cert_file"),
        (
            format!("tls = true\n{}", text_of("ca_file", "/")),
            "is no file",
        ),
        (ca, "ca_file is for connections with TLS; add tls = true"),
    ] {
        let message = mistake(&format!("{LEAST}{text}"));
        assert!(message.contains(part), "{text}\n{message}");
    }
}

fn text_of(key: &str, file: &str) -> String {
    format!("{key} = {file:?}\n")
}

#[test]
fn each_mistake_of_a_nats_sink_has_its_message_and_shows_no_password() {
    for (text, part) in [
        ("servers = []", "a nats sink needs servers"),
        (
            "servers = [\"nats://hookline:hunter2@127.0.0.1:4222\"]",
            "servers holds a password",
        ),
        (
            "servers = [\"nats://hunter2@127.0.0.1:4222\"]",
            "servers holds a login",
        ),
        ("servers = [\"127.0.0.1:4222\"]", "servers takes addresses"),
        ("servers = [\"http://a\"]", "servers takes addresses"),
        ("servers = [\"nats://a:99999\"]", "servers takes addresses"),
        ("stream = \"a.b\"", "is no name of a stream"),
        ("stream = \"\"", "is no name of a stream"),
        ("subject = \"a..b\"", "between two of its dots"),
        ("subject = \"a.{nolane}\"", "no placeholder {nolane}"),
        ("user = \"a\"", "user needs password"),
        ("password = { env = \"TOKEN\" }", "password needs user"),
        (
            "user = \"a\"\npassword = \"hunter2\"",
            "password holds the secret itself",
        ),
        (
            "token = { env = \"TOKEN\" }\nnkey_seed = { env = \"TOKEN\" }",
            "two ways to log in",
        ),
        (
            "subject = \"{lane}.a\"\ncreate = true",
            "begins with a placeholder",
        ),
        ("identity = \"evnt\"", "did you mean \"event\"?"),
        ("servers = [\"tls://a\"]\ntls = false", "contradicts"),
        ("tls = true\nserver_name = \"a b\"", "neither a name"),
        (
            "credentials_file = \"/nonexistent\"",
            "cannot read credentials_file",
        ),
        (
            "url = \"nats://a\"",
            "url belongs to a sink of type \"http\"",
        ),
        ("retry_min = \"1m\"", "retry_max is below retry_min"),
    ] {
        let key = text.split(' ').next().expect("a key");
        let least = LEAST.lines().filter(|line| !line.starts_with(key));
        let least: String = least.flat_map(|line| [line, "\n"]).collect();
        let errors = load(&format!("{ENDPOINT}{least}{text}\n")).expect_err("has a mistake");
        let shown = errors.to_string();
        assert!(
            shown.contains(part) && errors.mistakes[0].line.is_some(),
            "{text}\n{shown}"
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_login_in_the_clear_is_a_warning() {
    let text = LEAST.replace("127.0.0.1", "10.1.0.1");
    let login = "token = { env = \"TOKEN\" }";
    let (_, warnings) = load(&format!("{ENDPOINT}{text}{login}")).expect("valid");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let message = &warnings[0].message;
    assert!(
        message.contains("token goes over the network in the clear"),
        "{message}"
    );
    let tls = format!("{ENDPOINT}{text}{login}\ntls = true");
    assert_eq!(load(&tls).expect("valid").1, []);
}

const LEAST: &str = "[[sink]]
type = \"nats\"
servers = [\"nats://127.0.0.1:4222\"]
stream = \"WHATSAPP\"
subject = \"whatsapp.{lane}.{type}\"
";

fn redis(text: &str) -> RedisSink {
    let (config, warnings) = load(&format!("{ENDPOINT}{REDIS}{text}")).expect("valid");
    assert_eq!(warnings, []);
    let kind = config.sinks.into_iter().next().expect("a sink").kind;
    let SinkKind::Redis(redis) = kind else {
        panic!("a redis sink");
    };
    *redis
}

#[test]
fn the_least_of_a_redis_sink_has_its_defaults() {
    let least = redis("");
    assert_eq!(least.target.to_string(), "127.0.0.1:6379/0");
    assert_eq!((least.user, least.password), (None, None));
    assert_eq!(least.ids, RedisIds::Position);
    assert_eq!((least.create, least.max_length), (false, 0));
    assert!(!least.wait.is_asked());
    assert_eq!(least.timeout, Duration::from_secs(10));
    assert_eq!(least.stream_text, "whatsapp");
}

#[test]
fn every_key_of_a_redis_sink_is_taken() {
    let full = redis(
        "ids = \"auto\"\nuser = \"hookline\"\npassword = { env = \"TOKEN\" }\ncreate = true\nmax_length = 5\n\
         wait_local = 1\nwait_replicas = 2\ntimeout = \"3s\"\ntls = true\nserver_name = \"redis.example\"\n\
         concurrency = 7\nrate = 9\nretry_min = \"1s\"\nretry_max = \"2s\"\nmax_attempts = 3",
    );
    assert_eq!(full.user.as_deref(), Some("hookline"));
    assert_eq!(full.password, Some(Secret::new(*b"token")));
    assert!(full.target.is_encrypted && full.create);
    assert_eq!(
        (full.max_length, full.wait.local, full.wait.replicas),
        (5, 1, 2)
    );
    let pace = Dispatch {
        concurrency: 7,
        rate: std::num::NonZeroU32::new(9),
        timeout: Duration::from_secs(3),
        retry_min: Duration::from_secs(1),
        retry_max: Duration::from_secs(2),
        max_attempts: 3,
    };
    assert_eq!(full.ids, RedisIds::Auto(pace));
    assert!(!format!("{full:?}").contains("token"), "it is a secret");
    assert_eq!(redis("").streams(), ["whatsapp"]);
    let lanes = REDIS.replace("whatsapp", "a.{lane}");
    let (config, _) = load(&format!("{ENDPOINT}{lanes}")).expect("valid");
    let SinkKind::Redis(lanes) = &config.sinks[0].kind else {
        panic!("a redis sink");
    };
    assert_eq!(lanes.streams(), ["a.messages", "a.statuses", "a.rest"]);
}

#[test]
fn each_mistake_of_a_redis_sink_has_its_message_and_shows_no_password() {
    for (text, part) in [
        ("url = \"redis://:hunter2@h\"", "url holds a password"),
        ("url = \"redis://a:hunter2@h/0\"", "url holds a password"),
        ("url = \"127.0.0.1:6379\"", "must begin with redis://"),
        ("url = \"redis://a@h\"", "who needs password"),
        ("stream = \"\"", "1 to 512 bytes"),
        ("stream = \"a.{type}\"", "takes {lane} alone"),
        ("stream = \"a.{nolane}\"", "no placeholder {nolane}"),
        (
            "ids = \"position\"\nconcurrency = 9",
            "concurrency is for ids = \"auto\"",
        ),
        ("max_attempts = 9", "max_attempts is for ids = \"auto\""),
        ("ids = \"atuo\"", "did you mean \"auto\"?"),
        ("wait_local = 2", "wait_local"),
        ("password = \"hunter2\"", "password holds the secret itself"),
        ("user = \"a\"", "who needs password"),
        ("url = \"rediss://a\"\ntls = false", "contradicts"),
        (
            "url = \"unix:///a\"\ntls = true",
            "a Unix socket is not encrypted",
        ),
        ("ca_file = \"/nonexistent\"", "cannot read ca_file"),
        (
            "subject = \"a\"",
            "subject belongs to a sink of type \"nats\"",
        ),
    ] {
        let key = text.split(' ').next().expect("a key");
        let least = REDIS.lines().filter(|line| !line.starts_with(key));
        let least: String = least.flat_map(|line| [line, "\n"]).collect();
        let errors = load(&format!("{ENDPOINT}{least}{text}\n")).expect_err("has a mistake");
        let shown = errors.to_string();
        assert!(
            shown.contains(part) && errors.mistakes[0].line.is_some(),
            "{text}\n{shown}"
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

/// A sink whose ids are positions is the only writer of its stream.
#[test]
fn two_sinks_share_a_stream_only_if_none_of_them_has_to_be_alone() {
    let sink = |name: &str, ids: &str, stream: &str| {
        format!(
            "[[sink]]\nname = \"{name}\"\ntype = \"redis\"\nurl = \"redis://127.0.0.1\"\nstream = \"{stream}\"\nids = \
             \"{ids}\"\n"
        )
    };
    for (one, other, is_taken) in [
        (("auto", "a"), ("auto", "a"), true),
        (("position", "a"), ("position", "b"), true),
        (("position", "a"), ("auto", "a"), false),
        (("position", "a.{lane}"), ("position", "a.messages"), false),
    ] {
        let text = sink("one", one.0, one.1) + &sink("other", other.0, other.1);
        let loaded = load(&format!("{ENDPOINT}{text}"));
        assert_eq!(loaded.is_ok(), is_taken, "{text}");
    }
}

#[test]
fn a_password_of_redis_in_the_clear_is_a_warning() {
    let text = REDIS.replace("127.0.0.1", "10.1.0.1");
    let login = "password = { env = \"TOKEN\" }";
    let (_, warnings) = load(&format!("{ENDPOINT}{text}{login}")).expect("valid");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let message = &warnings[0].message;
    assert!(message.contains("in the clear; use rediss://"), "{message}");
    let tls = text.replace("redis://", "rediss://");
    assert_eq!(
        load(&format!("{ENDPOINT}{tls}{login}")).expect("valid").1,
        []
    );
}

const REDIS: &str = "[[sink]]
type = \"redis\"
url = \"redis://127.0.0.1\"
stream = \"whatsapp\"
";
