//! Where a sink begins that has no position, and whose position it takes over.

use super::is_reserved;
use crate::config::finding::Location;
use crate::config::reader::{Reading, Section, check_name};
use jiff::Timestamp;

/// How a sink comes into life. A sink that has a position goes on there, whatever this says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    pub start: Start,
    /// The name that the sink had before: its cursor, dead letters and replays are taken over.
    pub former_name: Option<String>,
}

/// What of the journal is for a sink that has no cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// What comes from now on.
    #[default]
    Now,
    /// Everything that there is.
    Oldest,
    /// What was received at this time or later, in microseconds since 1970.
    At(u64),
}

pub(super) fn read(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Life {
    let place = section.place_of("start");
    let start = section.text(reading, "start");
    let start = start.and_then(|text| {
        let start = parse(text);
        if start.is_none() {
            let message = format!(
                "start must be \"now\", \"oldest\" or a time as in \"2026-11-30T08:00:00Z\", found {text:?}"
            );
            reading.mistake(&place, message);
        }
        start
    });
    let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0);
    if matches!(start, Some(Start::At(at)) if at > now) {
        let message = "start lies in the future: where the sink has no cursor yet, it begins with what comes next";
        reading.warning(&place, message);
    }
    let former_name = section.text(reading, "former_name").map(str::to_owned);
    if let Some(name) = &former_name {
        let place = section.place_of("former_name");
        check_name(reading, &place, name);
        if let Some(why) = is_reserved(name) {
            let message = format!("former_name: no sink was called {name:?}: {why}");
            reading.mistake(&place, message);
        }
    }
    Life {
        start: start.unwrap_or_default(),
        former_name,
    }
}

/// Notes former names that cannot be taken over: each sink with where its former name stands.
pub(super) fn check<'s>(
    reading: &mut Reading<'_>,
    sinks: &(impl Iterator<Item = (&'s str, &'s Life, &'s Location)> + Clone),
) {
    for (index, (name, life, place)) in sinks.clone().enumerate() {
        let Some(former) = &life.former_name else {
            continue;
        };
        let mut before = sinks.clone().take(index);
        let message = if former == name {
            format!("former_name = {former:?} is the name of the sink itself; remove it")
        } else if sinks.clone().any(|(other, ..)| other == former) {
            format!(
                "former_name = {former:?} is the name of another sink now, whose place cannot be taken over; give that one \
                 another name, or remove former_name"
            )
        } else if let Some((other, ..)) =
            before.find(|(_, other, _)| other.former_name.as_ref() == Some(former))
        {
            format!("sink {other:?} has former_name = {former:?} too; only one can take that over")
        } else {
            continue;
        };
        reading.mistake(place, message);
    }
}

fn parse(text: &str) -> Option<Start> {
    match text {
        "now" => Some(Start::Now),
        "oldest" => Some(Start::Oldest),
        _ => {
            let at: Timestamp = text.parse().ok()?;
            u64::try_from(at.as_microsecond()).ok().map(Start::At)
        }
    }
}
