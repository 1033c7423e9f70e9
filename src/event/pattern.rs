//! Patterns of types: `*` stands for any characters, everything else for itself. What ends in `.*` stands for the type
//! before it as well: `whatsapp.message.*` for `whatsapp.message`, a message that does not say what it is.
//!
//! A pattern that somebody writes is checked here, wherever it is written: one that fits no type would let nothing
//! through, without a word.

use super::whatsapp::kind::known_types;
use std::str::FromStr;

/// A pattern such as `whatsapp.message.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// A pattern that was checked when it was written.
    pub fn new(text: &str) -> Pattern {
        Pattern(text.into())
    }

    /// True if the pattern stands for all of `text`. At most as many steps as the product of both lengths.
    pub fn matches(&self, text: &str) -> bool {
        let stem = self.0.strip_suffix(".*");
        stands_for(&self.0, text) || stem.is_some_and(|stem| stands_for(stem, text))
    }

    /// True if a known type is among those that it stands for. Of other senders than the platform none is
    /// known, and every one may be.
    pub fn fits_known(&self) -> bool {
        let literal = self.0.split('*').next().unwrap_or_default();
        !literal.starts_with(PREFIXES[0]) || known_types().any(|(kind, _)| self.matches(kind))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why something is no pattern of types.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A character that no type has.
    #[error("{0:?} stands in no type; a pattern is a type in which * stands for any characters")]
    Odd(char),
    /// It begins like none.
    #[error("{0:?} fits no type, for each starts with {starts}; did you mean {1:?}?", starts = starts())]
    Unfit(String, String),
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        let is_odd = |c: &char| !c.is_ascii_graphic() || "?[]{}".contains(*c);
        if let Some(odd) = text.chars().find(is_odd) {
            return Err(PatternError::Odd(odd));
        }
        let literal = text.split('*').next().unwrap_or_default();
        let fits = |prefix: &&str| {
            if literal.len() < text.len() {
                literal.starts_with(*prefix) || prefix.starts_with(literal)
            } else {
                text.len() > prefix.len() && text.starts_with(*prefix)
            }
        };
        if PREFIXES.iter().any(fits) {
            return Ok(Pattern::new(text));
        }
        Err(PatternError::Unfit(text.to_owned(), meant(text)))
    }
}

/// What somebody meant: a prefix that was mistyped is replaced, one that is missing is put before it.
fn meant(text: &str) -> String {
    let rest = text.trim_start_matches('.');
    let (first, behind) = rest.split_once('.').unwrap_or((rest, "*"));
    let begin = first.get(..3).map(str::to_ascii_lowercase);
    let alike = |prefix: &&&str| {
        begin
            .as_ref()
            .is_some_and(|begin| prefix.starts_with(begin))
    };
    match PREFIXES.iter().find(alike) {
        Some(prefix) => format!("{prefix}{behind}"),
        None => format!("{}{rest}", PREFIXES[0]),
    }
}

fn starts() -> String {
    PREFIXES.map(|prefix| format!("{prefix:?}")).join(" or ")
}

/// True if the pattern stands for all of `text`.
fn stands_for(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Behind the last star, and where in the text what follows it is tried.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((behind, tried)) = star {
            (p, t) = (behind, tried + 1);
            star = Some((behind, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// What types begin with: those of the platform, and those of other senders.
const PREFIXES: [&str; 2] = ["whatsapp.", "webhook."];

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn what_fits_no_type_is_refused_with_what_was_meant() {
        for (pattern, expected) in [
            ("message.*", "did you mean \"whatsapp.message.*\"?"),
            (".status.sent", "did you mean \"whatsapp.status.sent\"?"),
            ("whatsap.message.*", "did you mean \"whatsapp.message.*\"?"),
            ("webhooks.*", "did you mean \"webhook.*\"?"),
            ("WhatsApp.message.*", "did you mean \"whatsapp.message.*\"?"),
            ("WHATSAPP.X", "did you mean \"whatsapp.X\"?"),
            ("whatsapp.", "did you mean"),
            ("", "did you mean \"whatsapp."),
            ("whatsapp.message.?", "'?' stands in no type"),
            ("whatsapp.message text", "' ' stands in no type"),
        ] {
            let refused = pattern.parse::<Pattern>().unwrap_err().to_string();
            assert!(refused.contains(expected), "{pattern}: {refused}");
        }
        for pattern in [
            "whatsapp.*",
            "webhook.received",
            "w*",
            "*.sent",
            "*",
            "whatsapp*",
        ] {
            assert_eq!(pattern.parse::<Pattern>(), Ok(Pattern::new(pattern)));
        }
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, expected) in [
            ("whatsapp.message.*", "whatsapp.message.text", true),
            ("whatsapp.message.*", "whatsapp.status.sent", false),
            ("*.text", "whatsapp.message.text", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXcXb", false),
            ("*ab", "aab", true),
            ("a**", "a", true),
            ("whatsapp", "whatsapp.empty", false),
            // A message without a type.
            ("whatsapp.message.*", "whatsapp.message", true),
            ("whatsapp.message.*", "whatsapp.message_echoes", false),
            ("whatsapp.*.*", "whatsapp.message", true),
            ("*.*", "a", true),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(text),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = Pattern::new("*a".repeat(50).as_str());
        assert!(!pattern.matches(&"b".repeat(10_000)));
        assert!(!pattern.matches(&"a".repeat(49)));
    }
}
