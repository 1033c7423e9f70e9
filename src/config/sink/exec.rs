//! Reads what is peculiar to `type = "exec"`.

use super::dispatch::{self, Dispatch};
use crate::config::reader::{Reading, Section};
use crate::config::surroundings;

/// A program, and how it is given events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecSink {
    /// The program and its arguments, at least the program. No shell stands between.
    pub command: Vec<String>,
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
    })
}
