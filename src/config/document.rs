//! The file and the environment as one tree, every part of which knows where it came from.

use super::Environment;
use super::finding::{Location, Source};
use toml::de::{DeTable, DeValue};

/// Environment variables that set a key start with this; `HOOKLINE__SERVER__LISTEN` is `listen` in `[server]`.
pub(super) const PREFIX: &str = "HOOKLINE__";

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Location,
    pub(super) value: Value,
}

/// The kinds of TOML that a configuration uses, and the untyped text of a variable.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Variable(String),
    /// `None` when it does not fit an `i64`, as nothing that is configured needs more.
    Integer(Option<i64>),
    Boolean(bool),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// Floats and dates, which nothing takes; the name is for the message.
    Other(&'static str),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Location,
    pub(super) node: Node,
}

impl Node {
    /// True when the value is this text.
    pub(super) fn says(&self, word: &str) -> bool {
        matches!(&self.value, Value::Text(text) | Value::Variable(text) if text == word)
    }

    /// What the value is, for "expected …, found …".
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text(_) | Value::Variable(_) => "text",
            Value::Integer(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(name) => name,
        }
    }
}

/// Mistakes of form, as far as the reader of TOML saw them, and what could be read all the same.
pub(super) struct Parsed {
    pub(super) root: Vec<Entry>,
    pub(super) mistakes: Vec<(Location, String)>,
    /// False when something is missing, so that what stands behind it may have been misread.
    pub(super) complete: bool,
}

/// Parses the file.
pub(super) fn parse(source: &Source) -> Parsed {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let mut complete = true;
    let mut mistakes: Vec<(Location, String)> = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or_default();
        // A value that is not quoted spoils itself alone; a bracket that is not closed, all that follows.
        complete &= !span.is_empty();
        let message = error
            .message()
            .trim_end_matches(", expected literal string")
            .trim_end_matches(", expected nothing");
        let text = ["invalid float", "invalid integer", "invalid datetime"].contains(&message);
        let hint = if text { "; text is put in quotes" } else { "" };
        mistakes.push((Location::File(span.start), format!("{message}{hint}")));
    }
    Parsed {
        root: entries(table.get_ref()),
        mistakes,
        complete,
    }
}

/// Puts the `HOOKLINE__SECTION__KEY` variables over what the file says. Returns those that name no section and key.
pub(super) fn overlay(
    root: &mut Vec<Entry>,
    environment: &Environment,
    sections: &[&str],
) -> Vec<(Location, String)> {
    let mut mistakes = Vec::new();
    let mut variables: Vec<_> = environment
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    variables.sort();
    for (name, value) in variables {
        let place = Location::Named(name.to_owned());
        let path = name[PREFIX.len()..].to_lowercase();
        let Some((section, key)) = path.split_once("__") else {
            let message = format!("unknown variable; write {PREFIX}SECTION__KEY");
            mistakes.push((place, message));
            continue;
        };
        if matches!(section, "endpoint" | "sink") {
            let message = format!(
                "each [[{section}]] is set in the config file; give it a secret with {{ env = \"NAME\" }}"
            );
            mistakes.push((place, message));
            continue;
        }
        if !sections.contains(&section) {
            let meant = super::suggest::nearest(section, sections.iter().copied())
                .map(|section| format!("{PREFIX}{section}__{key}").to_uppercase())
                .map(|meant| format!("; did you mean {meant}?"))
                .unwrap_or_default();
            mistakes.push((place, format!("unknown section {section:?}{meant}")));
            continue;
        }
        let Some(value) = value.to_str() else {
            mistakes.push((place, "the value is not UTF-8".to_owned()));
            continue;
        };
        let node = Node {
            place: place.clone(),
            value: Value::Variable(value.to_owned()),
        };
        set(
            root,
            section,
            Entry {
                key: key.to_owned(),
                place,
                node,
            },
        );
    }
    mistakes
}

fn set(root: &mut Vec<Entry>, section: &str, entry: Entry) {
    let at = root
        .iter()
        .position(|known| known.key == section)
        .unwrap_or_else(|| {
            let place = entry.place.clone();
            let node = Node {
                place: place.clone(),
                value: Value::Table(Vec::new()),
            };
            root.push(Entry {
                key: section.to_owned(),
                place,
                node,
            });
            root.len() - 1
        });
    // When the file has something else in its place, the reader says so.
    if let Value::Table(table) = &mut root[at].node.value {
        table.retain(|known| known.key != entry.key);
        table.push(entry);
    }
}

fn entries(table: &DeTable<'_>) -> Vec<Entry> {
    table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            place: Location::File(key.span().start),
            node: node(value.span().start, value.get_ref()),
        })
        .collect()
}

fn node(offset: usize, value: &DeValue<'_>) -> Node {
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| node(item.span().start, item.get_ref()))
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(entries(table)),
        DeValue::Float(_) => Value::Other("a decimal number"),
        DeValue::Datetime(_) => Value::Other("a date"),
    };
    Node {
        place: Location::File(offset),
        value,
    }
}
