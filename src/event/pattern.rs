//! Patterns of types: `*` stands for any characters, everything else for itself.

use std::convert::Infallible;
use std::str::FromStr;

/// A pattern such as `whatsapp.message.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// True if the pattern stands for all of `text`. At most as many steps as the product of both lengths.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
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
        pattern[p..].iter().all(|octet| *octet == b'*')
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Pattern {
        Pattern(text.into())
    }
}

impl FromStr for Pattern {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Pattern, Infallible> {
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

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
        ] {
            assert_eq!(
                Pattern::from(pattern).matches(text),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = Pattern::from("*a".repeat(50).as_str());
        assert!(!pattern.matches(&"b".repeat(10_000)));
        assert!(!pattern.matches(&"a".repeat(49)));
    }
}
