//! Reads what is peculiar to `type = "exec"`.

use super::dispatch::{self, Dispatch};
use crate::config::document::{Entry, Value};
use crate::config::reader::{Reading, Section, secret};
use crate::config::secret::Secret;
use crate::config::surroundings;

/// A program, and how it is given events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecSink {
    /// The program and its arguments, at least the program. No shell stands between.
    pub command: Vec<String>,
    /// Variables that it gets beside those of every program: the name, and the value.
    pub env: Vec<(String, Secret)>,
    pub mode: ExecMode,
    /// The pace; with [`ExecMode::Stream`] there is one program, whatever `concurrency` says.
    pub dispatch: Dispatch,
}

/// How a program is given events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecMode {
    /// It is started for each event, which it reads from its standard input.
    Each,
    /// It is started once, and reads all events from its standard input, one a line.
    Stream,
}

pub(super) fn read(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<ExecSink> {
    let missing = !section.has("command");
    let command = section.texts(reading, "command");
    let place = section.place_of("command");
    let command: Option<Vec<String>> = command.map(|words| {
        let words = words.into_iter().map(|(word, _)| word.to_owned());
        words.collect()
    });
    let is_empty = |words: &Vec<String>| words.first().is_none_or(String::is_empty);
    if missing || command.as_ref().is_some_and(is_empty) {
        let message = "an exec sink needs command = [\"PROGRAM\", \"ARGUMENT\"]";
        reading.mistake(&place, message);
    }
    if command.iter().flatten().any(|word| word.contains('\0')) {
        reading.mistake(&place, "command holds a NUL, which no argument can hold");
    }
    if let Some(program) = command.as_ref().and_then(|words| words.first())
        && !program.is_empty()
        && reading.secrets
    {
        surroundings::program(reading, &place, program);
    }
    let env = env(reading, section);
    let modes = [("each", ExecMode::Each), ("stream", ExecMode::Stream)];
    let mode = section.choice(reading, "mode", &modes);
    if mode == Some(ExecMode::Stream) && section.has("concurrency") {
        let message = "mode = \"stream\" runs one program; concurrency is for mode = \"each\"";
        reading.mistake(&section.place_of("concurrency"), message);
    }
    Some(ExecSink {
        dispatch: dispatch::read(reading, section, "sink.exec"),
        mode: mode.unwrap_or(ExecMode::Each),
        command: command?,
        env,
    })
}

/// The variables, each of which holds a secret.
fn env(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Vec<(String, Secret)> {
    let Some(node) = section.node("env") else {
        return Vec::new();
    };
    let Value::Table(entries) = &node.value else {
        let message =
            "env must be written as { NAME = { env = \"NAME\" }, OTHER = { file = \"PATH\" } }";
        reading.mistake(&section.place_of("env"), message);
        return Vec::new();
    };
    let variables = entries.iter().filter_map(|it| variable(reading, it));
    let variables: Vec<(String, Secret)> = variables.collect();
    let lens = variables
        .iter()
        .map(|(name, value)| name.len() + value.expose().len() + 2);
    if lens.sum::<usize>() > ENV_MAX {
        let message = format!("env holds more than {ENV_MAX} bytes; let the program read a file");
        reading.mistake(&section.place_of("env"), message);
    }
    variables
}

fn variable(reading: &mut Reading<'_>, entry: &Entry) -> Option<(String, Secret)> {
    let name = entry.key.as_str();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty()
        || name.starts_with(|c: char| c.is_ascii_digit())
        || !name.chars().all(is_plain)
    {
        let message = format!(
            "{name:?} in env is no name of a variable: letters, digits and underscores, and no digit first"
        );
        reading.mistake(&entry.place, message);
        return None;
    }
    if name.to_ascii_uppercase().starts_with(RESERVED) {
        let message = format!(
            "{name} in env is reserved: Hookline sets variables that begin with {RESERVED}"
        );
        reading.mistake(&entry.place, message);
        return None;
    }
    let value = secret(reading, name, &entry.node)?;
    if value.expose().contains(&0) {
        let message = format!("the value of {name} holds a NUL, which no variable can hold");
        reading.mistake(&entry.place, message);
        return None;
    }
    Some((name.to_owned(), value))
}

/// Bytes of all variables together. Linux starts no program with a variable of 128 KiB.
const ENV_MAX: usize = 64 << 10;

/// Variables of ours begin with it.
const RESERVED: &str = "HOOKLINE_";
