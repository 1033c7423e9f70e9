//! What `hookline help` prints, and where.

use super::commands::verbs;
use super::common::{self, ended};
use super::text_of;
use hookline::manual::CHAPTERS;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The program with nothing in its environment.
fn hookline(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(common::PROGRAM);
    command.args(arguments).env_clear();
    let output = ended(command);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("it ends by itself");
    (code, text(output.stdout), text(output.stderr))
}

#[test]
fn help_prints_chapters_and_verbs() {
    let (code, overview, _) = hookline(&["help"]);
    assert_eq!(code, 0);
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
        lines
            .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
            .collect()
    };
    let verbs_listed: BTreeSet<String> = names(&overview).into_iter().collect();
    for chapter in CHAPTERS {
        assert!(verbs_listed.contains(chapter.name), "{overview}");
        let printed = hookline(&["help", chapter.name]);
        assert_eq!(printed, (0, chapter.text.to_owned(), String::new()));
    }
    for verb in verbs() {
        let words: Vec<&str> = verb.split(' ').collect();
        assert!(verbs_listed.contains(words[0]), "{verb}");
        let printed = hookline(&[&["help"], &words[..]].concat());
        assert_eq!(printed, hookline(&[&words[..], &["--help"]].concat()));
        assert!(printed.0 == 0 && printed.1.contains("Usage: hookline "));
    }
    assert!(!overview.contains("take-apart"), "that is for the server");
}

#[test]
fn help_knows_what_was_meant() {
    for (words, said) in [
        (&["help", "consum"][..], "did you mean \"consume\"?"),
        (&["help", "serv"], "did you mean \"serve\"?"),
        (&["help", "journal", "verfy"], "did you mean \"verify\"?"),
        (&["help", "serve", "verify"], "`hookline help serve` lists"),
        (&["help", "limits", "head"], "`hookline help limits`"),
        (&["help", "nonsense"], "`hookline help` lists what there is"),
    ] {
        let (code, stdout, stderr) = hookline(words);
        assert_eq!((code, stdout.as_str()), (2, ""), "{words:?}");
        assert!(
            stderr.starts_with("hookline: ") && stderr.contains(said),
            "{stderr}"
        );
    }
}

/// What a terminal gets, of which `script` makes one: with this pager, or none.
fn at_a_terminal(directory: &Path, pager: &str) -> Option<(i32, String)> {
    let mut command = Command::new("script");
    let line = format!("{} help guarantees", common::PROGRAM);
    command.args(["-qec", &line, "/dev/null"]).env_clear();
    command.current_dir(directory).env("TERM", "dumb");
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.env("PAGER", pager);
    let is_there = Command::new("script").arg("--version").output().is_ok();
    if !is_there {
        return None;
    }
    let output = ended(command);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    Some((
        output.status.code().expect("a code"),
        text.replace('\r', ""),
    ))
}

#[test]
fn a_terminal_gets_a_pager_and_plain_text_without_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = text_of("guarantees");
    let paged = directory.path().join("paged");
    let Some((code, shown)) = at_a_terminal(directory.path(), "tee  paged") else {
        return;
    };
    assert_eq!((code, shown.contains(text)), (0, true), "{shown}");
    assert_eq!(fs::read_to_string(&paged).expect("by the pager"), text);
    for (pager, shows) in [
        ("no-such-program", true),
        ("", true),
        // It ends before it has read everything, and that is no error.
        ("head -c 1", false),
        ("false", false),
        // No shell looks at it.
        ("no-such-program; touch shell", true),
    ] {
        let (code, shown) = at_a_terminal(directory.path(), pager).expect("as before");
        assert_eq!((code, shown.contains(text)), (0, shows), "{pager}: {shown}");
    }
    assert!(!directory.path().join("shell").exists());
}
