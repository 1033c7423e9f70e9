//! Verbs, exit codes, and the commands that a reader is asked to type.

use super::common::client::post;
use super::common::{self, Site, eventually};
use super::{code, documents, fences, numbers, root, rows, text_of};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use hookline::manual::chapter;
use hookline::testing::cli::{Cli, CliError};
use hookline::testing::config::ConfigErrors;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Commands in `sh` fences that are neither Hookline's nor in the tree, and why they are not run.
const PROGRAMS: &[(&str, &str)] = &[
    ("cargo", "it builds; what `cargo run` runs is parsed"),
    ("mkdir", "a directory of the reader's machine"),
    ("curl", "it asks a server that runs elsewhere"),
    (
        "while",
        "a part of the loop around `tail`, which is run below",
    ),
    ("do", "a part of the loop around `tail`, which is run below"),
    (
        "handle",
        "it is the reader's own, in the loop around `tail`",
    ),
    (
        "exit",
        "a part of the loop around `tail`, which is run below",
    ),
    (
        "printf",
        "a part of the loop around `tail`, which is run below",
    ),
    ("jq", "a part of the loop around `tail`, which is run below"),
    (
        "done",
        "a part of the loop around `tail`, which is run below",
    ),
];

/// What begins like a command and is none.
const NO_COMMANDS: &[(&str, &str)] = &[("hookline runs", "an event of the log")];

/// Stored each time that the loop around `tail` is started.
const EVENTS: usize = 20;

/// The words of each simple command in a fence, without assignments before it, redirections and comments.
fn commands(text: &str) -> Vec<Vec<String>> {
    let text = text.replace("\\\n", " ");
    let (mut commands, mut command, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                word.extend(chars.by_ref().take_while(|next| *next != c));
            }
            '#' if word.is_none() => while chars.next_if(|next| *next != '\n').is_some() {},
            '\n' | ' ' | '|' | ';' | '&' | '>' | '<' => {
                command.extend(word.take());
                if c == '>' || c == '<' {
                    command.push(c.to_string());
                } else if c != ' ' {
                    commands.push(std::mem::take(&mut command));
                }
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    command.extend(word);
    commands.push(command);
    let simple = commands.into_iter().map(|words| {
        let is_assignment = |word: &String| {
            word.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
            })
        };
        let end = words.iter().position(|word| word == ">" || word == "<");
        let words = words[..end.unwrap_or(words.len())].iter();
        words
            .skip_while(|word| is_assignment(word))
            .cloned()
            .collect()
    });
    simple
        .filter(|words: &Vec<String>| !words.is_empty())
        .collect()
}

#[test]
fn commands_are_taken() {
    let mut needed = BTreeSet::new();
    let mut parsed = 0;
    for (name, text) in documents() {
        let fences = fences(&text)
            .into_iter()
            .filter(|(language, _)| *language == "sh");
        for words in fences.flat_map(|(_, body)| commands(&body)) {
            let ours = match words[0].as_str() {
                "hookline" => &words[1..],
                "cargo" if words[1] == "run" => {
                    assert_eq!(words[1..4], ["run", "--release", "--"]);
                    &words[4..]
                }
                program if program.contains('/') => {
                    assert!(root().join(program).exists(), "{name}: {program}");
                    continue;
                }
                program => {
                    let known = PROGRAMS.iter().find(|(known, _)| *known == program);
                    assert!(known.is_some(), "{name}: {words:?}");
                    needed.insert(program.to_owned());
                    continue;
                }
            };
            let mut line = [&["hookline".to_owned()], ours].concat();
            // What the shell puts there.
            for word in line.iter_mut().filter(|word| word.starts_with("$(")) {
                "0".clone_into(word);
            }
            let taken = Cli::try_parse_from(&line);
            assert!(taken.is_ok(), "{name}: {line:?}: {taken:?}");
            parsed += 1;
        }
    }
    assert!(parsed > 25, "{parsed}");
    needed.insert("cargo".to_owned());
    for (program, reason) in PROGRAMS {
        assert!(
            needed.contains(*program),
            "no longer needed: {program}, {reason}"
        );
    }
}

