//! Figures as people read them.

use crate::config::format_time;
use crate::rig::measure::float;
use jiff::Timestamp;
use std::time::Duration;

/// `12345678` as `12,345,678`.
pub(in crate::cli) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (digit, left) in digits.chars().zip((0..digits.len()).rev()) {
        text.push(digit);
        if left > 0 && left % 3 == 0 {
            text.push(',');
        }
    }
    text
}

/// `1 round`, `2,000 rounds`
pub(in crate::cli) fn counted(number: u64, what: &str) -> String {
    format!("{} {}", grouped(number), plural(number, what))
}

/// `round`, `rounds`; `delivery`, `deliveries`
pub(in crate::cli) fn plural(number: u64, what: &str) -> String {
    let stem = what.strip_suffix('y');
    match stem.filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u'])) {
        _ if number == 1 => what.to_owned(),
        Some(stem) => format!("{stem}ies"),
        None => format!("{what}s"),
    }
}

/// Sequences from `first` to `last`, as they are named on a command line.
pub(in crate::cli) fn sequences(first: u64, last: u64) -> String {
    if first == last {
        format!("sequence {first}")
    } else {
        format!("sequences {first} to {last}")
    }
}

/// `7.4 TiB`, `512 bytes`
pub(in crate::cli) fn bytes(number: u64) -> String {
    let (mut number, mut units) = (
        float(number),
        ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].iter(),
    );
    let mut unit = "bytes";
    while number >= 1024.0
        && let Some(next) = units.next()
    {
        (number, unit) = (number / 1024.0, next);
    }
    let digits = usize::from(number.fract() != 0.0);
    format!("{number:.digits$} {unit}")
}

/// To the next whole number; negative ones and those that are none are 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is read by people"
)]
pub(in crate::cli) fn whole(number: f64) -> u64 {
    number.round() as u64
}

/// `1.25 ms`, `1.50 s`
pub(in crate::cli) fn duration(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds @ 1.0.. => format!("{seconds:.2} s"),
        seconds => format!("{:.2} ms", seconds * 1000.0),
    }
}

/// Microseconds since 1970, to the second: `2026-11-23T01:45:00Z`, or `-`.
pub(in crate::cli) fn time(at: Option<u64>) -> String {
    let at = at.and_then(|us| Timestamp::from_second(i64::try_from(us / 1_000_000).ok()?).ok());
    at.map_or_else(|| "-".to_owned(), |at| at.to_string())
}

/// As a configuration says it: `7d`.
pub(in crate::cli) fn as_configured(time: Duration) -> String {
    format_time(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The two largest units of some seconds.
pub(in crate::cli) fn span(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (name, length) in units {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            parts.push(format!("{count}{name}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() {
        return "0s".to_owned();
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(
            (counted(1, "round"), counted(0, "round")),
            ("1 round".to_owned(), "0 rounds".to_owned())
        );
        // It said "deliverys".
        for (number, what, text) in [
            (2, "open delivery", "2 open deliveries"),
            (1, "open delivery", "1 open delivery"),
            (2, "day", "2 days"),
        ] {
            assert_eq!(counted(number, what), text);
        }
    }

    #[test]
    fn the_rest_is_left_out() {
        let spans = [0, 59, 60, 3601, 90_000, 8 * 86_400].map(span);
        assert_eq!(spans, ["0s", "59s", "1m", "1h", "1d 1h", "8d"]);
    }

    #[test]
    fn sizes_and_times_have_the_unit_that_suits_them() {
        let sizes = [0, 512, 1024, 1536, 8_100_000_000_000, u64::MAX].map(bytes);
        assert_eq!(
            sizes,
            [
                "0 bytes",
                "512 bytes",
                "1 KiB",
                "1.5 KiB",
                "7.4 TiB",
                "16 EiB"
            ]
        );
        let times = [123, 45_600, 1_500_000].map(|us| duration(Duration::from_micros(us)));
        assert_eq!(times, ["0.12 ms", "45.60 ms", "1.50 s"]);
        assert_eq!(
            [None, Some(1_795_398_300_000_000)].map(time),
            ["-", "2026-11-23T01:45:00Z"]
        );
    }
}
