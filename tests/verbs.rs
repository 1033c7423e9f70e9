//! What the verbs that look into a journal say to somebody who has only their words to go by: no journal, one whose
//! manifest or segment is gone, one that is damaged, one that ends before it is asked for.

mod common;

use common::client::post;
use common::{PROGRAM, Site};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs verbs on the journal in `dir`.
fn run(verb: &str, dir: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(verb.split(' ')).arg("--data-dir").arg(dir);
    command.output().expect("it runs")
}

/// What a verb that fails says.
fn refusal(verb: &str, dir: &Path) -> String {
    let output = run(verb, dir);
    assert_eq!(output.status.code(), Some(1), "{verb}: {output:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// What a verb prints on stdout, and its exit code.
fn printed(verb: &str, dir: &Path) -> (String, i32) {
    let output = run(verb, dir);
    let text = String::from_utf8(output.stdout).expect("text");
    (text, output.status.code().expect("it ends by itself"))
}

fn site() -> Site {
    Site::unsigned()
        .variable("HOOKLINE__LOG__FORMAT", "text")
        .sink("name = \"events\"\ntype = \"file\"\npath = \"events.ndjson\"")
}

/// Notifications one by one, so that each has a frame of its own, delivered. Gives what the server has greeted with.
fn receive(site: &Site, count: usize) -> String {
    let server = site.start();
    let mut client = server.connect();
    for at in 0..count {
        client.send(&post(
            "/webhook",
            "",
            format!("{{\"number\":{at}}}").as_bytes(),
        ));
        assert_eq!(client.answer().code, 200);
    }
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
    said
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("readable");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "segment"))
        .collect();
    paths.sort();
    paths
}

const VERBS: [&str; 5] = [
    "audit",
    "tail",
    "journal inspect",
    "journal verify",
    "journal repair --quarantine",
];

/// `verify` asked for a repair of an empty directory, and `repair` left files there when it could not.
#[test]
fn an_empty_directory_has_no_journal_and_stays_empty() {
    let dir = tempfile::tempdir().expect("a directory");
    for verb in VERBS {
        let said = refusal(verb, dir.path());
        let expected = format!(
            "there is no journal in {}; see --data-dir",
            dir.path().display()
        );
        assert!(said.contains(&expected), "{verb}: {said}");
        assert_eq!(
            fs::read_dir(dir.path()).expect("readable").count(),
            0,
            "{verb}"
        );
    }
}

/// `audit` saw no journal where only the manifest was gone.
#[test]
fn segments_without_a_manifest_are_a_journal_to_repair() {
    let site = site();
    receive(&site, 3);
    let dir = site.journal_dir();
    let (said, code) = printed("journal repair --quarantine", &dir);
    assert_eq!((said.as_str(), code), ("nothing is damaged\n", 0));
    assert!(!dir.join("quarantine").exists(), "nothing was copied");
    fs::remove_file(dir.join("manifest")).expect("removed");
    for verb in &VERBS[..4] {
        let said = refusal(verb, &dir);
        assert!(
            said.contains("manifest is missing but there was a journal"),
            "{verb}: {said}"
        );
    }
    assert_eq!(printed("journal repair --quarantine", &dir).1, 0);
    let (text, code) = printed("audit", &dir);
    assert!(
        code == 0 && text.contains("\n3 notifications, sequences 1 to 3, "),
        "{text}"
    );
}

