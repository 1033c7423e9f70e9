//! Figures as people read them, and the lines of reports that give them.

use crate::config::format_time;
use std::time::Duration;

/// A line of a report.
pub(in crate::cli) fn labelled(label: &str, value: &str) -> String {
    format!("{label:<13} {value}\n")
}

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
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
}

/// `1.25 ms`
pub(in crate::cli) fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
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
    }

    #[test]
    fn the_rest_is_left_out() {
        let spans = [0, 59, 60, 3601, 90_000, 8 * 86_400].map(span);
        assert_eq!(spans, ["0s", "59s", "1m", "1h", "1d 1h", "8d"]);
    }
}
