//! Names in a target that follow from the event: subjects, topics, routing keys, prefixes.
//!
//! `whatsapp.{endpoint}.{lane}.{type}` is text and placeholders:
//!
//! | placeholder | is |
//! |---|---|
//! | `{provider}`, `{endpoint}` | the provider and the name of the endpoint, as when the notification was stored |
//! | `{lane}` | `messages`, `statuses` or `rest` |
//! | `{type}` | the type, with its dots |
//! | `{phone_number_id}`, `{waba}` | the number and the account of the business, of the platform's events |
//! | `{conversation}` | the subject of the event |
//!
//! What the target's names cannot hold is replaced by `_`, and so is what is empty. A value of more than [`VALUE_MAX`]
//! bytes is cut, and ends with its checksum. The same value gives the same name each time.

use crate::event::{Event, Lane};
use crate::worker::{Forms, Notification};
use std::fmt::Write as _;

/// A name with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Placeholder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    Provider,
    Endpoint,
    Lane,
    Type,
    PhoneNumberId,
    Waba,
    Conversation,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its other one.
    #[error("a brace stands alone; a placeholder is written {{lane}}")]
    Brace,
    /// It stands for nothing.
    #[error("there is no placeholder {{{0}}}; known are {list}", list = known())]
    Unknown(String),
    /// The text between the placeholders.
    #[error("{0}")]
    Text(&'static str),
}

