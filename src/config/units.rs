//! Durations and sizes as people write them: a whole number and a unit, as in `"250ms"` or `"4MiB"`.

/// Reads a duration; the result is in milliseconds, the error says what to write.
pub fn parse_time(text: &str) -> Result<u64, String> {
    parse(text, TIMES).ok_or_else(|| {
        format!(
            "{text:?} is not a duration; write a whole number and one of ms, s, m, h, d, as in \"5s\""
        )
    })
}

/// Reads a size; the result is in bytes, the error says what to write. A number without a unit is bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, SIZES).or_else(|| parse(text, &[("", 1)])).ok_or_else(|| {
        format!(
            "{text:?} is not a size; write a whole number and one of B, KiB, MiB, GiB, TiB, as in \"4MiB\""
        )
    })
}

/// The shortest exact way to write `milliseconds`.
pub fn format_time(milliseconds: u64) -> String {
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    format(milliseconds, TIMES)
}

/// The shortest exact way to write `bytes`.
pub fn format_size(bytes: u64) -> String {
    format(bytes, SIZES)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn format(value: u64, units: &[(&str, u64)]) -> String {
    let (name, factor) = units
        .iter()
        .rev()
        .find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor))
        .unwrap_or(&units[0]);
    format!("{}{name}", value / factor)
}

/// The units of a duration, in milliseconds.
const TIMES: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1000),
    ("m", 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("d", 24 * 60 * 60 * 1000),
];

/// The units of a size, in bytes.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_unit_is_read() {
        let times = ["250ms", "5s", "2m", "1h", "7d"].map(parse_time);
        let expected = [250, 5000, 120_000, 3_600_000, 604_800_000].map(Ok);
        assert_eq!(times, expected);
        let sizes = ["7", "7B", "64KiB", "4MiB", "1GiB", "1TiB"].map(parse_size);
        assert_eq!(
            sizes,
            [7, 7, 65536, 4 << 20, 1 << 30, 1 << 40].map(|size: u64| Ok(size))
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "1.5s",
            "5sec",
            "+5s",
            "99999999999999999999s",
        ] {
            assert!(parse_time(text).is_err(), "{text:?}");
        }
        for text in ["", "MiB", "4MB", "4mib", "-1", "4 MiB", "20000000TiB"] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
        let message = parse_size("4MB").expect_err("refused");
        assert!(message.contains("\"4MiB\""), "{message}");
    }

    /// `"+5"` passed as a size, since the number was left to `str::parse` where no unit stands behind it; `"+5B"`
    /// and `"+5s"` were refused.
    #[test]
    fn a_sign_is_refused_without_a_unit_too() {
        for text in ["+5", "+5B", "+"] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value: u64) {
            prop_assert_eq!(parse_time(&format_time(value)), Ok(value));
            prop_assert_eq!(parse_size(&format_size(value)), Ok(value));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = (parse_time(&text), parse_size(&text));
        }
    }
}
