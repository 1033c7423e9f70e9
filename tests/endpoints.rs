//! Several endpoints on one listener, each with its own proof: what each takes, what it refuses, and that a refusal
//! which the head alone decides does not wait for the body. Secrets are exchanged while the server runs, and show up
//! nowhere.

mod common;

use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA512};
use common::client::{Client, get, handshake, post};
use common::{Running, Site, eventually, sign};
use rustix::process::Signal;
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The secrets of [`site`], by variable.
const SECRETS: &[(&str, &str)] = &[
    ("TOKEN", "token-4f1a"),
    ("META_OLD", "meta-old-91c2"),
    ("META_NEW", "meta-new-7d3e"),
    ("PASSWORD", "pass:word-18aa"),
    ("BEARER", "bearer-5b5b"),
    ("HEADER", "header-c0de"),
    ("DIALOG", "dialog-2e2e"),
    ("STANDARD", "whsec_c3RhbmRhcmQtd2ViaG9va3Mta2V5LTAx"),
    ("GENERIC", "generic-6a6a"),
];

const STANDARD_KEY: &[u8] = b"standard-webhooks-key-01";

fn site() -> Site {
    let endpoints = [
        "path = \"/meta\"\nprovider = \"meta\"\nverify_token = { env = \"TOKEN\" }\napp_secret = [{ env = \"META_OLD\" }, { env = \"META_NEW\" }]",
        "path = \"/basic\"\nprovider = \"360dialog\"\nbasic = { username = \"hook\", password = { env = \"PASSWORD\" } }",
        "path = \"/bearer\"\nprovider = \"360dialog\"\nbearer = { env = \"BEARER\" }",
        "path = \"/header\"\nprovider = \"360dialog\"\nheader = { name = \"X-Customer\", value = { env = \"HEADER\" } }\nsignature_secret = { env = \"DIALOG\" }",
        "path = \"/partner\"\nprovider = \"360dialog\"\nsignature_secret = { env = \"DIALOG\" }",
        "path = \"/standard\"\nprovider = \"standard-webhooks\"\nsecret = { env = \"STANDARD\" }",
        "path = \"/sha1\"\nprovider = \"generic-hmac\"\nsecret = { env = \"GENERIC\" }\nheader = \"X-Signature\"\nalgorithm = \"sha1\"\nprefix = \"sha1=\"",
        "path = \"/sha512\"\nprovider = \"generic-hmac\"\nsecret = { env = \"GENERIC\" }\nheader = \"X-Signature\"\nalgorithm = \"sha512\"\nencoding = \"base64\"",
        "path = \"/unsigned\"\nprovider = \"meta\"\naccept_unsigned = true",
    ];
    let site = endpoints.into_iter().fold(Site::new(), Site::endpoint);
    let variables = SECRETS.iter();
    variables.fold(site, |site, (name, value)| site.variable(name, value))
}

fn code(client: &mut Client, path: &str, fields: &str, body: &[u8]) -> u16 {
    client.send(&post(path, fields, body));
    client.answer().code
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// What a 401 of the endpoint asks for first.
fn scheme(name: &str) -> &'static str {
    match name {
        "basic" => "Basic ",
        "bearer" => "Bearer ",
        "header" => "Header ",
        _ => "Signature ",
    }
}

fn authorization(scheme: &str, value: &str) -> String {
    format!("Authorization: {scheme} {value}\r\n")
}