impl Template {
    /// Takes any text whose braces are placeholders.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, behind) = rest.split_at(at);
            let Some((name, after)) = behind.strip_prefix('{').and_then(|it| it.split_once('}'))
            else {
                return Err(TemplateError::Brace);
            };
            let found = PLACEHOLDERS.iter().find(|(known, _)| *known == name);
            let Some((_, placeholder)) = found else {
                return Err(TemplateError::Unknown(name.to_owned()));
            };
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Value(*placeholder));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Template(pieces))
    }

    /// The same for a subject of NATS: words with dots between them, none of them empty, without `*`, `>` and white
    /// space.
    pub fn parse_subject(text: &str) -> Result<Template, TemplateError> {
        let template = Template::parse(text)?;
        if text.is_empty() {
            return Err(TemplateError::Text("it is empty"));
        }
        let mut words = text.split('.');
        if words.any(str::is_empty) {
            let empty = "there is nothing before, behind or between two of its dots";
            return Err(TemplateError::Text(empty));
        }
        let odd = |c: char| matches!(c, '*' | '>') || c.is_whitespace() || c.is_control();
        if text.contains(odd) {
            let odd = "it holds * or > or white space, which no subject can hold";
            return Err(TemplateError::Text(odd));
        }
        Ok(template)
    }

    /// The same for a topic of Kafka: up to 249 letters of ASCII, digits, dots, dashes and underscores, and neither `.`
    /// nor `..`.
    pub fn parse_topic(text: &str) -> Result<Template, TemplateError> {
        let template = Template::parse(text)?;
        let mut pieces = template.0.iter();
        if text.is_empty() {
            return Err(TemplateError::Text("it is empty"));
        }
        if !pieces.all(|it| matches!(it, Piece::Value(_)) || it.is_text_of(is_in_topics)) {
            let odd = "it holds what no topic can: a name is letters of ASCII, digits, dots, dashes and underscores";
            return Err(TemplateError::Text(odd));
        }
        if text == "." || text == ".." || text.len() > TOPIC_MAX {
            return Err(TemplateError::Text(
                "no topic can have this name: 1 to 249 characters, and neither . nor ..",
            ));
        }
        Ok(template)
    }

    /// The name itself, where it is the same for all events.
    #[cfg(feature = "kafka")]
    pub fn fixed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// True if `{lane}` is among its placeholders, or is the only one with `alone`.
    pub fn names_lanes(&self, alone: bool) -> bool {
        let mut values = self.0.iter().filter_map(|piece| match piece {
            Piece::Value(placeholder) => Some(*placeholder == Placeholder::Lane),
            Piece::Text(_) => None,
        });
        if alone {
            values.all(|is_lane| is_lane)
        } else {
            values.any(|is_lane| is_lane)
        }
    }

    /// The name for what is in a lane, where there is no other placeholder.
    pub fn of_lane(&self, lane: Lane) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Value(_) => lane.name(),
        });
        pieces.collect()
    }

    /// What all names have in common that are made by it, as a subject with a wildcard: the words before the first
    /// placeholder and `>`, or the name itself if there is none. `None` if it begins with a placeholder.
    pub fn wildcard(&self) -> Option<String> {
        match self.0.as_slice() {
            [Piece::Text(text)] => Some(text.clone()),
            [Piece::Text(text), ..] => {
                let (words, _) = text.rsplit_once('.')?;
                Some(format!("{words}.>"))
            }
            _ => None,
        }
    }

    /// Appends the name for an event as a subject of NATS, which AMQP takes, too.
    pub fn subject(
        &self,
        event: Event<'_>,
        notification: Notification<'_>,
        forms: &Forms,
        out: &mut String,
    ) {
        self.append(event, notification, forms, is_in_subjects, out);
    }

    /// Makes `out` the name for an event as a topic of Kafka.
    #[cfg(feature = "kafka")]
    pub fn topic(
        &self,
        event: Event<'_>,
        notification: Notification<'_>,
        forms: &Forms,
        out: &mut String,
    ) {
        out.clear();
        self.append(event, notification, forms, is_in_topics, out);
        if out.len() > TOPIC_MAX {
            let checksum = crc32c::crc32c(out.as_bytes());
            out.truncate(TOPIC_MAX - CHECKSUM_LEN);
            let _ = write!(out, "-{checksum:08x}");
        }
    }

    /// Appends the name for an event, with `_` for what a value holds that does not stand in names.
    fn append(
        &self,
        event: Event<'_>,
        notification: Notification<'_>,
        forms: &Forms,
        stands_in_names: fn(char) -> bool,
        out: &mut String,
    ) {
        let word = |out: &mut String, value: &str, keeps_dots| {
            word(out, value, keeps_dots, stands_in_names);
        };
        for piece in &self.0 {
            let placeholder = match piece {
                Piece::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Value(placeholder) => *placeholder,
            };
            let form = || forms.by_flags(notification.record.flags);
            match placeholder {
                Placeholder::Provider => {
                    let form = form();
                    word(out, form.as_ref().map_or("", |it| &it.provider), false);
                }
                Placeholder::Endpoint => {
                    let form = form();
                    word(out, form.as_ref().map_or("", |it| &it.endpoint), false);
                }
                Placeholder::Lane => out.push_str(event.lane().name()),
                Placeholder::Type => word(out, event.kind(), true),
                Placeholder::PhoneNumberId => {
                    word(out, event.phone_number_id().unwrap_or_default(), false);
                }
                Placeholder::Waba => word(out, event.waba().unwrap_or_default(), false),
                Placeholder::Conversation => word(out, event.subject().unwrap_or_default(), false),
            }
        }
    }
}

impl Piece {
    fn is_text_of(&self, characters: fn(char) -> bool) -> bool {
        matches!(self, Piece::Text(text) if text.chars().all(characters))
    }
}

/// What a subject can hold.
fn is_in_subjects(c: char) -> bool {
    !(matches!(c, '*' | '>') || c.is_whitespace() || c.is_control())
}

