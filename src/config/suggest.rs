//! "Did you mean …?": the known word that is nearest to a mistyped one.

use crate::event::{Pattern, known_types};

/// The word of `known` that `typed` was probably meant to be, if one is near enough.
#[must_use]
pub fn nearest<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let typed = typed.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|word| {
            let folded = word.to_lowercase().replace('-', "_");
            (distance(&typed, &folded), word)
        })
        // A third of the letters may be wrong: more is a different word.
        .filter(|(distance, word)| *distance <= word.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// `; did you mean "…"?`, or nothing.
pub(super) fn did_you_mean<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(typed, known)
        .map(|word| format!("; did you mean {word:?}?"))
        .unwrap_or_default()
}

/// What is doubtful about a pattern of types: no type that is known fits it. It may be one that is new.
#[must_use]
pub fn doubtful_type(pattern: &Pattern) -> Option<String> {
    if pattern.fits_known() {
        return None;
    }
    let written = pattern.as_str();
    // All begin with the same word, and behind it nothing may be said.
    let part = |kind: &'static str| kind.split_once('.').map_or(kind, |(_, part)| part);
    let typed = written.split_once('.').map_or(written, |(_, part)| part);
    let typed = typed.strip_suffix(".*").unwrap_or(typed);
    let known = || known_types().map(|(kind, is_family)| (part(kind), kind, is_family));
    let meant = nearest(typed, known().map(|(part, ..)| part));
    let meant = meant.and_then(|meant| known().find(|(part, ..)| *part == meant));
    let meant = meant.map(|(_, kind, is_family)| {
        let all = if is_family { ".*" } else { "" };
        format!("; did you mean \"{kind}{all}\"?")
    });
    Some(format!(
        "no type that is known fits {written:?}{}",
        meant.unwrap_or_default()
    ))
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other
/// (optimal string alignment). Long input is cut: nothing known is that long.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(LONGEST).collect();
    let right: Vec<char> = right.chars().take(LONGEST).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let mut cost = (last[j] + usize::from(l != r))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn typing_mistakes_find_their_word() {
        let known = ["ack_deadline", "listen", "loops", "meta", "360dialog"];
        for (typed, meant) in [
            ("ack_dedline", Some("ack_deadline")),
            ("ack-deadline", Some("ack_deadline")),
            ("lsiten", Some("listen")),
            ("Loop", Some("loops")),
            ("mata", Some("meta")),
            ("360-dialog", Some("360dialog")),
            ("workers", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }

    #[test]
    fn a_type_that_nobody_knows_is_doubtful() {
        for (pattern, expected) in [
            ("whatsapp.mesage", Some("\"whatsapp.message.*\"?")),
            ("whatsapp.mesage.*", Some("\"whatsapp.message.*\"?")),
            ("whatsapp.mesage.text", Some("\"whatsapp.message.text\"?")),
            ("whatsapp.message.txet", Some("\"whatsapp.message.text\"?")),
            (
                "whatsapp.status.delivred",
                Some("\"whatsapp.status.delivered\"?"),
            ),
            (
                "whatsapp.acount_update",
                Some("\"whatsapp.account_update\"?"),
            ),
            ("whatsapp.emtpy", Some("\"whatsapp.empty\"?")),
            (
                "whatsapp.something.quite.new",
                Some("fits \"whatsapp.something.quite.new\""),
            ),
            ("whatsapp.message.text", None),
            ("whatsapp.message", None),
            ("whatsapp.*", None),
            ("whatsapp.mess*", None),
            ("whatsapp.error", None),
            ("*.sent", None),
            ("webhook.invoice.paid", None),
        ] {
            let doubt = doubtful_type(&pattern.parse().expect("a pattern"));
            match (doubt, expected) {
                (Some(doubt), Some(expected)) => assert!(doubt.ends_with(expected), "{doubt}"),
                (doubt, expected) => assert_eq!(doubt.as_deref(), expected, "{pattern}"),
            }
        }
    }

    proptest! {
        #[test]
        fn the_distance_is_a_distance(a in "[a-d]{0,8}", b in "[a-d]{0,8}") {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
            prop_assert!(distance(&a, &b) <= a.len().max(b.len()));
        }
    }
}
