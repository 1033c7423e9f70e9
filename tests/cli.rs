//! The program as its users meet it: exit codes, messages, output.

use aws_lc_rs::hmac;
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::thread::{self, JoinHandle};

/// Runs the program in `directory` with nothing in the environment but `variables`.
fn hookline_in(directory: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hookline"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(directory)
        .output()
        .expect("the program runs")
}

fn hookline(arguments: &[&str]) -> Output {
    hookline_in(&std::env::temp_dir(), &[], arguments)
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("was not killed")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// A directory with `hookline.toml` in it.
fn with_config(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("hookline.toml"), text).expect("written");
    directory
}

/// Answers `count` requests with `status`, or with the challenge of a handshake; gives the requests back.
fn receiver(count: usize, status: &'static str) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/webhook", listener.local_addr().expect("bound"));
    let serving = thread::spawn(move || {
        (0..count)
            .map(|_| serve(&listener.accept().expect("a client").0, status))
            .collect()
    });
    (url, serving)
}

fn serve(mut stream: &TcpStream, status: &str) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let request = loop {
        let count = stream.read(&mut chunk).expect("readable");
        assert!(count > 0, "the request is whole");
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8(bytes.clone()).expect("ASCII");
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        if body.len() == length.map_or(0, |length| length.parse().expect("a number")) {
            break text;
        }
    };
    let challenge = request
        .split_once("hub.challenge=")
        .and_then(|(_, rest)| rest.split('&').next());
    let body = challenge.unwrap_or_default();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("writable");
    request
}

#[test]
fn usage_is_exit_code_2() {
    for arguments in [
        &[][..],
        &["srve"],
        &["serve", "--listen", "here"],
        &["send", "--all", "text"],
        &["send", "no-such-sample"],
        &["send", "text", "--to", "https://127.0.0.1/"],
        &["journal"],
        &["tail", "--type", "message.*"],
        &[
            "replay",
            "--sink",
            "a",
            "--from",
            "1",
            "--type",
            "whatsapp.message.?",
        ],
    ] {
        let output = hookline(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{arguments:?}"
        );
    }
    assert!(stderr(&hookline(&["send", "txt"])).contains("did you mean \"text\"?"));
    for verb in ["tail", "replay --sink a --from 1"] {
        let arguments = format!("{verb} --type message.*");
        let said = stderr(&hookline(&arguments.split(' ').collect::<Vec<_>>()));
        assert!(
            said.contains("did you mean \"whatsapp.message.*\"?"),
            "{said}"
        );
    }
}

#[test]
fn every_verb_explains_itself() {
    for verb in [
        "serve", "check", "tail", "send", "simulate", "journal", "torture",
    ] {
        let output = hookline(&[verb, "--help"]);
        assert_eq!(code(&output), 0);
        let help = stdout(&output);
        assert!(
            help.contains("Examples:") && help.contains(&format!("hookline {verb}")),
            "{help}"
        );
    }
}

#[test]
fn check_reports_every_mistake_with_its_line() {
    let directory = with_config(
        "[server]\nack_dedline = \"4s\"\n[[endpoint]]\npath = \"/webhook\"\nprovider = \"meta\"\napp_secret = \"hunter2\"\nack = \"replicated\"\n",
    );
    let arguments = ["check", "--config", "hookline.toml"];
    let output = hookline_in(directory.path(), &[], &arguments);
    assert_eq!((code(&output), stdout(&output)), (78, String::new()));
    let text = stderr(&output);
    for part in [
        "hookline.toml:2:1: unknown key \"ack_dedline\" in [server]; did you mean \"ack_deadline\"?\n",
        "\n   2 | ack_dedline = …\n",
        "hookline.toml:6:14: app_secret holds the secret itself",
        "hookline.toml:7:1: ack = \"replicated\" waits for a sink that is a cluster",
        "hookline: 3 mistakes in the configuration\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("hunter2"));

    let output = hookline_in(
        directory.path(),
        &[],
        &[&arguments[..], &["--output", "json"]].concat(),
    );
    assert_eq!((code(&output), stderr(&output)), (78, String::new()));
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(result["ok"], false);
    let lines: Vec<_> = (0..3)
        .map(|index| &result["mistakes"][index]["line"])
        .collect();
    assert_eq!(lines, [2, 6, 7]);
}

#[test]
fn check_says_what_would_run() {
    let directory = with_config(
        "[[endpoint]]\npath = \"/in\"\nprovider = \"meta\"\napp_secret = [{ env = \"NEW\" }, { file = \"old\" }]\n[[sink]]\ntype = \"file\"\npath = \"events.ndjson\"\n",
    );
    fs::write(directory.path().join("old"), "s\n").expect("written");
    let arguments = ["check", "--config", "hookline.toml"];
    let variables = [("NEW", "n"), ("HOOKLINE__LIMITS__BODY", "1MiB")];
    let output = hookline_in(directory.path(), &variables, &arguments);
    assert_eq!(code(&output), 0);
    let text = stdout(&output);
    for part in [
        "/in  \"meta\"",
        "2 app secrets",
        "file events.ndjson",
        "limits.body",
        "1MiB",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(stderr(&output).starts_with("warning: hookline.toml:1:1: without verify_token"));

    let output = hookline_in(
        directory.path(),
        &variables,
        &[&arguments[..], &["--output", "json"]].concat(),
    );
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(result["ok"], true);
    assert_eq!(result["plan"]["endpoints"][0]["ack"], "stored");
    assert_eq!(result["plan"]["limits"]["limits.body"]["value"], "1MiB");
}

#[test]
fn a_missing_file_and_an_empty_secret_are_bad_configuration() {
    let output = hookline(&["check", "--config", "/nonexistent/hookline.toml"]);
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("cannot read the configuration"));
    let output = hookline_in(
        &std::env::temp_dir(),
        &[("HOOKLINE_APP_SECRET", "")],
        &["check"],
    );
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("HOOKLINE_APP_SECRET is empty"));
    let output = hookline(&["check", "--listen", "0.0.0.0:8080"]);
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("set HOOKLINE_APP_SECRET"));
}