/// Behind a damage nothing was counted, and cursors there stood "beyond the journal".
#[test]
fn the_audit_goes_on_behind_damage_and_agrees_with_verify() {
    let site = site();
    receive(&site, 9);
    let dir = site.journal_dir();
    let segment = &segments(&dir)[0];
    let mut bytes = fs::read(segment).expect("readable");
    for number in [3, 6] {
        let mark = format!("\"number\":{number}");
        let place = bytes
            .windows(mark.len())
            .position(|it| it == mark.as_bytes());
        bytes[place.expect("it is there")] ^= 1;
    }
    fs::write(segment, bytes).expect("writable");

    let (text, code) = printed("audit", &dir);
    assert_eq!(code, 1);
    for part in [
        ": the books do not balance\n",
        ": 1 record, sequence 4\n",
        ": 1 record, sequence 7\n",
        "\n2 sequences missing, ",
        "\n7 notifications, sequences 1 to 9, ",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("beyond the journal"), "{text}");
    let of = |verb: &str| {
        let (text, _) = printed(verb, &dir);
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let counts = |list: &Value| -> u64 {
        let list = list.as_array().expect("a list");
        list.iter()
            .map(|it| it["count"].as_u64().expect("a number"))
            .sum()
    };
    let books = of("audit --output json");
    assert_eq!(
        books["missing"],
        counts(&of("journal verify --output json")["damage"])
    );
    assert_eq!(books["sinks"][0]["unaccounted"], 2);
    // From the middle of a notification that is damaged, and from behind it.
    assert_eq!(of("audit --output json --after 4.1")["missing"], 2);
    assert_eq!(of("audit --output json --after 4")["missing"], 1);
    assert_eq!(of("audit --output json --after 7")["balances"], true);
    assert_eq!(of("audit --output json --after 8.0")["notifications"], 2);
    assert_eq!(
        counts(&of("journal repair --quarantine --output json")["set_aside"]),
        2
    );
    let books = of("audit --output json");
    assert_eq!(
        (&books["balances"], &books["missing"]),
        (&json!(true), &json!(0))
    );
}

/// The audit said "cannot open", and not what to do.
#[test]
fn a_missing_segment_is_called_missing() {
    let site = site();
    receive(&site, 2);
    let dir = site.journal_dir();
    fs::remove_file(&segments(&dir)[0]).expect("removed");
    let (text, code) = printed("audit", &dir);
    assert_eq!(code, 1);
    for part in [
        "segment is missing: restore it from a backup, or go on without it with",
        "events  not known: not all of the journal can be read",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let (text, _) = printed("journal verify", &dir);
    assert!(text.contains("segment is missing: restore it"), "{text}");
    let (text, code) = printed("journal repair --quarantine", &dir);
    assert!(
        code == 0 && text.contains("segment: the file is missing: ") && !text.contains("bytes at"),
        "{text}"
    );
    assert!(
        !dir.join("quarantine").exists(),
        "there was nothing to copy"
    );
}

/// The segment in the middle is gone, and one before it is damaged at its end: what is left is counted.
#[test]
fn the_audit_goes_on_behind_a_segment_that_is_missing() {
    let site = site()
        .limits("body = \"64KiB\"")
        .limits("unacknowledged = \"1MiB\"")
        .journal("segment_size = \"1MiB\"");
    let server = site.start();
    let mut client = server.connect();
    for at in 0..80 {
        let body = format!("{{\"number\":{at},\"text\":\"{}\"}}", "x".repeat(40_000));
        client.send(&post("/webhook", "", body.as_bytes()));
        assert_eq!(client.answer().code, 200);
    }
    server.terminate();
    let dir = site.journal_dir();
    let (report, _) = printed("journal verify --output json", &dir);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let of = |index: usize, key: &str| report["segments"][index][key].as_u64().expect("a number");
    let (used, lost) = (of(0, "used"), of(1, "records"));
    assert!(lost > 10 && of(2, "records") > 0, "{report:#}");
    let paths = segments(&dir);
    let mut bytes = fs::read(&paths[0]).expect("readable");
    bytes[usize::try_from(used).expect("it fits") - 5_000] ^= 1;
    fs::write(&paths[0], bytes).expect("writable");
    fs::remove_file(&paths[1]).expect("removed");

    let (books, code) = printed("audit --output json", &dir);
    let books: Value = serde_json::from_str(&books).expect("JSON");
    assert_eq!(
        (code, &books["missing"]),
        (1, &json!(lost + 1)),
        "{books:#}"
    );
    assert_eq!(books["notifications"], 80 - lost - 1);
    assert_eq!(
        books["damage"].as_array().map(Vec::len),
        Some(2),
        "{books:#}"
    );
    assert_eq!(
        (&books["stopped"], &books["sinks"][0]["unaccounted"]),
        (&Value::Null, &json!(lost + 1))
    );
}

/// Whoever did what the greeting said got 401.
#[test]
fn the_greeting_names_the_secret_that_it_takes_to_try() {
    let site = Site::new()
        .variable("SECRET", "hunter2")
        .variable("HOOKLINE__LOG__FORMAT", "text")
        .endpoint("path = \"/in\"\nprovider = \"meta\"\napp_secret = { env = \"SECRET\" }");
    let (_, said) = site.start().terminate();
    assert!(
        said.contains("/in --secret-file FILE, which holds the app secret\n"),
        "{said}"
    );
}

#[test]
fn tail_says_when_it_is_asked_for_what_is_beyond_the_end() {
    let site = site();
    let said = receive(&site, 2);
    assert!(said.contains(", empty\n"), "{said}");
    let said = receive(&site, 0);
    assert!(said.contains(", sequences 1 to 2\n"), "{said}");
    let tail = |after: &str| {
        let output = run(&format!("tail --after {after}"), &site.journal_dir());
        assert!(
            output.status.success() && output.stdout.is_empty(),
            "{output:?}"
        );
        String::from_utf8(output.stderr).expect("text")
    };
    assert_eq!(tail("2"), "");
    for after in ["3", "4711.3"] {
        assert!(
            tail(after).starts_with("the journal ends at sequence 2: "),
            "{after}"
        );
    }
}

/// Changes the first segment, where the second body stands.
fn damage_the_second_body(dir: &Path, change: impl FnOnce(&mut [u8], usize)) {
    let path = segments(dir).into_iter().next().expect("there is one");
    let mut bytes = fs::read(&path).expect("readable");
    let at = bytes.windows(10).position(|part| part == b"\"number\":1");
    change(&mut bytes, at.expect("the second body"));
    fs::write(&path, bytes).expect("written");
}

/// Damage in the newest segment looked like the end of the journal.
#[test]
fn damage_in_the_newest_segment_is_said_with_what_to_do() {
    let site = site();
    receive(&site, 4);
    let dir = site.journal_dir();
    damage_the_second_body(&dir, |bytes, at| bytes[at] ^= 1);
    for (verb, lines) in [
        ("tail", 1),
        ("tail --bodies", 1),
        ("tail --follow", 1),
        ("tail --after 1", 0),
        ("replay --sink events --from start --dry-run", 0),
    ] {
        let output = run(verb, &dir);
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{verb}: {said}");
        let printed = String::from_utf8_lossy(&output.stdout).lines().count();
        assert_eq!(printed, lines, "{verb}");
        for part in [
            "000001.segment",
            "sequence 2",
            "journal repair --quarantine --data-dir",
        ] {
            assert!(said.contains(part), "{verb}: {part}: {said}");
        }
    }
    assert_eq!(printed("tail --after 2", &dir).1, 0, "that is behind it");
    assert_eq!(printed("journal repair --quarantine", &dir).1, 0);
    for verb in [
        "tail",
        "tail --after 3",
        "replay --sink events --from start --dry-run",
    ] {
        let output = run(verb, &dir);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{verb}: {output:?}"
        );
    }
}

/// Where the header of a frame is gone, the journal seems to end before it.
#[test]
fn an_end_that_is_damage_is_no_end() {
    let site = site();
    receive(&site, 4);
    let dir = site.journal_dir();
    damage_the_second_body(&dir, |bytes, at| {
        let frame = at / 4096 * 4096;
        bytes[frame..frame + 64].fill(0);
    });
    for verb in [
        "tail",
        "tail --after 3",
        "replay --sink events --from 3 --dry-run",
        "replay --sink events --from start --dry-run",
    ] {
        let output = run(verb, &dir);
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{verb}: {said}");
        assert!(
            said.contains("journal repair --quarantine"),
            "{verb}: {said}"
        );
    }
}

/// A type that is written wrongly behind its first word found nothing, without a word.
#[test]
fn a_type_that_nothing_fits_is_said_with_what_was_meant() {
    let site = site();
    receive(&site, 2);
    for verb in ["tail", "replay --sink events --from start --dry-run"] {
        for (pattern, part) in [
            ("whatsapp.mesage", "did you mean \"whatsapp.message.*\"?"),
            (
                "whatsapp.status.snet",
                "did you mean \"whatsapp.status.sent\"?",
            ),
        ] {
            let output = run(&format!("{verb} --type {pattern}"), &site.journal_dir());
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && said.contains(part),
                "{verb}: {said}"
            );
        }
        for pattern in ["whatsapp.message", "whatsapp.empty", "webhook.invoice.paid"] {
            let output = run(&format!("{verb} --type {pattern}"), &site.journal_dir());
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{verb}: {output:?}"
            );
        }
    }
}

