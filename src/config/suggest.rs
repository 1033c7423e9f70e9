//! "Did you mean …?": the known word that is nearest to a mistyped one.

use crate::event::{Pattern, known_types};
use strsim::osa_distance;

/// The word of `known` that `typed` was probably meant to be, if one is near enough.
pub fn nearest<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let fold = |word: &str| -> String {
        let word = word.to_lowercase().replace('-', "_");
        word.chars().take(LONGEST).collect()
    };
    let typed = fold(typed);
    known
        .into_iter()
        .map(|word| (osa_distance(&typed, &fold(word)), word))
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

/// Characters that are compared, for what is typed may have any length; nothing that is known is longer.
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
        fn one_letter_too_few_or_too_many_is_found(word in "[a-d]{3,8}", at in 0_usize..8, odd in "[a-e]") {
            let at = at % word.len();
            let less = format!("{}{}", &word[..at], &word[at + 1..]);
            let more = format!("{}{odd}{}", &word[..at], &word[at..]);
            for typed in [&word, &less, &more] {
                prop_assert_eq!(nearest(typed, [word.as_str()]), Some(word.as_str()));
            }
            let far = format!("{word}{}", "x".repeat(LONGEST));
            prop_assert_eq!(nearest(&far, [word.as_str()]), None);
        }
    }
}
