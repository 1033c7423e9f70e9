//! The table is sound.

use super::*;

#[test]
fn every_row_is_sound_and_stands_once() {
    for (index, row) in SETTINGS.iter().enumerate() {
        let name = format!("{}.{}", row.section, row.key);
        assert!(row.min < row.max, "{name}");
        assert!(
            row.default
                .is_none_or(|value| (row.min..=row.max).contains(&value)),
            "{name}"
        );
        assert!(!row.reason.is_empty() && row.reason.is_ascii(), "{name}");
        let twice = SETTINGS[..index]
            .iter()
            .any(|other| (other.section, other.key) == (row.section, row.key));
        assert!(!twice, "{name}");
    }
}
