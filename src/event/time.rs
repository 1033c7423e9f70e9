//! Timestamps: whole seconds, as a string or an integer, and RFC 3339 in UTC.

/// Microseconds in a second.
pub(super) const SECOND: u64 = 1_000_000;

/// Reads the platform's whole seconds since 1970 and gives microseconds; `None` for anything else and for
/// what lies after the year 9999, which RFC 3339 cannot write.
pub(super) fn parse(seconds: &str) -> Option<u64> {
    if seconds.is_empty() || seconds.len() > DIGITS_MAX {
        return None;
    }
    // So few digits do not overflow.
    let more = |number: u64, byte: &u8| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then(|| number.wrapping_mul(10).wrapping_add(u64::from(digit)))
    };
    let (first, rest) = match seconds.as_bytes().split_first_chunk() {
        Some((eight, rest)) => (eight_digits(*eight)?, rest),
        None => (0, seconds.as_bytes()),
    };
    let number = rest.iter().try_fold(first, more)?;
    (number <= SECONDS_MAX).then(|| number * SECOND)
}

/// The number that eight digits are. Neighbours are joined to numbers of twice as many digits, three times over.
fn eight_digits(digits: [u8; 8]) -> Option<u64> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let word = u64::from_le_bytes(digits);
    // Neither they nor what lies six above have another high half.
    let is_high = |word: u64| word & (ONES * 0xf0) == ONES * 0x30;
    if !is_high(word) || !is_high(word.wrapping_add(ONES * 6)) {
        return None;
    }
    let join = |word: u64, factor: u64, bits: u32, mask: u64| {
        (word.wrapping_mul(factor).wrapping_add(word >> bits)) & mask
    };
    let pairs = join(word & (ONES * 0xf), 10, 8, 0x00ff_00ff_00ff_00ff);
    let fours = join(pairs, 100, 16, 0x0000_ffff_0000_ffff);
    Some(join(fours, 10_000, 32, 0xffff_ffff))
}

/// Appends microseconds since 1970 as RFC 3339, with a fraction only if there is one. A time after the
/// year 9999 is written as the last instant of it.
pub(super) fn write(out: &mut Vec<u8>, micros: u64) {
    let micros = micros.min(SECONDS_MAX * SECOND + (SECOND - 1));
    let (seconds, fraction) = (micros / SECOND, micros % SECOND);
    let (year, month, day) = date(seconds / 86_400);
    let clock = seconds % 86_400;
    let mut text = *b"YYYY-MM-DDThh:mm:ss.ffffffZ";
    text[..4].copy_from_slice(&digits::<4>(year));
    text[5..7].copy_from_slice(&digits::<2>(month));
    text[8..10].copy_from_slice(&digits::<2>(day));
    text[11..13].copy_from_slice(&digits::<2>(clock / 3600));
    text[14..16].copy_from_slice(&digits::<2>(clock / 60 % 60));
    text[17..19].copy_from_slice(&digits::<2>(clock % 60));
    if fraction > 0 {
        text[20..26].copy_from_slice(&digits::<6>(fraction));
        out.extend_from_slice(&text);
    } else {
        text[19] = b'Z';
        out.extend_from_slice(&text[..20]);
    }
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

/// The last `N` decimal digits.
fn digits<const N: usize>(number: u64) -> [u8; N] {
    // No part of a time has more.
    let mut number = u32::try_from(number).unwrap_or_default();
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
    text
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
            "1790417/96",
            "17904:7696",
            "17904176\u{e9}",
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
