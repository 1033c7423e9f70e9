//! Timestamps: whole seconds, as a string or an integer, and RFC 3339 in UTC.

/// Microseconds in a second.
pub(super) const SECOND: u64 = 1_000_000;

/// Reads the platform's whole seconds since 1970 and gives microseconds; `None` for anything else and for
/// what lies after the year 9999, which RFC 3339 cannot write.
pub(super) fn parse(seconds: &str) -> Option<u64> {
    if seconds.is_empty() || seconds.len() > DIGITS_MAX {
        return None;
    }
    let mut digits = seconds.bytes().map(|byte| byte.wrapping_sub(b'0'));
    // So few digits do not overflow.
    let number = digits.try_fold(0u64, |number, digit| {
        (digit <= 9).then(|| number.wrapping_mul(10).wrapping_add(u64::from(digit)))
    })?;
    (number <= SECONDS_MAX).then(|| number * SECOND)
}

/// Appends microseconds since 1970 as RFC 3339, with a fraction only if there is one. A time after the
/// year 9999 is written as the last instant of it.
pub(super) fn write(out: &mut Vec<u8>, micros: u64) {
    let micros = micros.min(SECONDS_MAX * SECOND + (SECOND - 1));
    let (seconds, fraction) = (micros / SECOND, micros % SECOND);
    let (year, month, day) = date(seconds / 86_400);
    let clock = seconds % 86_400;
    digits::<4>(out, year);
    out.push(b'-');
    digits::<2>(out, month);
    out.push(b'-');
    digits::<2>(out, day);
    out.push(b'T');
    digits::<2>(out, clock / 3600);
    out.push(b':');
    digits::<2>(out, clock / 60 % 60);
    out.push(b':');
    digits::<2>(out, clock % 60);
    if fraction > 0 {
        out.push(b'.');
        digits::<6>(out, fraction);
    }
    out.push(b'Z');
}

/// Year, month and day of a day counted from 1970-01-01. Years begin on 1 March here, so that the leap
/// day is the last (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// Appends the last `N` decimal digits.
fn digits<const N: usize>(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
    out.extend_from_slice(&text);
}

/// 9999-12-31T23:59:59Z.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Digits of the longest number that is read.
const DIGITS_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(micros: u64) -> String {
        let mut out = Vec::new();
        write(&mut out, micros);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn reads_whole_seconds_only() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("1790417696"), Some(1_790_417_696 * SECOND));
        assert_eq!(parse("253402300799"), Some(253_402_300_799 * SECOND));
        for odd in [
            "",
            "-1",
            "+1",
            "1.5",
            "1e9",
            "253402300800",
            "99999999999999999999",
            "now",
        ] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn ends_with_the_year_9999() {
        assert_eq!(written(u64::MAX), "9999-12-31T23:59:59.999999Z");
    }

    proptest! {
        #[test]
        fn writes_what_jiff_writes(micros in 0u64..=253_402_207_200_000_000) {
            let timestamp = jiff::Timestamp::from_microsecond(micros.cast_signed()).unwrap();
            // jiff drops the trailing zeros of a fraction.
            let expected = if micros % SECOND == 0 {
                timestamp.to_string()
            } else {
                format!("{timestamp:.6}")
            };
            prop_assert_eq!(written(micros), expected);
        }
    }
}
