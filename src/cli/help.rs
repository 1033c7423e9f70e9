//! `hookline help`: a verb, as its `--help` says it, or a chapter of the manual.
//!
//! Verbs come first, then chapters; no name is both. On a terminal a chapter goes through `$PAGER`, which is split at
//! white space and run without a shell, or else through `less`. Where there is neither, and into a file or a pipe, it
//! is plain text. A pager that ends early has shown what was wanted.

use super::Cli;
use super::error::CliError;
use super::report::table::labelled;
use crate::config::nearest;
use crate::manual::{self, CHAPTERS, Chapter};
use clap::error::ErrorKind;
use clap::{Args, Command, CommandFactory as _, Parser as _};
use signal_hook::consts::SIGINT;
use std::env;
use std::io::{self, IsTerminal as _, Write};
use std::process::{self, Stdio};
use std::sync::Arc;

#[derive(Clone, Debug, Args)]
pub(super) struct HelpArgs {
    /// A verb, with its subcommand if it has some, or a chapter of the manual; without any, all of them are listed
    #[arg(value_name = "VERB [SUBCOMMAND] | CHAPTER")]
    words: Vec<String>,
}

pub(super) fn run(args: &HelpArgs) -> Result<(), CliError> {
    let Some(first) = args.words.first() else {
        return Ok(io::stdout().write_all(overview().as_bytes())?);
    };
    let cli = Cli::command();
    if cli.find_subcommand(first).is_some() {
        return verb(&cli, &args.words);
    }
    match (manual::chapter(first), args.words.get(1)) {
        (Some(chapter), None) => show(chapter),
        (Some(_), Some(word)) => Err(CliError::Usage(format!(
            "{first} is a chapter of the manual, and has no part {word:?}: write `hookline help {first}`"
        ))),
        (None, _) => {
            let known = visible(&cli).map(|(name, _)| name);
            let known = known.chain(CHAPTERS.iter().map(|chapter| chapter.name.to_owned()));
            let known: Vec<String> = known.collect();
            Err(unknown("verb or chapter", first, &known, "hookline help"))
        }
    }
}

/// Prints what `--help` prints behind these words.
fn verb(cli: &Command, words: &[String]) -> Result<(), CliError> {
    let mut command = cli;
    for (at, word) in words.iter().enumerate() {
        let Some(next) = command.find_subcommand(word) else {
            let before = words[..at].join(" ");
            let known: Vec<String> = visible(command).map(|(name, _)| name).collect();
            let list = format!("hookline help {before}");
            return Err(unknown(
                &format!("subcommand of {before}"),
                word,
                &known,
                &list,
            ));
        };
        command = next;
    }
    let words = words.iter().map(String::as_str);
    let line = ["hookline"].into_iter().chain(words).chain(["--help"]);
    match Cli::try_parse_from(line) {
        Err(help) if help.kind() == ErrorKind::DisplayHelp => Ok(help.print()?),
        result => Err(CliError::failed(format!("there is no help: {result:?}"))),
    }
}

fn unknown(what: &str, word: &str, known: &[String], list: &str) -> CliError {
    let meant = nearest(word, known.iter().map(String::as_str));
    let meant = meant.map(|meant| format!("; did you mean {meant:?}?"));
    let meant = meant.unwrap_or_else(|| format!("; `{list}` lists what there is"));
    CliError::Usage(format!("there is no {what} {word:?}{meant}"))
}

/// The verbs, or the subcommands of one, with a line each.
fn visible(command: &Command) -> impl Iterator<Item = (String, String)> {
    let shown = command.get_subcommands().filter(|it| !it.is_hide_set());
    shown.map(|it| {
        let about = it.get_about().map(ToString::to_string);
        (it.get_name().to_owned(), about.unwrap_or_default())
    })
}

/// All verbs and all chapters.
fn overview() -> String {
    let mut text = String::from(
        "Usage: hookline help [VERB [SUBCOMMAND] | CHAPTER]\n\nVerbs, as `hookline VERB --help` explains them:\n",
    );
    let line = |name: &str, about: &str| format!("  {}", labelled(name, about));
    for (name, about) in visible(&Cli::command()) {
        text.push_str(&line(&name, &about));
    }
    text.push_str("\nChapters of the manual:\n");
    for chapter in CHAPTERS {
        text.push_str(&line(chapter.name, chapter.about));
    }
    text
}

fn show(chapter: &Chapter) -> Result<(), CliError> {
    if io::stdout().is_terminal() {
        let asked = env::var("PAGER").ok();
        let less_works = env::var("TERM").is_ok_and(|terminal| terminal != "dumb");
        for pager in pagers(asked.as_deref(), less_works) {
            if page(&pager, chapter.text)? {
                return Ok(());
            }
        }
    }
    Ok(io::stdout().write_all(chapter.text.as_bytes())?)
}

/// What to try, in this order. An empty `$PAGER` asks for none.
fn pagers(asked: Option<&str>, less_works: bool) -> Vec<Vec<String>> {
    let words = |command: &str| command.split_whitespace().map(str::to_owned).collect();
    let asked: Option<Vec<String>> = asked.map(words);
    if asked.as_ref().is_some_and(Vec::is_empty) {
        return Vec::new();
    }
    // Less ends at once if all of it fits on the screen.
    let less = less_works.then(|| words("less -FRX"));
    asked.into_iter().chain(less).collect()
}

/// Shows the text with this program; false if there is no such program.
fn page(pager: &[String], text: &str) -> Result<bool, CliError> {
    let Some((program, arguments)) = pager.split_first() else {
        return Ok(false);
    };
    // Ctrl-C belongs to the pager, which would be left alone at the terminal.
    let _ = signal_hook::flag::register(SIGINT, Arc::default());
    let started = process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        return Ok(false);
    };
    if let Some(mut input) = child.stdin.take() {
        feed(&mut input, text)?;
    }
    child.wait()?;
    Ok(true)
}

fn feed(pager: &mut impl Write, text: &str) -> io::Result<()> {
    match pager.write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline help                      all verbs, and the chapters of the manual
  hookline help journal verify       as `hookline journal verify --help`
  hookline help consume              a chapter";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_a_verb_and_a_chapter() {
        let cli = Cli::command();
        for chapter in CHAPTERS {
            assert!(
                cli.find_subcommand(chapter.name).is_none(),
                "{}",
                chapter.name
            );
        }
    }

    #[test]
    fn the_pager_is_what_the_user_wants() {
        let pagers = |asked, less| -> Vec<String> {
            let all = pagers(asked, less);
            all.iter().map(|words| words.join(" ")).collect()
        };
        assert_eq!(pagers(None, true), ["less -FRX"]);
        assert!(pagers(None, false).is_empty());
        assert_eq!(
            pagers(Some(" most  -s "), true),
            ["most -s", "less -FRX"],
            "less where it is missing"
        );
        assert!(pagers(Some(" "), true).is_empty());
    }

    #[test]
    fn a_pager_that_ends_early_is_no_error() {
        struct Ended(io::ErrorKind);
        impl Write for Ended {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(feed(&mut Ended(io::ErrorKind::BrokenPipe), "text").is_ok());
        assert!(feed(&mut Ended(io::ErrorKind::StorageFull), "text").is_err());
    }
}
