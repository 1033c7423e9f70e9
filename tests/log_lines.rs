//! Every line that the program can log stands in `tests/log_lines.txt`, with its level, its fields and its file, so
//! that the lines are read as a whole when one of them changes: by an operator, at three in the morning, they will be.
//!
//! A line names its subject (which sink, which endpoint, which file), says what happened, what Hookline does about it,
//! and what to do. Warnings about the configuration are such lines, too: where they are made, their texts are listed as
//! `check`. With `HOOKLINE_REWRITE_LOG_LINES=1` this test writes the list anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_log_line_stands_in_the_list() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = root.join("tests/log_lines.txt");
    let lines = lines_below(&root.join("src"));
    if std::env::var_os("HOOKLINE_REWRITE_LOG_LINES").is_some() {
        fs::write(&list, lines).expect("written");
        return;
    }
    let listed = fs::read_to_string(&list).unwrap_or_default();
    let differ = lines
        .lines()
        .zip(listed.lines())
        .find(|(now, was)| now != was);
    assert!(
        lines == listed,
        "the log lines have changed: run `HOOKLINE_REWRITE_LOG_LINES=1 cargo test --test log_lines`, and read \
         tests/log_lines.txt as whoever is on call does. The first that differs: {differ:?}"
    );
}

/// The list of all lines of the program, file by file. What tests log is not the program's.
fn lines_below(source: &Path) -> String {
    let mut waiting = vec![source.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() && !path.ends_with("tests") {
            let entries = fs::read_dir(path).expect("readable");
            waiting.extend(entries.map(|entry| entry.expect("readable").path()));
        } else if path.extension() == Some("rs".as_ref()) && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files.sort();
    let mut list = String::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("readable");
        let code = text.split("\n#[cfg(test)]\nmod tests {").next();
        let code = without_comments(code.unwrap_or_default());
        let lines = log_lines(&code) + &warnings(&code);
        if !lines.is_empty() {
            let path = file.strip_prefix(source).expect("below it").display();
            let _ = write!(list, "{path}\n{lines}\n");
        }
    }
    list
}

fn without_comments(code: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code: Vec<&str> = code.lines().filter(is_code).collect();
    code.join("\n")
}

/// `    check  message` of each warning about the configuration, which is logged at the start and at a reload.
fn warnings(code: &str) -> String {
    let mut list = String::new();
    let calls = code.match_indices(WARNING);
    for (at, _) in calls.filter(|(at, _)| !code[..*at].ends_with("fn ")) {
        let (before, behind) = code.split_at(at);
        let arguments = arguments(&behind[WARNING.len()..]);
        let message = arguments.get(1).expect("a place, and a text");
        // It stands there, or was made just before.
        let made = if message.contains('"') {
            message
        } else {
            let begin = before.rfind(&format!("let {message} ="));
            let statement = &before[begin.expect("made before")..];
            statement.split(";\n").next().unwrap_or_default()
        };
        let text = made.find('"').map_or("", |at| &made[at + 1..]);
        let mut ends = text.match_indices('"').map(|(at, _)| at);
        let end = ends.find(|at| !text[..*at].ends_with('\\'));
        let text = plain(&format!("\"{}\"", &text[..end.expect("a literal")]));
        let _ = writeln!(list, "    check  {text}");
    }
    list
}

const WARNING: &str = "reading.warning(";

/// `    LEVEL  message  {fields}` of each log line, in their order.
fn log_lines(code: &str) -> String {
    let mut list = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("!(") {
        let (before, behind) = (&rest[..at], &rest[at + 2..]);
        let level = LEVELS
            .iter()
            .find(|level| before.ends_with(&format!("tracing::{level}")));
        rest = behind;
        if let Some(level) = level {
            let arguments = arguments(behind);
            let message = arguments.iter().position(|it| it.starts_with('"'));
            let message = message.expect("every log line has a message");
            let text = plain(&arguments[message]);
            let is_elsewhere = ELSEWHERE.iter().any(|it| text.contains(it));
            assert!(
                !is_elsewhere,
                "{text}: what it says stands elsewhere, so nobody reads it here"
            );
            let fields: Vec<&str> = arguments[..message].iter().map(|it| field(it)).collect();
            let _ = write!(list, "    {level:<5}  {text}");
            if !fields.is_empty() {
                let _ = write!(list, "  {{{}}}", fields.join(", "));
            }
            list.push('\n');
        }
    }
    list
}

/// What stands between the commas, up to the parenthesis that closes the call.
fn arguments(call: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let (mut depth, mut in_text) = (0, false);
    let mut characters = call.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' if in_text => {
                arguments
                    .last_mut()
                    .expect("never empty")
                    .extend(['\\'].into_iter().chain(characters.next()));
                continue;
            }
            '"' => in_text = !in_text,
            '(' | '[' | '{' if !in_text => depth += 1,
            ')' | ']' | '}' if !in_text && depth == 0 => break,
            ')' | ']' | '}' if !in_text => depth -= 1,
            ',' if !in_text && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        let argument = arguments.last_mut().expect("never empty");
        if !(argument.is_empty() && c.is_whitespace()) {
            argument.push(c);
        }
    }
    arguments
}

/// The name of a field: `%error` is `error`, `sink = name` is `sink`.
fn field(argument: &str) -> &str {
    let name = argument.split('=').next().unwrap_or_default();
    name.trim().trim_start_matches(['%', '?'])
}

/// The text of a literal.
fn plain(literal: &str) -> String {
    let inner = literal.trim();
    let inner = inner.strip_prefix('"').unwrap_or(inner);
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let mut text = String::new();
    for (number, line) in inner.split("\\\n").enumerate() {
        text.push_str(if number == 0 { line } else { line.trim_start() });
    }
    text.replace("\\\"", "\"")
}

/// Parts that would hide what a line says. Warnings about the configuration are listed where they are made.
const ELSEWHERE: [&str; 4] = ["{message}", "{hint}", "{what}", "{cause}"];

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

#[test]
fn the_lines_of_a_file_are_found() {
    let code = "// tracing::warn!(\"in a comment\");\ntracing::warn!(sink, %error, times = count(a, b), \"it (\\\"a\\\") fails, {} times \\\n         and goes on\", f(x));\n\
                format!(\"no line\"); tracing::info!(\"fine\");";
    let found = "    warn   it (\"a\") fails, {} times and goes on  {sink, error, times}\n    info   fine\n";
    assert_eq!(log_lines(&without_comments(code)), found);
    let code = "fn warning(a, b) {}\nlet message = format!(\n \"{x} is (\\\"odd\\\") \\\n   here\", a);\nreading.warning(place, message);\n\
                reading.warning(&p, \"there, \\\"odd\\\"\"); reading.warning(&p, format!(\"types: {doubt}\"));";
    let found =
        "    check  {x} is (\"odd\") here\n    check  there, \"odd\"\n    check  types: {doubt}\n";
    assert_eq!(warnings(code), found);
}
