//! Hexadecimal digits.

/// Appends the two digits of a byte, in lower case.
pub(crate) fn push(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// All of them in a row.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        push(&mut text, *byte);
    }
    text
}

/// What a digit of either case is worth.
pub(crate) fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The number that up to 16 digits of either case are.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let mut digits = digits.iter();
    digits.try_fold(0, |number, it| Some(number << 4 | u64::from(digit(*it)?)))
}

#[cfg(test)]
mod tests {
    use super::{number, text};

    #[test]
    fn digits_of_either_case_are_read_and_small_ones_are_written() {
        assert_eq!(text(&[0, 0x9a, 0xff]), "009aff");
        assert_eq!(number(b"009aFf"), Some(0x9aff));
        assert_eq!((number(b"0g"), number(b"+1")), (None, None));
    }
}
