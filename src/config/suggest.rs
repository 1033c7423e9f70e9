//! "Did you mean …?": the known word that is nearest to a mistyped one.

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

    proptest! {
        #[test]
        fn the_distance_is_a_distance(a in "[a-d]{0,8}", b in "[a-d]{0,8}") {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
            prop_assert!(distance(&a, &b) <= a.len().max(b.len()));
        }
    }
}