#[test]
fn send_lists_its_samples() {
    let output = hookline(&["send"]);
    assert_eq!(code(&output), 0);
    let text = stdout(&output);
    for name in [
        "handshake",
        "text",
        "image",
        "status-delivered",
        "template-status",
        "batch",
    ] {
        assert!(
            text.lines()
                .any(|line| line.split(' ').next() == Some(name)),
            "{name}"
        );
    }
}

#[test]
fn send_signs_what_it_posts() {
    let (url, serving) = receiver(3, "200 OK");
    let variables = [("HOOKLINE_APP_SECRET", "s3cret")];
    let arguments = [
        "send",
        "handshake",
        "text",
        "batch",
        "--to",
        &url,
        "--output",
        "json",
    ];
    let output = hookline_in(&std::env::temp_dir(), &variables, &arguments);
    assert_eq!((code(&output), stderr(&output)), (0, String::new()));
    let lines = stdout(&output);
    let results: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let names: Vec<_> = results.iter().map(|result| &result["sample"]).collect();
    assert_eq!(names, ["handshake", "text", "batch"]);
    assert!(
        results
            .iter()
            .all(|result| result["status"] == 200 && result["ok"] == true)
    );

    let requests = serving.join().expect("served");
    let start = "GET /webhook?hub.mode=subscribe&hub.challenge=";
    assert!(requests[0].starts_with(start) && requests[0].contains("&hub.verify_token=hookline "));
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"s3cret");
    for request in &requests[1..] {
        let (head, body) = request.split_once("\r\n\r\n").expect("a head");
        let tag = hmac::sign(&key, body.as_bytes());
        let hex = tag
            .as_ref()
            .iter()
            .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert!(
            head.contains(&format!("\r\nX-Hub-Signature-256: sha256={hex}")),
            "{head}"
        );
        serde_json::from_str::<Value>(body).expect("JSON");
    }
}

#[test]
fn send_fails_when_an_answer_is_not_200() {
    let (url, serving) = receiver(2, "401 Unauthorized");
    let output = hookline(&["send", "text", "--count", "2", "--to", &url]);
    assert_eq!(code(&output), 1);
    let text = stdout(&output);
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("text ") && line.contains(" 401 "))
            .count(),
        2
    );
    assert!(stderr(&output).contains("hookline: 2 of 2 were not answered as they should be"));
    let requests = serving.join().expect("served");
    assert!(
        !requests[0].contains("X-Hub-Signature-256"),
        "no secret, no signature"
    );
    assert_ne!(requests[0], requests[1], "each post is a new one");
}

#[test]
fn send_says_when_nobody_listens() {
    // The port was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    drop(listener);
    let output = hookline(&["send", "text", "status-read", "--to", &url]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("is `hookline serve` running there?: Connection refused"));
}

#[test]
fn send_refuses_an_empty_secret() {
    let output = hookline(&["send", "text", "--secret", ""]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("the secret is empty"));
}
