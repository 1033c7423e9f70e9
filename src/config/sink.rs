//! Reads `[[sink]]`.

use super::finding::Place;
use super::reader::{Reading, Section};
use super::suggest::did_you_mean;
use std::path::PathBuf;

/// Where events are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Names it in metrics, cursors and commands.
    pub name: String,
    /// What it is.
    pub kind: SinkKind,
}

/// The kinds of sink of this build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// NDJSON to the standard output.
    Stdout,
    /// NDJSON appended to a file.
    File {
        /// The file; it is created when it is missing.
        path: PathBuf,
    },
}

pub(super) fn read_all(reading: &mut Reading<'_>, sections: Vec<Section<'_>>) -> Vec<Sink> {
    let mut sinks: Vec<Sink> = Vec::new();
    for section in sections {
        let place = section.place_of("name");
        let Some(sink) = read(reading, section) else {
            continue;
        };
        if sinks.iter().any(|other| other.name == sink.name) {
            let message = format!(
                "a second sink has the name {:?}; give it another name",
                sink.name
            );
            reading.mistake(&place, message);
        } else if sinks.iter().any(|other| other.kind == sink.kind) {
            let message = format!("sink {:?} writes where another one does already", sink.name);
            reading.mistake(&place, message);
        }
        sinks.push(sink);
    }
    sinks
}

fn read(reading: &mut Reading<'_>, mut section: Section<'_>) -> Option<Sink> {
    let (name, word) = (section.text(reading, "name"), section.text(reading, "type"));
    if let Some(name) = name {
        check_name(reading, &section.place_of("name"), name);
    }
    let Some(word) = word else {
        if !section.has("type") {
            let message = "[[sink]] needs type = \"stdout\" or type = \"file\"";
            reading.mistake(&section.place.clone(), message);
        }
        return None;
    };
    if !BUILT.contains(&word) {
        let message = if UNBUILT.contains(&word) {
            format!("sink type {word:?} is not in this build yet; it has \"stdout\" and \"file\"")
        } else {
            let meant = did_you_mean(word, BUILT.into_iter().chain(UNBUILT));
            format!("unknown sink type {word:?}{meant}")
        };
        reading.mistake(&section.place_of("type"), message);
        return None;
    }
    let kind = if word == "stdout" {
        Some(SinkKind::Stdout)
    } else {
        let path = section
            .text(reading, "path")
            .filter(|path| !path.is_empty());
        if path.is_none() {
            let message = "a file sink needs path = \"FILE\"";
            reading.mistake(&section.place_of("path"), message);
        }
        path.map(|path| SinkKind::File {
            path: PathBuf::from(path),
        })
    };
    section.finish(reading, |key| {
        (key == "path").then(|| "path belongs to a sink of type \"file\"".to_owned())
    });
    Some(Sink {
        name: name.unwrap_or(word).to_owned(),
        kind: kind?,
    })
}

/// Names stand in metrics, file names and commands.
pub(super) fn check_name(reading: &mut Reading<'_>, place: &Place, name: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
        let message = format!(
            "name {name:?} must be 1 to {NAME_MAX} letters, digits, dots, dashes and underscores"
        );
        reading.mistake(place, message);
    }
}

/// Longest name, in characters.
const NAME_MAX: usize = 64;

/// What `type` may say.
const BUILT: [&str; 2] = ["stdout", "file"];

/// Kinds that Hookline knows of and this build does not have.
const UNBUILT: [&str; 8] = [
    "http",
    "pull",
    "jetstream",
    "nats",
    "kafka",
    "redis",
    "postgres",
    "postgresql",
];