/// For each endpoint, fields that prove `body` and fields that do not.
fn proofs(body: &[u8]) -> Vec<(&'static str, Vec<String>, Vec<String>)> {
    let dialog = sign::sha256(b"dialog-2e2e", body);
    let dialog_hex = format!("x-360dialog-signature: {}\r\n", sign::hex(&dialog));
    let dialog_base64 = format!("X-360Dialog-Signature: {}\r\n", sign::base64(&dialog));
    let customer = "X-Customer: header-c0de\r\n".to_owned();
    let sha1 = sign::with(HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"generic-6a6a", body);
    let sha1 = format!("X-Signature: sha1={}\r\n", sign::hex(&sha1));
    let sha512 = sign::with(HMAC_SHA512, b"generic-6a6a", body);
    let sha512 = format!("X-Signature: {}\r\n", sign::base64(&sha512));
    let standard = sign::standard_webhooks(STANDARD_KEY, "msg_1", now(), body);
    let rotating = standard.replace("v1,", "v1,bm90IHRoaXMgb25l v1a,other v1,");
    let stale = sign::standard_webhooks(STANDARD_KEY, "msg_1", now() - 3600, body);
    let basic = |text: &str| authorization("Basic", &sign::base64(text.as_bytes()));
    vec![
        (
            "/meta",
            vec![
                sign::meta("meta-old-91c2", body),
                sign::meta("meta-new-7d3e", body),
            ],
            vec![
                String::new(),
                sign::meta("other", body),
                sign::meta("meta-old-91c2", b"other"),
                "X-Hub-Signature-256: sha256=\r\n".to_owned(),
                sign::meta("meta-old-91c2", body).repeat(2),
            ],
        ),
        (
            "/basic",
            vec![basic("hook:pass:word-18aa")],
            vec![
                String::new(),
                basic("hook:word"),
                basic("kooh:pass:word-18aa"),
                authorization("Bearer", "pass:word-18aa"),
            ],
        ),
        (
            "/bearer",
            vec![
                authorization("Bearer", "bearer-5b5b"),
                authorization("bearer", "bearer-5b5b"),
            ],
            vec![String::new(), authorization("Bearer", "bearer-5b5")],
        ),
        (
            "/header",
            vec![
                [customer.clone(), dialog_hex.clone()].concat(),
                [customer.clone(), dialog_base64.clone()].concat(),
            ],
            // One of the two is not enough.
            vec![String::new(), customer.clone(), dialog_hex.clone()],
        ),
        (
            "/partner",
            vec![dialog_hex, dialog_base64],
            vec![String::new(), customer],
        ),
        (
            "/standard",
            vec![standard.clone(), rotating],
            vec![String::new(), stale, standard.replace("msg_1", "msg_2")],
        ),
        (
            "/sha1",
            vec![sha1.clone()],
            vec![String::new(), sha1.replace("sha1=", "")],
        ),
        ("/sha512", vec![sha512], vec![String::new(), sha1]),
        (
            "/unsigned",
            vec![String::new(), "X-Hub-Signature-256: odd\r\n".to_owned()],
            vec![],
        ),
    ]
}

#[test]
fn each_endpoint_takes_its_own_proof_and_nothing_else() {
    let site = site();
    let server = site.start();
    let mut client = server.connect();
    let mut taken = 0;
    for (path, good, bad) in proofs(b"{\"n\":1}") {
        let name = &path[1..];
        for fields in &good {
            assert_eq!(
                code(&mut client, path, fields, b"{\"n\":1}"),
                200,
                "{path} {fields}"
            );
        }
        for fields in &bad {
            client.send(&post(path, fields, b"{\"n\":1}"));
            let answer = client.answer();
            assert_eq!(answer.code, 401, "{path} {fields}");
            let asked = answer.field("www-authenticate").expect("it says for what");
            assert!(asked.starts_with(scheme(name)), "{path}: {asked}");
        }
        for (answer, count) in [(200, good.len()), (401, bad.len())] {
            let series =
                format!("hookline_http_requests_total{{endpoint=\"{name}\",code=\"{answer}\"}}");
            assert_eq!(server.metric(&series), count as u64, "{series}");
        }
        taken += good.len();
    }
    assert_eq!(site.bodies(), vec![b"{\"n\":1}"; taken]);
    for (secret, count) in [(0, 1), (1, 1)] {
        let series =
            format!("hookline_signatures_verified_total{{endpoint=\"meta\",secret=\"{secret}\"}}");
        assert_eq!(server.metric(&series), count);
    }
    // A 401 was explained with signatures where a password is asked for, and one endpoint hid the next.
    for (path, asked) in [
        ("meta", "a signature in x-hub-signature-256"),
        ("basic", "Basic in authorization"),
        ("bearer", "Bearer in authorization"),
        (
            "header",
            "a secret in x-customer, and a signature in x-360dialog-signature",
        ),
        ("partner", "a signature in x-360dialog-signature"),
        ("standard", "a signature in webhook-signature"),
        ("sha1", "a signature in x-signature"),
        ("sha512", "a signature in x-signature"),
    ] {
        let words = ["posts get 401", &format!("\"{path}\""), asked];
        let is_it = |line: &str| words.iter().all(|it| line.contains(it));
        eventually("each has a line", || server.stderr().lines().any(is_it));
    }
    for (name, count) in [("basic", 1), ("bearer", 2), ("header", 2), ("unsigned", 0)] {
        let series =
            format!("hookline_signatures_verified_total{{endpoint=\"{name}\",secret=\"0\"}}");
        assert_eq!(server.metric(&series), count, "{name}");
    }
}

