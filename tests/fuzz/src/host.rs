//! `uri-host [ ":" port ]` once more (RFC 3986, 3.2.2), split and compared without regard to speed.

use std::net::Ipv6Addr;

/// True for a non-empty host without user information, with an optional port of at most 16 bits.
#[must_use]
pub fn is_valid(authority: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(authority) else {
        return false;
    };
    let (host, port) = match text.rfind(']') {
        Some(end) => (&text[..=end], &text[end + 1..]),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port_is_valid = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.chars().all(|c| c.is_ascii_digit())
                && (digits.is_empty() || digits.parse::<u16>().is_ok())
        }
    };
    let literal = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    port_is_valid && literal.map_or_else(|| is_name(host), is_literal)
}

fn is_literal(address: &str) -> bool {
    let later_version = || {
        let rest = address.strip_prefix(['v', 'V'])?;
        let (version, address) = rest.split_once('.')?;
        let hex = !version.is_empty() && version.chars().all(|c| c.is_ascii_hexdigit());
        let of_address = |c: char| is_name_character(c) || c == ':';
        Some(hex && !address.is_empty() && address.chars().all(of_address))
    };
    address.parse::<Ipv6Addr>().is_ok() || later_version() == Some(true)
}

fn is_name(name: &str) -> bool {
    let mut pieces = name.split('%');
    let begin = pieces.next().unwrap_or_default();
    let is_escape =
        |piece: &str| piece.len() >= 2 && piece.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    !name.is_empty()
        && begin.chars().all(is_name_character)
        && pieces.all(|piece| is_escape(piece) && piece.chars().all(is_name_character))
}

/// `unreserved` and `sub-delims`.
fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(c)
}