/// The loop around `tail`, in a shell: killed and started again, it goes on with the next event.
#[test]
fn the_loop_around_tail_handles_every_event_once() {
    if Command::new("jq").arg("--version").output().is_err() {
        return;
    }
    let site = Site::unsigned();
    let fences = fences(text_of("consume"));
    let (_, body) = fences
        .iter()
        .rev()
        .find(|(language, _)| *language == "sh")
        .expect("the loop");
    let body = body.replace(
        "/var/lib/hookline",
        &site.journal_dir().display().to_string(),
    );
    let program = Path::new(common::PROGRAM).parent().expect("a directory");
    let handle = "handle() { printf '%s\\n' \"$1\" >> handled; }";
    let script = format!("{handle}\nPATH={}:$PATH\n{body}", program.display());
    let server = site.start();
    for round in 1..=3 {
        let mut client = server.connect();
        for at in 0..EVENTS {
            let body = format!("{{\"round\":{round},\"at\":{at}}}");
            client.send(&post("/webhook", "", body.as_bytes()));
        }
        assert!(client.codes(EVENTS).iter().all(|code| *code == 200));
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&script).current_dir(site.path());
        let mut shell = shell.process_group(0).spawn().expect("it runs");
        let last = format!("{}.0", round * EVENTS);
        eventually("all are handled", || {
            let position = fs::read_to_string(site.path().join("position"));
            position.is_ok_and(|position| position.trim() == last)
        });
        let group = rustix::process::Pid::from_child(&shell);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).expect("it runs");
        shell.wait().expect("it ends");
    }
    let handled = fs::read_to_string(site.path().join("handled")).expect("readable");
    let events: Vec<String> = site.events().iter().map(ToString::to_string).collect();
    let parsed = handled.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        event.to_string()
    });
    assert_eq!(parsed.collect::<Vec<_>>(), events);
}

/// What stands within a sentence may lack a value; what it has is known.
#[test]
fn commands_within_sentences_are_known() {
    let mut count = 0;
    for (name, text) in documents() {
        let prose = text.split("```").step_by(2);
        for span in prose
            .flat_map(code)
            .filter(|span| span.starts_with("hookline "))
        {
            let words: Vec<&str> = span.split_whitespace().collect();
            let is_placeholder = |word: &str| word.chars().all(|c| c.is_ascii_uppercase());
            if is_placeholder(words[1]) || NO_COMMANDS.iter().any(|(known, _)| *known == span) {
                continue;
            }
            count += 1;
            if words[1] == "help" && words.len() > 2 {
                let topic = words[2];
                let is_verb = Cli::command().find_subcommand(topic).is_some();
                let known = is_verb || chapter(topic).is_some() || is_placeholder(topic);
                assert!(known, "{name}: {span}");
            }
            let Err(error) = Cli::try_parse_from(&words) else {
                continue;
            };
            let lacks = [
                ErrorKind::MissingRequiredArgument,
                ErrorKind::MissingSubcommand,
                ErrorKind::DisplayHelp,
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
                ErrorKind::ValueValidation,
            ];
            assert!(lacks.contains(&error.kind()), "{name}: {span}: {error}");
        }
    }
    assert!(count > 20, "{count}");
}

/// Every line of words that runs a verb or a subcommand.
pub(crate) fn verbs() -> BTreeSet<String> {
    let mut verbs = BTreeSet::new();
    let cli = Cli::command();
    for verb in cli.get_subcommands().filter(|it| !it.is_hide_set()) {
        let name = verb.get_name();
        for under in verb.get_subcommands() {
            verbs.insert(format!("{name} {}", under.get_name()));
        }
        if !verb.is_subcommand_required_set() {
            verbs.insert(name.to_owned());
        }
    }
    verbs
}

#[test]
fn verbs_are_those_of_the_program() {
    let table = rows(text_of("operate"), "verb");
    let listed: Vec<String> = table
        .iter()
        .map(|cells| cells[0].replace('`', ""))
        .collect();
    assert_eq!(listed.len(), verbs().len());
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), verbs());
}

#[test]
fn exit_codes_are_those_of_the_program() {
    let usage = Cli::try_parse_from(["hookline", "nonsense"]).expect_err("no verb");
    let unread = CliError::Output(io::ErrorKind::BrokenPipe.into());
    let mistakes = Vec::new();
    let bad = CliError::Config(ConfigErrors { mistakes });
    let codes = [&unread, &CliError::failed("it"), &bad].map(CliError::code);
    let mut codes: BTreeSet<u16> = codes.into_iter().map(u16::from).collect();
    assert_eq!(
        usage.exit_code(),
        i32::from(CliError::Usage(String::new()).code())
    );
    codes.insert(2);
    let table = rows(text_of("operate"), "exit code");
    let listed = table.iter().flat_map(|cells| numbers(cells[0]));
    assert_eq!(listed.collect::<BTreeSet<_>>(), codes);
    let help = Cli::command().render_help().to_string();
    let (_, line) = help.split_once("Exit codes: ").expect("it says so");
    assert_eq!(numbers(line).into_iter().collect::<BTreeSet<_>>(), codes);
}
