//! Patterns of types, as in `whatsapp.message.*`.

/// True if `kind` is what the pattern describes: `*` stands for any characters, also none; every other character for
/// itself. Takes at most the product of both lengths.
#[must_use]
pub fn fits(pattern: &str, kind: &str) -> bool {
    let (mut pattern, mut kind) = (pattern.as_bytes(), kind.as_bytes());
    // Behind the last star, and where it was tried to end. An earlier star never has to take more: what could stand
    // between the two stood there already.
    let mut star = None;
    loop {
        match (pattern, kind) {
            ([], []) => return true,
            ([b'*', behind @ ..], _) => {
                star = Some((behind, kind));
                pattern = behind;
            }
            ([one, behind @ ..], [other, rest @ ..]) if one == other => {
                (pattern, kind) = (behind, rest);
            }
            _ => {
                let Some((behind, [_, rest @ ..])) = star else {
                    return false;
                };
                star = Some((behind, rest));
                (pattern, kind) = (behind, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, expected) in [
            ("whatsapp.message.*", "whatsapp.message.text", true),
            ("whatsapp.message.*", "whatsapp.status.sent", false),
            ("*.text", "whatsapp.message.text", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXcXb", false),
            ("whatsapp", "whatsapp.empty", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// `hookline tail --type` tried every length of every star, and stood still at a pattern of a dozen stars.
    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(30) + "b";
        assert!(!fits(&pattern, &"a".repeat(100)));
    }

    /// What a pattern means, tried out.
    fn means(pattern: &[u8], kind: &[u8]) -> bool {
        match pattern {
            [] => kind.is_empty(),
            [b'*', rest @ ..] => (0..=kind.len()).any(|skipped| means(rest, &kind[skipped..])),
            [octet, rest @ ..] => kind
                .split_first()
                .is_some_and(|(first, kind)| first == octet && means(rest, kind)),
        }
    }

    proptest! {
        #[test]
        fn it_means_what_trying_all_says(pattern in "[ab*]{0,8}", kind in "[ab]{0,10}") {
            prop_assert_eq!(fits(&pattern, &kind), means(pattern.as_bytes(), kind.as_bytes()));
        }
    }
}
