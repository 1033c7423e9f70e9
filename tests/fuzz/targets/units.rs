//! Durations and sizes as people write them.
//!
//! What must hold: no text panics; what is read is what the reference reads, which counts in 128 bits; what is written
//! is read again as the same number, and is the shortest way to write it with a whole number.

#![no_main]

use hookline::testing::config::{format_size, format_time, parse_size, parse_time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((number, _)) = input.split_first_chunk() {
        let number = u64::from_le_bytes(*number);
        for number in [number, number >> 32, number & 0xffff, (number >> 44) << 20] {
            written(&format_time(number), number, TIMES);
            written(&format_size(number), number, SIZES);
        }
    }
    let text = String::from_utf8_lossy(input);
    assert_eq!(parse_time(&text).ok(), read(&text, TIMES));
    assert_eq!(
        parse_size(&text).ok(),
        read(&text, SIZES).or_else(|| read(&text, &[("", 1)]))
    );
});

fn written(text: &str, number: u64, units: &[(&str, u128)]) {
    let again = if units == TIMES {
        parse_time(text)
    } else {
        parse_size(text)
    };
    assert_eq!(again, Ok(number), "{text}");
    let number = u128::from(number);
    let fitting = units
        .iter()
        .filter(|(_, factor)| number.is_multiple_of(*factor));
    let digits = fitting
        .map(|(_, factor)| (number / factor).to_string().len())
        .min();
    assert_eq!(
        digits,
        Some(text.chars().filter(char::is_ascii_digit).count()),
        "{text}"
    );
}

/// Digits and a unit, and nothing else.
fn read(text: &str, units: &[(&str, u128)]) -> Option<u64> {
    for (unit, factor) in units {
        let Some(digits) = text.strip_suffix(unit) else {
            continue;
        };
        if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
            continue;
        }
        let digits = digits.trim_start_matches('0');
        let number: u128 = if digits.is_empty() {
            Some(0)
        } else {
            digits.parse().ok()
        }?;
        return number.checked_mul(*factor)?.try_into().ok();
    }
    None
}

const TIMES: &[(&str, u128)] = &[
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
const SIZES: &[(&str, u128)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];