/// In a directory that is not there, or has no journal, `dead-letters` and `replay` saw that all was well; the variable
/// that the server takes was nothing to them.
#[test]
fn every_verb_needs_a_journal_and_finds_it_by_the_variable() {
    let site = site();
    receive(&site, 2);
    let there = site.journal_dir();
    let empty = tempfile::tempdir().expect("a directory");
    for verb in [
        "tail",
        "audit",
        "cursor list",
        "dead-letters list",
        "dead-letters retry --all",
        "dead-letters drop --all --yes",
        "replay list",
        "replay cancel 20261123-014500-crm",
        "replay --sink events --from start --dry-run",
        "journal inspect",
        "journal verify",
    ] {
        for dir in [empty.path(), &empty.path().join("missing")] {
            let said = refusal(verb, dir);
            let expected = format!("there is no journal in {}; see --data-dir", dir.display());
            assert!(said.contains(&expected), "{verb}: {said}");
        }
        let mut command = Command::new(PROGRAM);
        command.args(verb.split(' ')).current_dir(empty.path());
        command.env("HOOKLINE__JOURNAL__DIR", &there);
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("no journal"), "{verb}: {said}");
    }
    assert_eq!(fs::read_dir(empty.path()).expect("readable").count(), 0);
    let said = refusal("dead-letters list --sink nobody", &there);
    assert!(said.contains("there never was a sink nobody"), "{said}");
    assert_eq!(printed("dead-letters list --sink events", &there).1, 0);
}

