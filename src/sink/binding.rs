//! What the bindings of `CloudEvents` have in common (HTTP section 3.1.3.2, NATS section 3.1.3.2, Kafka section 3.2).

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::borrow::Cow;

/// The value of an attribute as a field holds it: spaces, quotes, percent signs and what is no printable ASCII are
/// percent-encoded.
pub fn percent_encoded(value: &str) -> Cow<'_, str> {
    utf8_percent_encode(value, &ENCODED).into()
}

/// The media type of data that goes by itself, as a field holds it. One by which receivers know a whole event is the
/// sender's to say, and not passed on: they would take his body for the event, with whatever type and source stands
/// in it.
pub fn data_type(said: &str, is_json: bool) -> &str {
    let begin = said.trim_ascii_start().get(..EVENT.len());
    let names_event = begin.is_some_and(|begin| begin.eq_ignore_ascii_case(EVENT));
    let is_odd = said.chars().any(|c| !(' '..='~').contains(&c));
    match (names_event || is_odd, is_json) {
        (false, _) => said,
        (true, true) => "application/json",
        (true, false) => "application/octet-stream",
    }
}

/// What is encoded, beside all that is not ASCII.
const ENCODED: AsciiSet = CONTROLS.add(b' ').add(b'"').add(b'%');

/// What the media types of events begin with.
const EVENT: &str = "application/cloudevents";

#[cfg(test)]
mod tests {
    use super::data_type;

    /// A sender's body that says it were an event must not be taken for one.
    #[test]
    fn data_is_never_sent_as_a_whole_event() {
        for (said, is_json, expected) in [
            ("application/json", true, "application/json"),
            (
                "text/csv; header=present",
                false,
                "text/csv; header=present",
            ),
            ("application/cloudevents+json", true, "application/json"),
            (
                "Application/CloudEvents-Batch+JSON; charset=utf-8",
                true,
                "application/json",
            ),
            (
                "application/cloudevents+json",
                false,
                "application/octet-stream",
            ),
            ("text/\nplain", true, "application/json"),
        ] {
            assert_eq!(data_type(said, is_json), expected, "{said}");
        }
    }
}
