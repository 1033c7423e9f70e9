//! What consumers ask for.
//!
//! | parameter of `/v1/events` | |
//! |---|---|
//! | `sink` | its name |
//! | `after` | `SEQ.INDEX`, the `position` of the last event that was had, or what `Hookline-Next` said; 0 is the begin of what there is. Without it: what was committed |
//! | `lane` | `messages`, `statuses` or `rest` alone, with a cursor of its own |
//! | `limit` | events at most, [`LIMIT_DEFAULT`] if not said, up to [`LIMIT_MAX`] |
//! | `wait` | how long to wait for an event, as in `30s`; more than [`WAIT_MAX`] counts as that |

use crate::config::parse_time;
use crate::event::{Item, Lane, NoLane};
use crate::sink::Ask;
use serde::Deserialize;
use std::time::Duration;

pub(super) struct Poll {
    pub(super) ask: Ask,
    pub(super) wait: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) position: Item,
    pub(super) lane: Option<Lane>,
}

/// The value of a parameter as it stands there; none of ours needs an escape.
pub(super) fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(found, value)| (found == name).then_some(value))
}

impl Poll {
    /// Reads it; the error says what is wrong.
    pub(super) fn parse(query: &str) -> Result<Poll, String> {
        let mut ask = Ask {
            after: None,
            lane: None,
            limit: LIMIT_DEFAULT,
        };
        let mut wait = Duration::ZERO;
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if seen.contains(&name) {
                return Err(format!("{name} stands there twice"));
            }
            seen.push(name);
            match name {
                "sink" => {}
                "after" => ask.after = Some(position(value)?),
                "lane" => ask.lane = Some(lane(value)?),
                "limit" => ask.limit = limit(value)?,
                "wait" => wait = time(value)?,
                _ => {
                    return Err(format!(
                        "there is no parameter {name:?}; there are sink, after, lane, limit, wait"
                    ));
                }
            }
        }
        Ok(Poll { ask, wait })
    }
}

impl Commit {
    /// Reads the body of a request; the error says what is wrong.
    pub(super) fn parse(body: &[u8]) -> Result<Commit, String> {
        let said: Said = serde_json::from_slice(body).map_err(|error| {
            format!("the body is to be {{\"position\": \"SEQ.INDEX\"}}, with \"lane\" if it is for one alone: {error}")
        })?;
        Ok(Commit {
            position: match said.position {
                Number::Whole(sequence) => Item {
                    sequence,
                    index: None,
                },
                Number::Text(text) => position(&text)?,
            },
            lane: said.lane.as_deref().map(lane).transpose()?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(alias = "after")]
    position: Number,
    lane: Option<String>,
}

/// A number with a point would be another one: 7.10 is not 7.1.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a position as in \"4711.3\"")]
enum Number {
    Whole(u64),
    Text(String),
}

fn position(text: &str) -> Result<Item, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

fn lane(text: &str) -> Result<Lane, String> {
    text.parse().map_err(|error: NoLane| error.to_string())
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|it| (1..=LIMIT_MAX).contains(it));
    limit.ok_or_else(|| format!("limit {text:?} is not a number from 1 to {LIMIT_MAX}"))
}

/// Seconds without a unit will do.
fn time(text: &str) -> Result<Duration, String> {
    let milliseconds = match text.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1000),
        Err(_) => parse_time(text).map_err(|error| format!("wait: {error}"))?,
    };
    Ok(Duration::from_millis(milliseconds).min(WAIT_MAX))
}

/// Events of an answer where nothing is said.
const LIMIT_DEFAULT: usize = 100;

/// Events of an answer at most.
const LIMIT_MAX: usize = 10_000;

/// Longest wait; proxies give up sooner or later too.
pub(super) const WAIT_MAX: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::{Commit, Poll, WAIT_MAX, parameter};
    use crate::event::Lane;
    use std::time::Duration;

    #[test]
    fn parameters_are_read() {
        let poll = Poll::parse("sink=crm&after=7.3&lane=statuses&limit=5&wait=1500ms").unwrap();
        assert_eq!(poll.ask.after, Some("7.3".parse().unwrap()));
        assert_eq!(poll.ask.lane, Some(Lane::Statuses));
        assert_eq!(
            (poll.ask.limit, poll.wait),
            (5, Duration::from_millis(1500))
        );
        let poll = Poll::parse("").unwrap();
        assert_eq!(
            (poll.ask.after, poll.ask.limit, poll.wait),
            (None, 100, Duration::ZERO)
        );
        assert_eq!(
            Poll::parse("wait=30").unwrap().wait,
            Duration::from_secs(30)
        );
        for long in ["wait=61s", "wait=18446744073709551615"] {
            assert_eq!(Poll::parse(long).unwrap().wait, WAIT_MAX, "{long}");
        }
        assert_eq!(parameter("after=1&sink=crm", "sink"), Some("crm"));
        assert_eq!(parameter("xsink=crm", "sink"), None);
    }

    #[test]
    fn what_nobody_can_have_meant_is_refused() {
        for query in [
            "after=",
            "after=x",
            "after=-1",
            "after=7.3.1",
            "after=7%2E3",
            "lane=all",
            "limit=0",
            "limit=10001",
            "limit=-1",
            "wait=",
            "wait=soon",
            "limti=1",
            "after=1&after=2",
        ] {
            assert!(Poll::parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn commits_are_read() {
        let commit = |body: &str| Commit::parse(body.as_bytes());
        let read = commit("{\"position\":\"7.3\",\"lane\":\"rest\"}").unwrap();
        assert_eq!(
            (read.position.to_string().as_str(), read.lane),
            ("7.3", Some(Lane::Rest))
        );
        for body in [
            "{\"position\":7}",
            "{\"after\":\"7\"}",
            "{\"position\":\"7\",\"lane\":null}",
        ] {
            let read = commit(body).unwrap();
            assert_eq!(
                (read.position.to_string().as_str(), read.lane),
                ("7", None),
                "{body}"
            );
        }
        for body in [
            "",
            "{}",
            "7",
            "{\"position\":7.3}",
            "{\"position\":-1}",
            "{\"position\":\"\"}",
            "{\"position\":\"7\",\"position\":\"8\"}",
            "{\"position\":\"7\",\"lanes\":\"rest\"}",
            "{\"position\":\"7\",\"lane\":\"all\"}",
            "{\"position\":\"7\"}x",
        ] {
            assert!(commit(body).is_err(), "{body}");
        }
        let old = commit("{\"sequence\":\"7.3\"}").unwrap_err();
        let names = ["to be {\"position\": ", "unknown field `sequence`"];
        assert!(names.iter().all(|name| old.contains(name)), "{old}");
    }
}