#[test]
fn one_byte_of_the_body_decides() {
    let site = site();
    let server = site.start();
    let mut client = server.connect();
    let body = r#"{"text":"caf\u00e9 \/ \u0040"}"#;
    let fields = sign::meta("meta-new-7d3e", body.as_bytes());
    assert_eq!(code(&mut client, "/meta", &fields, body.as_bytes()), 200);
    for other in [
        r#"{"text":"café / @"}"#,
        r#"{"text": "caf\u00e9 \/ \u0040"}"#,
        &format!("{body}\n"),
        &format!("{body} "),
        &format!("\n{body}"),
        "",
    ] {
        assert_eq!(code(&mut client, "/meta", &fields, other.as_bytes()), 401);
    }
    assert_eq!(site.bodies(), [body.as_bytes()]);
}

/// Only the head is sent: nobody has to upload three megabytes to learn that they are not wanted.
#[test]
fn a_401_that_the_head_decides_does_not_wait_for_the_body() {
    let site = site();
    let server = site.start();
    let malformed = "X-Hub-Signature-256: sha256=xyz\r\n";
    let cut = "X-Hub-Signature-256: sha256=00ff\r\n";
    for (path, fields) in [
        ("/meta", ""),
        ("/meta", malformed),
        ("/meta", cut),
        ("/basic", ""),
        ("/basic", "Authorization: Basic eDp5\r\n"),
        ("/bearer", "Authorization: Bearer wrong\r\n"),
        ("/header", "X-Customer: wrong\r\n"),
        ("/header", "X-Customer: header-c0de\r\n"),
        ("/partner", "x-360dialog-signature: 00\r\n"),
        ("/standard", "webhook-id: 1\r\nwebhook-timestamp: 1\r\n"),
        ("/sha1", "X-Signature: 00\r\n"),
    ] {
        for framing in ["Content-Length: 3000000", "Transfer-Encoding: chunked"] {
            let mut client = server.connect();
            let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\n{framing}\r\n{fields}\r\n");
            client.send(head.as_bytes());
            let answer = client.answer();
            assert!(
                answer.code == 401 && answer.closes(),
                "{path} {fields} {answer:?}"
            );
        }
    }
    // With a signature of the right form the body is what is missing.
    let mut client = server.connect();
    let fields = sign::meta("meta-old-91c2", b"x");
    let head = format!("POST /meta HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n{fields}\r\n");
    client.send(head.as_bytes());
    client.send(b"x");
    assert_eq!(client.answer().code, 200);
}

#[test]
fn handshakes_are_for_those_who_know_the_token() {
    let site = site();
    let server = site.start();
    let mut client = server.connect();
    client.send(&handshake("/meta", "token-4f1a", "1158201444"));
    let answer = client.answer();
    assert_eq!(
        (answer.code, answer.body.as_slice()),
        (200, &b"1158201444"[..])
    );
    assert_eq!(answer.field("content-type"), Some("text/plain"));
    for bytes in [
        handshake("/meta", "token-4f1b", "1"),
        handshake("/meta", "", "1"),
        // No token is configured here.
        handshake("/unsigned", "token-4f1a", "1"),
        handshake("/basic", "token-4f1a", "1"),
        get("/meta"),
    ] {
        client.send(&bytes);
        let answer = client.answer();
        assert!(answer.code == 403 && answer.body.is_empty(), "{answer:?}");
    }
    assert!(site.bodies().is_empty());
}

fn reload(server: &Running, says: &str) {
    let before = server.stderr().matches(says).count();
    server.signal(Signal::HUP);
    eventually(says, || server.stderr().matches(says).count() > before);
}

