//! Secrets: never written in the configuration, never printed.
//!
//! A secret is named, and its value is fetched when the configuration is read:
//!
//! | form | value |
//! |---|---|
//! | `{ env = "NAME" }` | an environment variable |
//! | `{ file = "PATH" }` | the content of a file, relative to the working directory |
//! | `{ credential = "NAME" }` | a file in `$CREDENTIALS_DIRECTORY`, as systemd's `LoadCredential=` puts it there |
//!
//! One line end at its end is not part of it. What else the ways of handing a secret over leave in it is refused, for
//! with that it verifies nothing: quotes around it or a part of them, a byte order mark before it, white space around
//! it, what nobody sees in it, the line of a file of variables (`NAME=value`), and text of several lines. A secret
//! written out in the file is refused: such files get copied, committed and shown in tickets. An empty one is refused
//! too, for it would verify anything.

use super::Environment;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The bytes of a secret. `Debug` shows nothing of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Wraps the bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Secret {
        Secret(bytes.into())
    }

    /// What stands for a secret that nobody is to have: of the form that any of them may have.
    pub(super) fn stand_in() -> Secret {
        Secret::new([b'A'; 64])
    }

    /// The bytes, for the one place that verifies with them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Where a secret is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference<'a> {
    Env(&'a str),
    File(&'a str),
    Credential(&'a str),
}

impl Reference<'_> {
    /// The file that holds it, if one does.
    pub(super) fn file(self, environment: &Environment) -> Option<PathBuf> {
        match self {
            Reference::Env(_) => None,
            Reference::File(path) => Some(PathBuf::from(path)),
            Reference::Credential(name) => {
                let directory = environment.get(OsStr::new("CREDENTIALS_DIRECTORY"))?;
                Some(Path::new(directory).join(name))
            }
        }
    }

    /// Fetches the value; the error says what is wrong and never holds any of it.
    pub(super) fn fetch(self, environment: &Environment) -> Result<Secret, String> {
        let (bytes, place) = match self {
            Reference::Env(name) => {
                let shown = variable(name);
                let value = environment
                    .get(OsStr::new(name))
                    .ok_or_else(|| format!("{shown} is not set; export it before the start"))?;
                (value.as_encoded_bytes().to_vec(), shown)
            }
            Reference::File(path) => read(Path::new(path))?,
            Reference::Credential(name) => {
                if name.is_empty() || name.contains('/') || name.starts_with('.') {
                    return Err("a credential is named without a path".to_owned());
                }
                let directory = environment
                    .get(OsStr::new("CREDENTIALS_DIRECTORY"))
                    .ok_or_else(|| {
                        format!(
                            "the credential {name:?} needs $CREDENTIALS_DIRECTORY, which systemd sets for a \
                             unit with LoadCredential="
                        )
                    })?;
                read(&PathBuf::from(directory).join(name))?
            }
        };
        let bytes = without_line_end(&bytes);
        if bytes.trim_ascii().is_empty() {
            return Err(format!(
                "{place} is empty; an empty secret would verify anything"
            ));
        }
        if let Some(what) = left_over(bytes) {
            return Err(format!("{place} {what}"));
        }
        Ok(Secret::new(bytes))
    }
}

/// What no secret has and the ways of handing one over leave in it, and what to do about it.
fn left_over(bytes: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if bytes.starts_with(b"\xef\xbb\xbf") {
        Some("begins with a byte order mark, which an editor has put there; save it without one")
    } else if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || is_utf_16(bytes) {
        Some("is in UTF-16; save it in UTF-8, without a byte order mark")
    } else if bytes.trim_ascii().len() < bytes.len() {
        Some(
            "has white space before or behind the secret; write the secret alone, as printf '%s' does",
        )
    } else if text.contains(is_unseen) {
        Some(
            "holds a character that nobody sees, as a non-breaking space or one without width, which a web page or an \
             editor has put there; type the secret, or copy it from where it is shown as plain text",
        )
    } else if is_quoted(text) {
        Some(
            "has quotes around the secret, as `docker --env-file` or a word processor leaves them; take the quotes away",
        )
    } else if has_lone_quote(text) {
        Some("has a quote on one side of the secret; take it away, or copy what is missing, too")
    } else if bytes.split(|byte| *byte == b'\n').any(is_assignment) {
        Some("holds a line as in NAME=value; write the value alone")
    } else if bytes.contains(&b'\n') && std::str::from_utf8(bytes).is_ok() {
        Some("has several lines; write the secret alone, in one line")
    } else {
        None
    }
}

/// True with a quote of any kind on either side, or with one that no keyboard has on one side.
fn is_quoted(text: &str) -> bool {
    let mut rest = text.chars();
    let ends = [rest.next(), rest.next_back()];
    let is_plain = |end: &Option<char>| end.is_some_and(|end| PLAIN_QUOTES.contains(&end));
    let is_other = |end: &Option<char>| end.is_some_and(|end| OTHER_QUOTES.contains(&end));
    ends.iter().all(is_plain) || ends.iter().any(is_other)
}

/// True for a plain quote that begins or ends the secret and has no other one in it.
fn has_lone_quote(text: &str) -> bool {
    PLAIN_QUOTES.iter().any(|quote| {
        text.len() > 1
            && (text.starts_with(*quote) || text.ends_with(*quote))
            && text.matches(*quote).count() == 1
    })
}

/// Spaces that no keyboard has, and what takes no room.
fn is_unseen(c: char) -> bool {
    let is_invisible = matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    is_invisible || !c.is_ascii() && c.is_whitespace()
}

/// True for plain text with a zero before or behind each byte.
fn is_utf_16(bytes: &[u8]) -> bool {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let little = |pair: &[u8; 2]| pair[0] != 0 && pair[1] == 0;
    let big = |pair: &[u8; 2]| pair[0] == 0 && pair[1] != 0;
    let is_text = pairs.iter().all(little) || pairs.iter().all(big);
    // Of a line end one half may have been taken.
    pairs.len() > 1 && is_text && rest.iter().all(|byte| *byte == 0)
}

const PLAIN_QUOTES: [char; 3] = ['"', '\'', '`'];

/// As word processors and web pages write them.
const OTHER_QUOTES: [char; 19] = [
    '“', '”', '„', '‟', '‘', '’', '‚', '‛', '«', '»', '‹', '›', '″', '′', '´', '＂', '＇', '「',
    '」',
];

/// True for a name of variables, and something behind an equals sign. In base64 nothing stands behind one.
fn is_assignment(bytes: &[u8]) -> bool {
    let Some(at) = bytes.iter().position(|byte| *byte == b'=') else {
        return false;
    };
    let (name, value) = bytes.split_at(at);
    let name = name.strip_prefix(b"export ").unwrap_or(name);
    let is_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    let lower = name.to_ascii_lowercase();
    let says_so = [&b"secret"[..], b"token", b"password"]
        .iter()
        .any(|it| lower.ends_with(it));
    let value = value.get(1..).unwrap_or_default();
    let has_value = value.iter().any(|byte| *byte != b'=');
    has_value && (says_so || name.len() >= NAME_MIN && name.iter().all(is_name))
}

/// Shorter ones stand by chance in passwords with an equals sign.
const NAME_MIN: usize = 3;

fn read(path: &Path) -> Result<(Vec<u8>, String), String> {
    let place = format!("the file {}", path.display());
    let bytes = fs::read(path).map_err(|error| format!("cannot read {place}: {error}"))?;
    Ok((bytes, place))
}

/// Shows a name only if it looks like one: people put the secret itself there.
fn variable(name: &str) -> String {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(plain) {
        format!("the environment variable {name}")
    } else {
        "the environment variable named here".to_owned()
    }
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new(*b"hunter2")), "Secret(hidden)");
    }

    #[test]
    fn all_three_forms_are_fetched() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("app"), "from a file\r\n").expect("written");
        let path = directory.path().join("app");
        let environment = environment(&[
            ("APP", "from env\n"),
            (
                "CREDENTIALS_DIRECTORY",
                directory.path().to_str().expect("UTF-8"),
            ),
        ]);
        let fetch = |reference: Reference<'_>| reference.fetch(&environment).expect("fetched");
        assert_eq!(fetch(Reference::Env("APP")).expose(), b"from env");
        assert_eq!(
            fetch(Reference::File(path.to_str().expect("UTF-8"))).expose(),
            b"from a file"
        );
        assert_eq!(fetch(Reference::Credential("app")).expose(), b"from a file");
    }

    #[test]
    fn what_is_missing_or_empty_is_refused() {
        let environment = environment(&[("EMPTY", ""), ("BLANK", " \n")]);
        for (reference, part) in [
            (Reference::Env("EMPTY"), "EMPTY is empty"),
            (Reference::Env("BLANK"), "BLANK is empty"),
            (Reference::Env("MISSING"), "MISSING is not set"),
            (
                Reference::File("/nonexistent/secret"),
                "cannot read the file /nonexistent/secret",
            ),
            (Reference::Credential("app"), "LoadCredential="),
            (Reference::Credential("../app"), "without a path"),
        ] {
            let message = reference.fetch(&environment).expect_err("refused");
            assert!(message.contains(part), "{message}");
        }
    }

    /// With quotes, a mark or a blank that somebody's tool left in it, no signature was ever right.
    #[test]
    fn what_tools_leave_in_a_secret_is_refused_and_never_shown() {
        let environment = |value: &str| environment(&[("APP", value)]);
        for (value, part) in [
            ("\"hunter2\"", "quotes"),
            ("'hunter2'", "quotes"),
            ("`hunter2`", "quotes"),
            ("“hunter2”", "quotes"),
            ("„hunter2“", "quotes"),
            ("‘hunter2’", "quotes"),
            ("«hunter2»", "quotes"),
            ("hunter2”", "quotes"),
            ("\"hunter2'", "quotes"),
            ("\"hunter2", "a quote on one side"),
            ("hunter2'", "a quote on one side"),
            ("\u{a0}hunter2", "nobody sees"),
            ("hunter2\u{200b}", "nobody sees"),
            ("hun\u{200d}ter2", "nobody sees"),
            ("hunter2\u{feff}", "nobody sees"),
            ("hunter2\u{2060}\n", "nobody sees"),
            ("h\0u\0n\0t\0e\0r\x002\0\n", "UTF-16"),
            ("h\0u\0n\0t\0e\0r\x002\0\n\0", "UTF-16"),
            ("\0h\0u\0n\0t\0e\0r\x002", "UTF-16"),
            ("\u{feff}hunter2", "byte order mark"),
            ("hunter2 ", "white space"),
            ("\thunter2", "white space"),
            ("hunter2\n\n", "white space"),
            ("APP_SECRET=hunter2", "NAME=value"),
            ("export APP=hunter2", "NAME=value"),
            ("app_secret=hunter2", "NAME=value"),
        ] {
            let fetched = Reference::Env("APP").fetch(&environment(value));
            let message = fetched.expect_err("refused");
            assert!(
                message.contains(part) && !message.contains("hunter2"),
                "{message}"
            );
        }
        for value in [
            "hunter 2",
            "hu\"nter\"",
            "QUJD=",
            "QUJDRA==",
            "a=b",
            "whsec_QUJD",
            "x=\"y\"",
            "it's",
            "größer",
            "\"",
        ] {
            assert!(
                Reference::Env("APP").fetch(&environment(value)).is_ok(),
                "{value}"
            );
        }
    }

    #[test]
    fn a_secret_in_the_place_of_a_name_is_not_repeated() {
        let message = Reference::Env("c0ffee12")
            .fetch(&Environment::new())
            .expect_err("refused");
        assert!(!message.contains("c0ffee12"), "{message}");
    }
}