/// What a topic can hold.
fn is_in_topics(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// Appends a value as one word of a name, or as several with dots between them, of which none is empty.
fn word(out: &mut String, value: &str, keeps_dots: bool, stands_in_names: fn(char) -> bool) {
    let end = if value.len() > VALUE_MAX {
        value.floor_char_boundary(VALUE_MAX - CHECKSUM_LEN)
    } else {
        value.len()
    };
    let mut is_empty = true;
    for c in value.get(..end).unwrap_or_default().chars() {
        if c == '.' && keeps_dots {
            if is_empty {
                out.push('_');
            }
            out.push('.');
            is_empty = true;
            continue;
        }
        let is_taken = c != '.' && stands_in_names(c);
        out.push(if is_taken { c } else { '_' });
        is_empty = false;
    }
    if is_empty {
        out.push('_');
    }
    if end < value.len() {
        let checksum = crc32c::crc32c(value.as_bytes());
        // A string takes everything.
        let _ = write!(out, "-{checksum:08x}");
    }
}

fn known() -> String {
    let names = PLACEHOLDERS.map(|(name, _)| format!("{{{name}}}"));
    names.join(" ")
}

const PLACEHOLDERS: [(&str, Placeholder); 7] = [
    ("provider", Placeholder::Provider),
    ("endpoint", Placeholder::Endpoint),
    ("lane", Placeholder::Lane),
    ("type", Placeholder::Type),
    ("phone_number_id", Placeholder::PhoneNumberId),
    ("waba", Placeholder::Waba),
    ("conversation", Placeholder::Conversation),
];

/// Longest value, in bytes.
pub const VALUE_MAX: usize = 200;

/// Longest name of a topic.
const TOPIC_MAX: usize = 249;

/// A dash and eight digits.
const CHECKSUM_LEN: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_words_and_placeholders() {
        for text in [
            "whatsapp",
            "whatsapp.{endpoint}.{lane}.{type}",
            "{provider}-{waba}",
        ] {
            assert!(Template::parse_subject(text).is_ok(), "{text}");
        }
        for (text, part) in [
            ("", "empty"),
            ("a..b", "between two of its dots"),
            (".a", "before"),
            ("a.{lane}.", "behind"),
            ("a.*", "white space"),
            ("a b", "white space"),
            ("a.{lane", "a brace stands alone"),
            ("a.}", "a brace stands alone"),
            (
                "{lnae}",
                "no placeholder {lnae}; known are {provider} {endp",
            ),
        ] {
            let error = Template::parse_subject(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_topic_is_letters_digits_dashes_and_placeholders() {
        for text in ["whatsapp", "a-b_c.{lane}", "{type}", "..."] {
            assert!(Template::parse_topic(text).is_ok(), "{text}");
        }
        let long = "a".repeat(250);
        for (text, part) in [
            ("", "empty"),
            ("a b", "what no topic can"),
            ("a/{lane}", "what no topic can"),
            ("gr\u{f6}\u{df}e", "what no topic can"),
            ("..", "neither . nor .."),
            (long.as_str(), "1 to 249"),
            ("{lnae}", "no placeholder"),
        ] {
            let error = Template::parse_topic(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let mut out = String::new();
        word(&mut out, "größe 1.2", true, is_in_topics);
        assert_eq!(out, "gr__e_1.2");
    }

    #[test]
    fn what_is_common_to_all_names_is_the_text_before_the_first_placeholder() {
        for (text, wildcard) in [
            ("whatsapp.{endpoint}.{lane}", Some("whatsapp.>")),
            ("a.b{lane}", Some("a.>")),
            ("a.b", Some("a.b")),
            ("a{lane}", None),
            ("{lane}.a", None),
        ] {
            let template = Template::parse_subject(text).expect("valid");
            assert_eq!(template.wildcard().as_deref(), wildcard, "{text}");
        }
    }

    #[test]
    fn what_no_word_can_hold_is_replaced_the_same_way_each_time() {
        let shown = |value: &str, keeps_dots| {
            let mut out = String::new();
            word(&mut out, value, keeps_dots, is_in_subjects);
            out
        };
        for (value, as_word, as_words) in [
            ("a.b", "a_b", "a.b"),
            ("", "_", "_"),
            ("a b\t*>", "a_b___", "a_b___"),
            (".a..b.", "_a__b_", "_.a._.b._"),
            ("größe", "größe", "größe"),
        ] {
            assert_eq!(shown(value, false), as_word, "{value}");
            assert_eq!(shown(value, true), as_words, "{value}");
        }
        let long = "ä".repeat(150);
        let other = format!("{long}b");
        assert!(shown(&long, false).len() <= VALUE_MAX);
        assert_eq!(shown(&long, false), shown(&long, false));
        assert_ne!(shown(&long, false), shown(&other, false));
    }
}