/// The configuration has come to lie where nobody can read it: posts are taken all the same, and a stop ends it.
#[test]
fn a_configuration_that_hangs_holds_up_nothing() {
    let site = Site::unsigned();
    let server = site.start();
    let config = site.write_config();
    fs::remove_file(&config).expect("there");
    let made = Command::new("mkfifo").arg(&config).status();
    assert!(made.expect("it runs").success());
    server.signal(Signal::HUP);
    eventually("it is being read", || server.thread("hl-reload").is_some());
    reload(&server, "while the configuration is still being read");
    let mut client = server.connect();
    assert_eq!(code(&mut client, "/webhook", "", b"{}"), 200);
    let (status, stderr) = server.terminate();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

/// A rotation: the new secret beside the old one, then alone. No connection is lost on the way.
#[test]
fn sighup_takes_over_the_secrets_and_the_endpoints() {
    const DONE: &str = "endpoints are reloaded";
    let meta = "path = \"/meta\"\nprovider = \"meta\"\n";
    let one = format!("{meta}app_secret = {{ file = \"first\" }}");
    let both = format!("{meta}app_secret = [{{ file = \"second\" }}, {{ file = \"first\" }}]");
    let mut site = Site::new().endpoint(&one);
    fs::write(site.path().join("first"), "first-aa11\n").expect("written");
    let server = site.start();
    let mut client = server.connect();
    let mut codes = |secrets: [&str; 3]| {
        secrets.map(|secret| code(&mut client, "/meta", &sign::meta(secret, b"{}"), b"{}"))
    };
    let secrets = ["first-aa11", "second-bb22", "third-cc33"];
    assert_eq!(codes(secrets), [200, 401, 401]);

    fs::write(site.path().join("second"), "second-bb22").expect("written");
    site = site
        .without_endpoints()
        .endpoint(&both)
        .endpoint("path = \"/more\"\nprovider = \"meta\"\naccept_unsigned = true");
    site.write_config();
    reload(&server, DONE);
    assert_eq!(codes(secrets), [200, 200, 401]);
    let mut other = server.connect();
    assert_eq!(code(&mut other, "/more", "", b"{}"), 200);

    fs::write(site.path().join("first"), "third-cc33").expect("written");
    reload(&server, DONE);
    assert_eq!(codes(secrets), [401, 200, 200]);

    // A mistake changes nothing, and says what it is.
    site = site
        .without_endpoints()
        .endpoint(&format!("{one}\nsecret_app = 1"));
    site.write_config();
    reload(&server, "nothing is reloaded");
    assert!(
        server.stderr().contains("secret_app"),
        "{}",
        server.stderr()
    );
    assert_eq!(codes(secrets), [401, 200, 200]);

    site = site.without_endpoints().endpoint(&one);
    site.write_config();
    reload(&server, DONE);
    assert_eq!(codes(secrets), [401, 401, 200]);
    assert_eq!(code(&mut other, "/more", "", b"{}"), 404);
    // The counters went on counting through all of it.
    let series = |code: u16| {
        server.metric(&format!(
            "hookline_http_requests_total{{endpoint=\"meta\",code=\"{code}\"}}"
        ))
    };
    assert_eq!((series(200), series(401)), (8, 7));
}

#[test]
fn no_secret_is_ever_shown() {
    let site = site().variable("HOOKLINE__LOG__LEVEL", "trace");
    let server = site.start();
    let mut client = server.connect();
    for (path, good, bad) in proofs(b"{\"private\":\"body\"}") {
        for fields in good.iter().chain(&bad) {
            code(&mut client, path, fields, b"{\"private\":\"body\"}");
        }
    }
    client.send(&handshake("/meta", "token-4f1a", "1"));
    assert_eq!(client.answer().code, 200);
    reload(&server, "endpoints are reloaded");
    let metrics = server.metrics();
    let (status, stderr) = server.terminate();
    assert!(status.success(), "{stderr}");
    assert!(stderr.contains("endpoints are reloaded"));
    let standard = str::from_utf8(STANDARD_KEY).expect("ASCII");
    let secrets = SECRETS.iter().map(|(_, secret)| *secret);
    for secret in secrets.chain([standard, "private", "c3RhbmRhcmQ"]) {
        assert!(!stderr.contains(secret), "{secret} on stderr");
        assert!(!metrics.contains(secret), "{secret} in the metrics");
    }
}
