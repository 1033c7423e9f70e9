//! Which events a sink is for.

use super::super::endpoint::Endpoint;
use crate::config::document::{Node, Value};
use crate::config::reader::{Reading, Section};
use crate::config::suggest::{did_you_mean, doubtful_type};
use crate::event::Pattern;

/// What a sink delivers; an empty list lets everything through. An event passes if every list lets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Patterns of types, in which `*` stands for any characters. Any of them will do.
    pub types: Vec<String>,
    /// The numbers of the business, as the platform identifies them.
    pub phone_number_ids: Vec<String>,
    /// The accounts of the business, as the platform identifies them.
    pub wabas: Vec<String>,
    /// Paths of endpoints.
    pub endpoints: Vec<String>,
}

impl Filter {
    /// True if everything passes.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }
}

pub(super) fn read(
    reading: &mut Reading<'_>,
    section: &mut Section<'_>,
    endpoints: Option<&[Endpoint]>,
) -> Filter {
    for (text, place) in section.texts(reading, "types").into_iter().flatten() {
        let doubt = text.parse().ok().and_then(|it| doubtful_type(&it));
        if let Some(doubt) = doubt {
            reading.warning(&place, format!("types: {doubt}"));
        }
    }
    Filter {
        types: listed(reading, section, "types", check_type),
        phone_number_ids: listed(reading, section, "phone_number_ids", check_id),
        wabas: listed(reading, section, "wabas", check_id),
        endpoints: listed(reading, section, "endpoints", |path| {
            endpoints.map_or(Ok(()), |known| check_path(path, known))
        }),
    }
}

/// A list that is not there lets everything through. One that is there and empty would let nothing through, and is
/// more likely a mistake.
fn listed(
    reading: &mut Reading<'_>,
    section: &mut Section<'_>,
    key: &'static str,
    check: impl Fn(&str) -> Result<(), String>,
) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    let Some(texts) = section.texts(reading, key) else {
        return list;
    };
    let none = |node: &Node| matches!(&node.value, Value::List(items) if items.is_empty());
    if section.node(key).is_some_and(none) {
        let message = format!("{key} is an empty list; leave it out to take everything");
        reading.mistake(&section.place_of(key), message);
    }
    for (text, place) in texts {
        if let Err(message) = check(text) {
            reading.mistake(&place, format!("{key}: {message}"));
        } else if !list.iter().any(|known| known == text) {
            list.push(text.to_owned());
        }
    }
    list
}

fn check_type(pattern: &str) -> Result<(), String> {
    let checked = pattern.parse::<Pattern>().map(drop);
    checked.map_err(|error| error.to_string())
}

fn check_id(id: &str) -> Result<(), String> {
    if !id.is_empty() && id.len() <= ID_MAX && id.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(());
    }
    Err(format!(
        "{id:?} is no id: it has characters that no id has, or too many"
    ))
}

fn check_path(path: &str, known: &[Endpoint]) -> Result<(), String> {
    if known.iter().any(|endpoint| endpoint.path == path) {
        return Ok(());
    }
    let meant = match known.iter().find(|endpoint| endpoint.name == path) {
        Some(named) => format!("; did you mean its path, {:?}?", named.path),
        None => did_you_mean(path, known.iter().map(|endpoint| endpoint.path.as_str())),
    };
    Err(format!(
        "there is no endpoint with the path {path:?}{meant}"
    ))
}

/// Longest id, in bytes.
const ID_MAX: usize = 256;
