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
//! with that it verifies nothing: quotes around it, a byte order mark before it, white space around it, the line of a
//! file of variables (`NAME=value`), and text of several lines. A secret written out in the file is refused: such files
//! get copied, committed and shown in tickets. An empty one is refused too, for it would verify anything.

use super::Environment;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The octets of a secret. `Debug` shows nothing of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Wraps the octets.
    #[must_use]
    pub fn new(octets: impl Into<Box<[u8]>>) -> Secret {
        Secret(octets.into())
    }

    /// What stands for a secret that nobody is to have: of the form that any of them may have.
    pub(super) fn stand_in() -> Secret {
        Secret::new([b'A'; 64])
    }

    /// The octets, for the one place that verifies with them.
    #[must_use]
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
    /// Fetches the value; the error says what is wrong and never holds any of it.
    pub(super) fn fetch(self, environment: &Environment) -> Result<Secret, String> {
        let (octets, place) = match self {
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
        let octets = without_line_end(&octets);
        if octets.trim_ascii().is_empty() {
            return Err(format!(
                "{place} is empty; an empty secret would verify anything"
            ));
        }
        if let Some(what) = left_over(octets) {
            return Err(format!("{place} {what}"));
        }
        Ok(Secret::new(octets))
    }
}

/// What no secret has and the ways of handing one over leave in it, and what to do about it.
fn left_over(octets: &[u8]) -> Option<&'static str> {
    let quoted = |quote: u8| {
        octets.len() > 1 && octets.first() == Some(&quote) && octets.last() == Some(&quote)
    };
    if octets.starts_with(b"\xef\xbb\xbf") {
        Some("begins with a byte order mark, which an editor has put there; save it without one")
    } else if octets.starts_with(b"\xff\xfe") || octets.starts_with(b"\xfe\xff") {
        Some("is in UTF-16; save it in UTF-8, without a byte order mark")
    } else if octets.trim_ascii().len() < octets.len() {
        Some(
            "has white space before or behind the secret; write the secret alone, as printf '%s' does",
        )
    } else if quoted(b'"') || quoted(b'\'') {
        Some(
            "has quotes around the secret, as `docker --env-file` leaves them; take the quotes away",
        )
    } else if octets.split(|octet| *octet == b'\n').any(is_assignment) {
        Some("holds a line as in NAME=value; write the value alone")
    } else if octets.contains(&b'\n') && std::str::from_utf8(octets).is_ok() {
        Some("has several lines; write the secret alone, in one line")
    } else {
        None
    }
}

/// True for a name of variables, and something behind an equals sign. In base64 nothing stands behind one.
fn is_assignment(octets: &[u8]) -> bool {
    let Some(at) = octets.iter().position(|octet| *octet == b'=') else {
        return false;
    };
    let (name, value) = octets.split_at(at);
    let name = name.strip_prefix(b"export ").unwrap_or(name);
    let is_name =
        |octet: &u8| octet.is_ascii_uppercase() || octet.is_ascii_digit() || *octet == b'_';
    let lower = name.to_ascii_lowercase();
    let says_so = [&b"secret"[..], b"token", b"password"]
        .iter()
        .any(|it| lower.ends_with(it));
    let value = value.get(1..).unwrap_or_default();
    let has_value = value.iter().any(|octet| *octet != b'=');
    has_value && (says_so || name.len() >= NAME_MIN && name.iter().all(is_name))
}

/// Shorter ones stand by chance in passwords with an equals sign.
const NAME_MIN: usize = 3;

fn read(path: &Path) -> Result<(Vec<u8>, String), String> {
    let place = format!("the file {}", path.display());
    let octets = fs::read(path).map_err(|error| format!("cannot read {place}: {error}"))?;
    Ok((octets, place))
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

fn without_line_end(octets: &[u8]) -> &[u8] {
    let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
    octets.strip_suffix(b"\r").unwrap_or(octets)
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
