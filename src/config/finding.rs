//! What is wrong or doubtful in a configuration, and where: one format for all of it.
//!
//! ```text
//! hookline.toml:12:1: unknown key "ack_dedline" in [server]; did you mean "ack_deadline"?
//!   12 | ack_dedline = …
//! ```

use super::settings::SETTINGS;
use serde::Serialize;
use std::fmt;

/// One mistake or warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file, the environment variable or the flag that it is about.
    pub source: String,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// The line as it stands, without values that may be secret.
    pub excerpt: Option<String>,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Every mistake of a configuration, in the order of the file. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    pub mistakes: Vec<Finding>,
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let between = if index == 0 { "" } else { "\n" };
            write!(f, "{between}{mistake}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.source)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}:")?;
            write!(f, " {}", self.message)?;
            if let Some(excerpt) = &self.excerpt {
                write!(f, "\n{line:>4} | {excerpt}")?;
            }
            return Ok(());
        }
        write!(f, " {}", self.message)
    }
}

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// An offset in the file, in bytes.
    File(usize),
    /// An environment variable, a flag, or the file as a whole.
    Named(String),
}

/// The text of the file, to turn an offset into line and column.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

impl Source {
    pub(super) fn finding(&self, place: &Location, message: String) -> Finding {
        let offset = match place {
            Location::Named(source) => {
                let source = source.clone();
                return Finding {
                    source,
                    line: None,
                    column: None,
                    excerpt: None,
                    message,
                };
            }
            Location::File(offset) => self.text.floor_char_boundary(*offset),
        };
        let before = &self.text[..offset];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        let column = before[start..]
            .trim_start_matches(BYTE_ORDER_MARK)
            .chars()
            .count();
        Finding {
            source: self.name.clone(),
            line: Some(before.matches('\n').count() + 1),
            column: Some(column + 1),
            excerpt: excerpt(line.trim_start_matches(BYTE_ORDER_MARK)),
            message,
        }
    }
}

/// The line, as far as it can be shown. A value appears only behind a key that is known to hold no secret: who
/// mistypes a key, or writes a secret out where its name belongs, does not want it in a log.
fn excerpt(line: &str) -> Option<String> {
    let line = line.trim_end();
    let bare = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    };
    if let Some(table) = line.trim().strip_prefix('[') {
        let name = table.trim_start_matches('[').split(']').next()?;
        return bare(name.trim())
            .then(|| line.split('#').next().unwrap_or(line).trim_end().to_owned());
    }
    let (key, _) = line.split_once('=')?;
    let key = key.trim_end();
    if !bare(key.trim()) {
        return None;
    }
    let last = key.trim().rsplit('.').next()?;
    let is_number = SETTINGS.iter().any(|setting| setting.key == last);
    let shown = SHOWN.contains(&last) || is_number && last != HEADERS;
    Some(if shown {
        line.to_owned()
    } else {
        format!("{key} = …")
    })
}

/// Keys, beside those of [`SETTINGS`], whose values are no secrets.
const SHOWN: &[&str] = &[
    "accept_unauthenticated",
    "accept_unsigned",
    "ack",
    "algorithm",
    "ca_file",
    "dir",
    "encoding",
    "endpoints",
    "format",
    "keep_headers",
    "level",
    "listen",
    "mode",
    "name",
    "path",
    "phone_number_ids",
    "pin",
    "provider",
    "type",
    "types",
    "unit",
    "wabas",
];

/// A number in `[limits]`, and in `[[sink]]` a table that holds credentials.
const HEADERS: &str = "headers";

const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_with_its_line() {
        let text = "[server]\r\n# größe\r\n  loops = 0 # none\r\n".to_owned();
        let source = Source {
            name: "h.toml".to_owned(),
            text,
        };
        let at = source.text.find("loops").expect("stands there");
        let finding = source.finding(&Location::File(at), "too small".to_owned());
        assert_eq!(
            finding.to_string(),
            "h.toml:3:3: too small\n   3 |   loops = 0 # none"
        );
        let end = source.finding(&Location::File(source.text.len()), "ends".to_owned());
        assert_eq!(end.to_string(), "h.toml:4:1: ends");
        let flag = source.finding(&Location::Named("--listen".to_owned()), "no".to_owned());
        assert_eq!(flag.to_string(), "--listen: no");
    }

    #[test]
    fn values_that_may_be_secret_are_left_out() {
        for (line, shown) in [
            ("path = \"/webhook\"", Some("path = \"/webhook\"")),
            ("server.listen = 1", Some("server.listen = 1")),
            ("[[endpoint]] # mine", Some("[[endpoint]]")),
            ("app_secret = \"hunter2\"", Some("app_secret = …")),
            ("app_secrt = \"hunter2\"", Some("app_secrt = …")),
            ("  secret=[\"hunter2\"]", Some("  secret = …")),
            (
                "headers = { Authorization = \"hunter2\" }",
                Some("headers = …"),
            ),
            ("  \"hunter2==\",", None),
            ("  [\"hunter2\"],", None),
            ("  hunter2", None),
        ] {
            assert_eq!(excerpt(line).as_deref(), shown, "{line}");
        }
    }
}
