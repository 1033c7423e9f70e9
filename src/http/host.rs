//! `uri-host [ ":" port ]`, the grammar of Host and of the authority in absolute-form (RFC 3986, 3.2.2;
//! RFC 9110, 4.2 and 7.2). User information is refused, and so is an empty host, as `http` demands.

use super::bytes::Bytes;

/// True for a valid, non-empty host with an optional port.
pub(super) fn is_valid(authority: &[u8]) -> bool {
    const IN_NAME: Bytes = Bytes::new(b"-.");
    // Nearly every one: a name or an address.
    if !authority.is_empty() && authority.iter().all(|&byte| IN_NAME.contains(byte)) {
        return true;
    }
    if let Some(literal) = authority.strip_prefix(b"[") {
        let Some(end) = literal.iter().position(|&c| c == b']') else {
            return false;
        };
        let (address, rest) = literal.split_at(end);
        let port = rest.strip_prefix(b"]").unwrap_or_default();
        return is_ip_literal(address) && (port.is_empty() || is_port(port));
    }
    let colon = authority
        .iter()
        .position(|&c| c == b':')
        .unwrap_or(authority.len());
    let (name, port) = authority.split_at(colon);
    !name.is_empty() && is_registered_name(name) && (port.is_empty() || is_port(port))
}

fn is_ip_literal(address: &[u8]) -> bool {
    let text = std::str::from_utf8(address).unwrap_or_default();
    let future = || {
        // "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )
        let (version, rest) = text.strip_prefix(['v', 'V'])?.split_once('.')?;
        let hex = !version.is_empty() && version.bytes().all(|c| c.is_ascii_hexdigit());
        let valid = |c: u8| is_unreserved(c) || is_sub_delimiter(c) || c == b':';
        Some(hex && !rest.is_empty() && rest.bytes().all(valid))
    };
    text.parse::<std::net::Ipv6Addr>().is_ok() || future() == Some(true)
}

fn is_registered_name(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        let valid = match byte {
            b'%' => [bytes.next(), bytes.next()]
                .iter()
                .all(|digit| digit.is_some_and(u8::is_ascii_hexdigit)),
            _ => is_unreserved(byte) || is_sub_delimiter(byte),
        };
        if !valid {
            return false;
        }
    }
    true
}

/// `":" *DIGIT`, and within 16 bits where digits are there.
fn is_port(port: &[u8]) -> bool {
    let digits = port
        .strip_prefix(b":")
        .and_then(|digits| std::str::from_utf8(digits).ok());
    digits.is_some_and(|digits| {
        digits.bytes().all(|c| c.is_ascii_digit())
            && (digits.is_empty() || digits.parse::<u16>().is_ok())
    })
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_sub_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
    )
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn takes_names_and_addresses() {
        for host in [
            "localhost",
            "localhost:8080",
            "a.b-c_d~e:0",
            "127.0.0.1",
            "[::1]",
            "[::1]:8080",
            "a%20b",
            "x:",
            "[v1.a:b]",
        ] {
            assert!(is_valid(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn refuses_what_two_parsers_could_read_differently() {
        for host in [
            "",
            ":80",
            "a b",
            "a/b",
            "a@b",
            "user:pw@b",
            "a:80x",
            "a:99999",
            "a:8:9",
            "[::1",
            "::1",
            "[::1]x",
            "[zz]",
            "a%2",
            "a%zz",
            "a\"b",
            "[v.a]",
            "[v1.]",
        ] {
            assert!(!is_valid(host.as_bytes()), "{host}");
        }
    }
}
