//! Patterns of types: `whatsapp.message.*`.

/// True if `text` is what `pattern` says: `*` stands for any octets, everything else for itself.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut place) = (0, 0);
    // Behind the last star, and where what it stands for ends so far.
    let mut star: Option<(usize, usize)> = None;
    while let Some(octet) = text.get(place) {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                at += 1;
                star = Some((at, place));
            }
            (Some(own), _) if own == octet => (at, place) = (at + 1, place + 1),
            (_, Some((behind, end))) => {
                (at, place) = (behind, end + 1);
                star = Some((behind, end + 1));
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(at).all(|octet| *octet == b'*')
}

/// True if one of the patterns says what `text` is, or if there are none.
#[must_use]
pub fn matches_any(patterns: &[String], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, text))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("whatsapp.message.*", "whatsapp.message.text", true),
            ("whatsapp.message.*", "whatsapp.status.sent", false),
            ("*.text", "whatsapp.message.text", true),
            ("*.text", "a.text.text", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("**", "a", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXcXb", false),
            ("whatsapp", "whatsapp.empty", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// Tried with a call for each star, one line of stars took longer than anybody waits.
    #[test]
    fn many_stars_are_no_more_work() {
        let pattern = "*a".repeat(40) + "b";
        assert!(!matches(&pattern, &"a".repeat(100)));
    }
}