/// What was advised was about the journal in the working directory.
#[test]
fn what_is_advised_works_as_it_stands() {
    let site = site();
    receive(&site, 3);
    let dir = site.path().join("it's mine");
    fs::rename(site.journal_dir(), &dir).expect("renamed");
    let advised = |text: &str| {
        let command = text.split('`').find(|part| part.starts_with("hookline "));
        let command = command.unwrap_or_else(|| panic!("nothing is advised: {text}"));
        let script = command.replacen("hookline", PROGRAM, 1);
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(script).current_dir("/");
        let output = shell.output().expect("it runs");
        assert!(output.status.success(), "{command}: {output:?}");
        command.to_owned()
    };
    let (text, _) = printed("journal inspect", &dir);
    assert!(advised(&text).contains("journal verify"));
    advised(&refusal("replay cancel 20261123-014500-crm", &dir));
    for verb in [
        "replay --sink nobody --from start",
        "dead-letters list --sink nobody",
    ] {
        let said = refusal(verb, &dir);
        assert!(said.contains("; there is events"), "{said}");
    }
    let (text, code) = printed("replay --sink events --from start --detach", &dir);
    assert_eq!(code, 0);
    advised(&text);
    fs::remove_file(dir.join("manifest")).expect("removed");
    assert!(advised(&refusal("tail", &dir)).contains("journal repair --quarantine"));
}

/// Without a server it waited for ever.
#[test]
fn a_replay_that_nobody_takes_up_ends_after_a_minute() {
    let site = site();
    receive(&site, 2);
    let mut command = Command::new(PROGRAM);
    command.args([
        "replay",
        "--sink",
        "events",
        "--from",
        "start",
        "--data-dir",
    ]);
    command.arg(site.journal_dir());
    let output = command.output().expect("it ends by itself");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "nobody has taken it up yet",
        "for a minute",
        "--wait",
        "replay cancel",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
