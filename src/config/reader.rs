//! Reads one table of the configuration key by key, notes every mistake, and knows which keys nobody asked for.

use super::Environment;
use super::document::{Entry, Node, Value};
use super::finding::{Finding, Location, Source};
use super::own_files::OwnFiles;
use super::secret::{Reference, Secret};
use super::settings::{Setting, Unit, setting};
use super::suggest::did_you_mean;
use super::units::{parse_size, parse_time};
use ::http::Uri;
use std::net::SocketAddr;
use std::time::Duration;

/// What one reading of a configuration gathers.
pub(super) struct Reading<'a> {
    pub(super) source: Source,
    pub(super) environment: &'a Environment,
    /// False if the values of secrets are not asked for.
    pub(super) secrets: bool,
    pub(super) mistakes: Vec<Finding>,
    pub(super) warnings: Vec<Finding>,
    /// Each number of the sections, with its place when it was set.
    pub(super) numbers: Vec<(&'static Setting, u64, Option<Location>)>,
    /// Where sinks post to.
    pub(super) targets: Vec<(Location, Uri)>,
    /// What no file of a sink may be.
    pub(super) own_files: OwnFiles,
}

impl Reading<'_> {
    pub(super) fn mistake(&mut self, place: &Location, message: impl Into<String>) {
        self.mistakes
            .push(self.source.finding(place, message.into()));
    }

    pub(super) fn warning(&mut self, place: &Location, message: impl Into<String>) {
        self.warnings
            .push(self.source.finding(place, message.into()));
    }
}

/// One table.
pub(super) struct Section<'t> {
    /// As the file names it, without brackets: `server`.
    name: &'static str,
    /// Where it starts.
    pub(super) place: Location,
    table: &'t [Entry],
    asked: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(super) fn new(name: &'static str, place: Location, table: &'t [Entry]) -> Self {
        Section {
            name,
            place,
            table,
            asked: Vec::new(),
        }
    }

    /// The value of a key, whatever it is.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'t Node> {
        self.asked.push(key);
        self.table
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
    }

    /// Where the key stands, or the section when it is not there.
    pub(super) fn place_of(&self, key: &str) -> Location {
        let entry = self.table.iter().find(|entry| entry.key == key);
        entry.map_or(&self.place, |entry| &entry.place).clone()
    }

    /// True when the key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.iter().any(|entry| entry.key == key)
    }

    pub(super) fn text(&mut self, reading: &mut Reading<'_>, key: &'static str) -> Option<&'t str> {
        let node = self.node(key)?;
        match &node.value {
            Value::Text(text) | Value::Variable(text) => Some(text),
            _ => {
                reading.mistake(
                    &node.place,
                    format!("{key} must be text, found {}", node.kind()),
                );
                None
            }
        }
    }

    pub(super) fn boolean(
        &mut self,
        reading: &mut Reading<'_>,
        key: &'static str,
        default: bool,
    ) -> bool {
        let Some(node) = self.node(key) else {
            return default;
        };
        match &node.value {
            Value::Boolean(value) => *value,
            Value::Variable(text) if text == "true" => true,
            Value::Variable(text) if text == "false" => false,
            _ => {
                let found = node.kind();
                reading.mistake(
                    &node.place,
                    format!("{key} must be true or false, found {found}"),
                );
                default
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        reading: &mut Reading<'_>,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let word = self.text(reading, key)?;
        let found = choices.iter().find(|(name, _)| *name == word);
        if found.is_none() {
            let names = || choices.iter().map(|(name, _)| *name);
            let listed = names()
                .map(|name| format!("{name:?}"))
                .collect::<Vec<_>>()
                .join(", ");
            let mut meant = did_you_mean(word, names());
            if meant.is_empty() {
                meant = format!("; known are {listed}");
            }
            reading.mistake(
                &self.place_of(key),
                format!("unknown {key} {word:?}{meant}"),
            );
        }
        found.map(|(_, choice)| *choice)
    }

    /// A number of the table of settings, to be listed with the others. `from_cores` stands in for a default
    /// that the table lacks.
    pub(super) fn number(
        &mut self,
        reading: &mut Reading<'_>,
        key: &'static str,
        from_cores: u64,
    ) -> u64 {
        let value = self.measured(reading, key).unwrap_or(from_cores);
        let place = self.has(key).then(|| self.place_of(key));
        reading
            .numbers
            .push((setting(self.name, key), value, place));
        value
    }

    /// A number of the table of settings, within its range; its default when it is not there.
    pub(super) fn measured(&mut self, reading: &mut Reading<'_>, key: &'static str) -> Option<u64> {
        self.measured_of(reading, self.name, key)
    }

    /// The same with the rows of `group`, for a table whose limits depend on its type.
    pub(super) fn measured_of(
        &mut self,
        reading: &mut Reading<'_>,
        group: &str,
        key: &'static str,
    ) -> Option<u64> {
        let setting = setting(group, key);
        let Some(node) = self.node(key) else {
            return setting.default;
        };
        match measure(setting, node) {
            Ok(value) => Some(value),
            Err(message) => {
                reading.mistake(&self.place_of(key), message);
                setting.default
            }
        }
    }

    /// A count or a size that has a default.
    pub(super) fn size(&mut self, reading: &mut Reading<'_>, key: &'static str) -> usize {
        usize::try_from(self.number(reading, key, 0)).unwrap_or(usize::MAX)
    }

    pub(super) fn time(&mut self, reading: &mut Reading<'_>, key: &'static str) -> Duration {
        Duration::from_millis(self.number(reading, key, 0))
    }

    /// An address with a port, as text that [`SocketAddr`] reads.
    pub(super) fn address(
        &mut self,
        reading: &mut Reading<'_>,
        key: &'static str,
    ) -> Option<SocketAddr> {
        let text = self.text(reading, key)?;
        let place = self.place_of(key);
        text.parse()
            .map_err(|_| reading.mistake(&place, address_hint(key, text)))
            .ok()
    }

    /// A table inside this one.
    pub(super) fn table(
        &mut self,
        reading: &mut Reading<'_>,
        key: &'static str,
        shape: &str,
    ) -> Option<Section<'t>> {
        let node = self.node(key)?;
        if let Value::Table(table) = &node.value {
            return Some(Section::new(key, self.place_of(key), table));
        }
        reading.mistake(
            &self.place_of(key),
            format!("{key} must be written as {shape}"),
        );
        None
    }

    /// A list of texts.
    pub(super) fn texts(
        &mut self,
        reading: &mut Reading<'_>,
        key: &'static str,
    ) -> Option<Vec<(&'t str, Location)>> {
        let node = self.node(key)?;
        let Value::List(items) = &node.value else {
            let found = node.kind();
            reading.mistake(
                &node.place,
                format!("{key} must be a list of texts, found {found}"),
            );
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            match &item.value {
                Value::Text(text) => texts.push((text.as_str(), item.place.clone())),
                _ => reading.mistake(
                    &item.place,
                    format!("{key} must hold texts only, found {}", item.kind()),
                ),
            }
        }
        Some(texts)
    }

    /// One secret or a list of them; `None` when the key is not there. Mistakes leave the result short.
    pub(super) fn secrets(
        &mut self,
        reading: &mut Reading<'_>,
        key: &'static str,
    ) -> Option<Vec<Secret>> {
        let node = self.node(key)?;
        let nodes = match &node.value {
            Value::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if nodes.is_empty() {
            let message =
                format!("{key} is an empty list; name at least one secret, or leave it out");
            reading.mistake(&self.place_of(key), message);
        }
        Some(
            nodes
                .iter()
                .filter_map(|node| secret(reading, key, node))
                .collect(),
        )
    }

    /// Ends the reading: what nobody asked for is a mistake. `explain` may know why a key is not taken here.
    pub(super) fn finish(
        self,
        reading: &mut Reading<'_>,
        explain: impl Fn(&str) -> Option<String>,
    ) {
        for entry in self
            .table
            .iter()
            .filter(|entry| !self.asked.contains(&entry.key.as_str()))
        {
            let key = &entry.key;
            let message = explain(key).unwrap_or_else(|| {
                let meant = did_you_mean(key, self.asked.iter().copied());
                format!("unknown key {key:?} in {}{meant}", self.title())
            });
            reading.mistake(&entry.place, message);
        }
    }

    fn title(&self) -> String {
        match self.name {
            "endpoint" | "sink" => format!("[[{}]]", self.name),
            "basic" | "header" => self.name.to_owned(),
            "" => "the file".to_owned(),
            name => format!("[{name}]"),
        }
    }
}

/// Reads a number with its unit and holds it to its range.
fn measure(setting: &Setting, node: &Node) -> Result<u64, String> {
    let key = setting.key;
    let value = match (setting.unit, &node.value) {
        (Unit::Milliseconds, Value::Text(text) | Value::Variable(text)) => parse_time(text)?,
        (Unit::Milliseconds, Value::Integer(_)) => {
            return Err(format!("{key} needs a unit, as in \"5s\" or \"250ms\""));
        }
        (Unit::Bytes, Value::Text(text) | Value::Variable(text)) => parse_size(text)?,
        (Unit::Count, Value::Variable(text)) => text
            .parse()
            .map_err(|_| format!("{key} must be a whole number"))?,
        (Unit::Count | Unit::Bytes, Value::Integer(Some(number))) if *number >= 0 => {
            number.unsigned_abs()
        }
        (Unit::Count | Unit::Bytes, Value::Integer(_)) => {
            return Err(format!("{key} must be between {}", range(setting)));
        }
        (unit, _) => {
            let wanted = match unit {
                Unit::Count => "whole number",
                Unit::Bytes => "size, as in \"4MiB\"",
                Unit::Milliseconds => "duration, as in \"5s\"",
            };
            return Err(format!("{key} must be a {wanted}, found {}", node.kind()));
        }
    };
    if (setting.min..=setting.max).contains(&value) {
        return Ok(value);
    }
    let (value, range) = (setting.format(value), range(setting));
    let reason = setting.reason;
    Err(format!(
        "{key} must be between {range}, found {value} ({reason})"
    ))
}

fn range(setting: &Setting) -> String {
    let [min, max] = [setting.min, setting.max].map(|limit| setting.format(limit));
    format!("{min} and {max}")
}

/// The secret that a value names.
pub(super) fn secret(reading: &mut Reading<'_>, key: &str, node: &Node) -> Option<Secret> {
    let forms = "{ env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }";
    let reference = match &node.value {
        Value::Table(table) => match table.as_slice() {
            [
                Entry {
                    key: form,
                    node:
                        Node {
                            value: Value::Text(name),
                            ..
                        },
                    ..
                },
            ] => match form.as_str() {
                "env" => Some(Reference::Env(name)),
                "file" => Some(Reference::File(name)),
                "credential" => Some(Reference::Credential(name)),
                _ => None,
            },
            _ => None,
        },
        Value::Text(_) => {
            let message = format!(
                "{key} holds the secret itself; name the place that keeps it instead, as in {forms}"
            );
            reading.mistake(&node.place, message);
            return None;
        }
        _ => None,
    };
    let Some(reference) = reference else {
        reading.mistake(&node.place, format!("{key} must be written as {forms}"));
        return None;
    };
    if !reading.secrets {
        return Some(Secret::stand_in());
    }
    if let Some(path) = reference.file(reading.environment) {
        reading.own_files.reads(path, "the file of a secret");
    }
    reference
        .fetch(reading.environment)
        .map_err(|message| reading.mistake(&node.place, format!("{key}: {message}")))
        .ok()
}

fn address_hint(key: &str, text: &str) -> String {
    let port = text.rsplit(':').next().unwrap_or_default();
    let meant = match port.parse::<u16>() {
        Ok(port) if text.starts_with("localhost") => {
            format!("; did you mean \"127.0.0.1:{port}\"?")
        }
        Ok(port) => format!("; for all addresses write \"0.0.0.0:{port}\""),
        Err(_) => String::new(),
    };
    format!(
        "{key} must be an IP address and a port, as in \"127.0.0.1:8080\", found {text:?}{meant}"
    )
}

/// Names stand in metrics, file names and commands.
pub(super) fn check_name(reading: &mut Reading<'_>, place: &Location, name: &str) {
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
